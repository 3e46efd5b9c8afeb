//! Reads a request's body, with bounds on its size, its compression and the time that it takes.

use std::io::{self, Read};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{FromRequest, Request};
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;

use crate::Problem;
use crate::budget::Share;

/// Decompressed between two looks at the limits.
const INFLATED_AT_ONCE: u64 = 256 << 10;

/// What a body may be; every request carries it as an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadLimits {
    /// Most bytes, as sent and after decompression.
    pub bytes_max: usize,
    /// Most bytes of all bodies that are in memory.
    pub all_bytes_max: usize,
    /// How long the client may take to send it.
    pub time_max: Duration,
}

impl Default for PayloadLimits {
    fn default() -> Self {
        Self {
            bytes_max: crate::BODY_BYTES_MAX,
            all_bytes_max: crate::BODIES_BYTES_MAX,
            time_max: Duration::from_secs(crate::BODY_SECONDS),
        }
    }
}

/// A whole body, decompressed when `Content-Encoding` is `gzip` or `deflate`.
#[derive(Debug, Clone)]
pub struct Payload(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Payload {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let limits = request.extensions().get().copied().unwrap_or_default();
        let (parts, body) = request.into_parts();
        read(&parts.headers, body, limits).await.map(Self)
    }
}

async fn read(headers: &HeaderMap, body: Body, limits: PayloadLimits) -> Result<Bytes, Problem> {
    let encoding = Encoding::of(headers)?;
    // What the client says about the length is enough to refuse it unread.
    if body.size_hint().lower() > limits.bytes_max as u64 {
        return Err(too_large(limits));
    }
    let bytes = tokio::time::timeout(limits.time_max, collect(body, limits)).await.map_err(|_| {
        let seconds = limits.time_max.as_secs_f32();
        let detail = format!("the body did not arrive within {seconds} s (REGROVE_BODY_SECONDS)");
        Problem::new("body-timeout", StatusCode::REQUEST_TIMEOUT, detail)
    })??;
    match encoding {
        Encoding::Identity => Ok(bytes),
        Encoding::Gzip | Encoding::Deflate => tokio::task::spawn_blocking(move || inflate(encoding, &bytes, limits))
            .await
            .map_err(|error| Problem::internal(&error))?,
    }
}

async fn collect(mut body: Body, limits: PayloadLimits) -> Result<Bytes, Problem> {
    let mut whole: Option<Bytes> = None;
    let mut parts: Vec<u8> = Vec::new();
    let mut share = Share::of(limits.all_bytes_max);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Problem::new("body-unreadable", StatusCode::BAD_REQUEST, format!("the body broke off: {error}"))
        })?;
        // Trailers say nothing here.
        let Ok(data) = frame.into_data() else { continue };
        let length = parts.len() + whole.as_ref().map_or(0, Bytes::len) + data.len();
        if length > limits.bytes_max {
            return Err(too_large(limits));
        }
        share.grow(length)?;
        // Most bodies come in one piece, which is then not copied.
        match whole.take() {
            None if parts.is_empty() => whole = Some(data),
            first => {
                parts.extend(first.iter().flat_map(|first| first.iter()));
                parts.extend_from_slice(&data);
            }
        }
    }
    Ok(share.around(whole.unwrap_or_else(|| parts.into())))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Identity,
    Gzip,
    Deflate,
}

impl Encoding {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(value) = headers.get(CONTENT_ENCODING) else { return Ok(Self::Identity) };
        match value.to_str().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "deflate" => Ok(Self::Deflate),
            other => {
                let detail = format!("Content-Encoding is `{other}`, expected gzip, deflate or none");
                let problem = Problem::new("unsupported-encoding", StatusCode::UNSUPPORTED_MEDIA_TYPE, detail);
                Err(problem.header(&CONTENT_ENCODING))
            }
        }
    }
}

/// Stops as soon as a limit is passed: a small body that would fill the memory is refused after the limit's bytes.
fn inflate(encoding: Encoding, bytes: &[u8], limits: PayloadLimits) -> Result<Bytes, Problem> {
    let mut share = Share::of(limits.all_bytes_max);
    let mut out = Vec::with_capacity(bytes.len().saturating_mul(4).min(limits.bytes_max));
    let mut decoder: Box<dyn Read + '_> = match encoding {
        Encoding::Deflate => Box::new(ZlibDecoder::new(bytes)),
        Encoding::Gzip | Encoding::Identity => Box::new(MultiGzDecoder::new(bytes)),
    };
    while more(&mut decoder, &mut out).map_err(|error| {
        let detail = format!("the body is not what its Content-Encoding says: {error}");
        Problem::new("body-unreadable", StatusCode::BAD_REQUEST, detail)
    })? {
        if out.len() > limits.bytes_max {
            return Err(too_large(limits));
        }
        share.grow(out.len())?;
    }
    Ok(share.around(out.into()))
}

/// Reads the next piece; false at the end.
fn more(decoder: &mut impl Read, out: &mut Vec<u8>) -> io::Result<bool> {
    Ok(decoder.take(INFLATED_AT_ONCE).read_to_end(out)? > 0)
}

fn too_large(limits: PayloadLimits) -> Problem {
    let detail =
        format!("the body is over this function's limit of {} bytes (REGROVE_BODY_BYTES_MAX)", limits.bytes_max);
    Problem::new("body-too-large", StatusCode::PAYLOAD_TOO_LARGE, detail)
}
