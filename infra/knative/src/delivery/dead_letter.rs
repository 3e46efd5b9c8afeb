//! What a dead letter says about the failure that made it one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Longest `knativeerrordata`, in characters of base64.
pub const ERROR_DATA_LENGTH_MAX: usize = 1024;

/// `knativeerrorcode` of a failure without any response.
pub const TRANSPORT_ERROR_CODE: u16 = 500;

/// Extension that carries the address which failed.
pub const ERROR_DESTINATION: &str = "knativeerrordest";
/// Extension that carries the last status code.
pub const ERROR_CODE: &str = "knativeerrorcode";
/// Extension that carries the last response body.
pub const ERROR_DATA: &str = "knativeerrordata";

/// How the last attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure<'a> {
    /// The subscriber answered, but not with success.
    Response {
        /// HTTP status code.
        status: u16,
        /// Response body, as far as it was read.
        body: &'a [u8],
    },
    /// No response: refused, reset, timed out.
    Transport {
        /// What happened, for the reader of the dead letter.
        message: &'a str,
    },
}

/// Extension attributes that a dead letter gains over the original event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterAttributes {
    /// [`ERROR_DESTINATION`]: URL that failed, of the subscriber or of the reply's destination.
    pub destination: String,
    /// [`ERROR_CODE`]: status code, [`TRANSPORT_ERROR_CODE`] without a response.
    pub code: u16,
    /// [`ERROR_DATA`]: base64 of the body or of the transport error, at most [`ERROR_DATA_LENGTH_MAX`] characters;
    /// empty for an empty body.
    pub data: String,
}

impl DeadLetterAttributes {
    /// Attributes for a delivery to `destination` that failed for good with `failure`.
    pub fn new(destination: impl Into<String>, failure: Failure<'_>) -> Self {
        let (code, data) = match failure {
            Failure::Response { status, body } => (status, encode(body)),
            Failure::Transport { message } => {
                (TRANSPORT_ERROR_CODE, encode(format!("dispatch error: {message}").as_bytes()))
            }
        };
        Self { destination: destination.into(), code, data }
    }

    /// The attributes as (name, text) pairs, ready to be set on an event.
    pub fn pairs(&self) -> [(&'static str, String); 3] {
        [
            (ERROR_DESTINATION, self.destination.clone()),
            (ERROR_CODE, self.code.to_string()),
            (ERROR_DATA, self.data.clone()),
        ]
    }
}

/// Base64 cut at [`ERROR_DATA_LENGTH_MAX`], a multiple of four, so that the cut text still decodes.
fn encode(body: &[u8]) -> String {
    let kept = body.len().min(ERROR_DATA_LENGTH_MAX / 4 * 3);
    STANDARD.encode(&body[..kept])
}
