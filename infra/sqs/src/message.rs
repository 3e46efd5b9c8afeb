//! What stands in a message: an event in the JSON format, with its data or with a reference to them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use regrove_events::{CloudEvent, Invalid, json_format};
use sha2::{Digest as _, Sha256};

/// The extension that says where an event's data are (CloudEvents, documented extension "Dataref").
pub(crate) const DATAREF: &str = "dataref";

/// Longest id of a message group.
const GROUP_LENGTH_MAX: usize = 128;

/// An event as text.
pub(crate) fn write(event: &CloudEvent) -> Result<String, Invalid> {
    String::from_utf8(json_format::to_exact_vec(event)).map_err(|error| Invalid::Json(error.to_string()))
}

/// An event without its data, which are at `reference`; and the data.
pub(crate) fn without_data(event: &CloudEvent, reference: String) -> Result<(CloudEvent, Bytes), Invalid> {
    let mut event = event.clone();
    let data = event.replace_data(None).unwrap_or_default();
    event.set_extension(DATAREF, reference)?;
    Ok((event, data))
}

/// The name of bytes: the SHA-256 as base64 for URLs, 43 characters.
pub(crate) fn hash(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(bytes))
}

/// The message group of an event. SQS allows letters, digits and punctuation, 128 of them: other values are hashed.
pub(crate) fn group(event: &CloudEvent, attribute: &str) -> String {
    let value = event.attribute(attribute).unwrap_or_default().into_owned();
    let admitted =
        !value.is_empty() && value.len() <= GROUP_LENGTH_MAX && value.bytes().all(|byte| byte.is_ascii_graphic());
    if admitted { value } else { hash(value.as_bytes()) }
}
