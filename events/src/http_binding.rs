//! CloudEvents over HTTP (HTTP protocol binding 1.0.2): binary, structured and batched content modes.

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::{AttributeValue, CloudEvent, Invalid, SpecVersion, json_format};

/// Media type of one event in structured mode.
pub const STRUCTURED_JSON: &str = "application/cloudevents+json";
/// Media type of a batch of events.
pub const BATCH_JSON: &str = "application/cloudevents-batch+json";

/// What a header value must not hold as it is (section 3.1.3.2): space, double quote, percent, and all outside `!`–`~`.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// The content mode of an HTTP message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Attributes in `ce-` headers, data in the body.
    Binary,
    /// The whole event in the body.
    Structured,
    /// Several events in the body.
    Batched,
}

/// Tells the mode from the content type, without regard to case.
///
/// # Errors
/// [`Invalid::Mode`] for an event format other than JSON.
pub fn mode(headers: &HeaderMap) -> Result<Mode, Invalid> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        // JSON is the default format, so a bare type means it too.
        STRUCTURED_JSON | "application/cloudevents" => Ok(Mode::Structured),
        BATCH_JSON => Ok(Mode::Batched),
        other if other.starts_with("application/cloudevents") => {
            Err(Invalid::Mode(format!("event format `{other}` is not supported, use {STRUCTURED_JSON}")))
        }
        _ => Ok(Mode::Binary),
    }
}

/// Reads one event from an HTTP message in binary or structured mode.
///
/// # Errors
/// [`Invalid`] when the message holds no event, a batch, or an event that breaks the specification.
pub fn from_http(headers: &HeaderMap, body: Bytes) -> Result<CloudEvent, Invalid> {
    if headers.get_all(CONTENT_TYPE).iter().nth(1).is_some() {
        return Err(Invalid::value("datacontenttype", "the header Content-Type appears twice"));
    }
    match mode(headers)? {
        Mode::Structured => json_format::from_slice(&body),
        Mode::Batched => Err(Invalid::Mode("a batch came where one event is expected".to_owned())),
        Mode::Binary => from_binary(headers, body),
    }
}

fn from_binary(headers: &HeaderMap, body: Bytes) -> Result<CloudEvent, Invalid> {
    let mut attributes: Vec<(String, String)> = Vec::new();
    for name in headers.keys() {
        let Some(attribute) = name.as_str().strip_prefix("ce-") else { continue };
        if attribute == "datacontenttype" {
            return Err(Invalid::value("datacontenttype", "travels as Content-Type in binary mode, not as ce- header"));
        }
        let mut values = headers.get_all(name).iter();
        let value = values.next().ok_or(Invalid::Missing("id"))?;
        if values.next().is_some() {
            return Err(Invalid::value(attribute, "the header appears twice"));
        }
        attributes.push((attribute.to_owned(), decode(attribute, value)?));
    }
    if attributes.is_empty() {
        return Err(Invalid::Mode(format!(
            "no ce- headers and no {STRUCTURED_JSON} body; send ce-id, ce-source, ce-specversion and ce-type"
        )));
    }
    let mut take = |name: &str| {
        let at = attributes.iter().position(|(known, _)| known == name)?;
        Some(attributes.swap_remove(at).1)
    };
    let version = match take("specversion").ok_or(Invalid::Missing("specversion"))?.as_str() {
        "1.0" => SpecVersion::V1_0,
        "0.3" => SpecVersion::V0_3,
        other => return Err(Invalid::SpecVersion(other.to_owned())),
    };
    let id = take("id").ok_or(Invalid::Missing("id"))?;
    let source = take("source").ok_or(Invalid::Missing("source"))?;
    let ty = take("type").ok_or(Invalid::Missing("type"))?;
    let (subject, time) = (take("subject"), take("time"));
    let schema = take(if version == SpecVersion::V0_3 { "schemaurl" } else { "dataschema" });
    let content_type = headers
        .get(CONTENT_TYPE)
        .map(|value| value.to_str().map(str::to_owned).map_err(|_| Invalid::value("datacontenttype", "is not ASCII")))
        .transpose()?;
    CloudEvent::builder(id, source, ty)
        .spec_version(version)
        .raw(|event| {
            event.subject = subject;
            event.time = time;
            event.data_schema = schema;
            event.data_content_type = content_type;
            event.extensions =
                attributes.into_iter().map(|(name, value)| (name, AttributeValue::String(value))).collect();
            event.data = (!body.is_empty()).then_some(body);
        })
        .build()
}

/// Undoes double quotes, then exactly one round of percent-encoding (section 3.1.3.2).
fn decode(attribute: &str, value: &HeaderValue) -> Result<String, Invalid> {
    let not_utf8 = || Invalid::value(attribute, "the header is not UTF-8");
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| not_utf8())?.trim_matches([' ', '\t']);
    let unquoted = match text.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')) {
        Some(inner) => unescape(inner),
        None => text.to_owned(),
    };
    let decoded = percent_decode_str(&unquoted).decode_utf8().map_err(|_| not_utf8())?;
    Ok(decoded.into_owned())
}

fn unescape(quoted: &str) -> String {
    let mut plain = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        plain.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
    }
    plain
}

/// The event in a subscriber's answer of status 2xx, which brokers route on, if there is one. A 202 says that the work is still
/// to be done: its body is no reply.
///
/// # Errors
/// A body or headers that speak of an event and hold none.
pub fn reply(status: StatusCode, headers: &HeaderMap, body: &Bytes) -> Result<Option<CloudEvent>, Invalid> {
    let speaks_of_event = headers.keys().any(|name| name.as_str().starts_with("ce-"));
    if status == StatusCode::ACCEPTED || (body.is_empty() && !speaks_of_event) {
        return Ok(None);
    }
    from_http(headers, body.clone()).map(Some)
}

/// Writes an event in binary mode: its headers, `Content-Type` among them, and its body.
///
/// # Errors
/// [`Invalid::Value`] when an attribute cannot be a header even after percent-encoding (a media type outside ASCII).
pub fn to_binary(event: &CloudEvent) -> Result<(HeaderMap, Bytes), Invalid> {
    let mut headers = HeaderMap::new();
    let mut set = |name: &str, value: &str| -> Result<(), Invalid> {
        let encoded = utf8_percent_encode(value, ENCODED).to_string();
        let header = HeaderName::try_from(format!("ce-{name}")).map_err(|_| Invalid::Name(name.to_owned()))?;
        let value = HeaderValue::try_from(encoded).map_err(|error| Invalid::value(name, error.to_string()))?;
        headers.insert(header, value);
        Ok(())
    };
    set("specversion", event.spec_version.as_str())?;
    set("id", &event.id)?;
    set("source", &event.source)?;
    set("type", &event.ty)?;
    let schema = if event.spec_version == SpecVersion::V0_3 { "schemaurl" } else { "dataschema" };
    for (name, value) in [("subject", &event.subject), ("time", &event.time), (schema, &event.data_schema)] {
        if let Some(value) = value {
            set(name, value)?;
        }
    }
    for (name, value) in &event.extensions {
        set(name, &value.to_string())?;
    }
    let implied = event.data.as_ref().map(|_| "application/json");
    if let Some(media_type) = event.data_content_type.as_deref().or(implied) {
        let value =
            HeaderValue::from_str(media_type).map_err(|error| Invalid::value("datacontenttype", error.to_string()))?;
        headers.insert(CONTENT_TYPE, value);
    }
    Ok((headers, event.data.clone().unwrap_or_default()))
}

/// Writes an event in structured mode.
pub fn to_structured(event: &CloudEvent) -> (HeaderMap, Bytes) {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(STRUCTURED_JSON));
    (headers, Bytes::from(json_format::to_vec(event)))
}
