//! The JSON event format (`application/cloudevents+json`) and its batches.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::cloud_event::is_json;
use crate::{AttributeValue, CloudEvent, Invalid, SpecVersion};

/// Reads one event in the JSON format.
///
/// # Errors
/// [`Invalid`]: not JSON, a key twice, or attributes that the specification does not allow.
pub fn from_slice(json: &[u8]) -> Result<CloudEvent, Invalid> {
    let members: Members = serde_json::from_slice(json).map_err(|error| Invalid::Json(error.to_string()))?;
    members.into_event()
}

/// Reads a batch: a JSON array of events.
///
/// # Errors
/// As [`from_slice`], for the first event that is wrong.
pub fn batch_from_slice(json: &[u8]) -> Result<Vec<CloudEvent>, Invalid> {
    let batch: Vec<Members> = serde_json::from_slice(json).map_err(|error| Invalid::Json(error.to_string()))?;
    batch.into_iter().map(Members::into_event).collect()
}

/// Writes one event in the JSON format. The same event always gives the same bytes.
///
/// White space around JSON data is left out; [`to_exact_vec`] keeps it.
pub fn to_vec(event: &CloudEvent) -> Vec<u8> {
    // Strings, integers and JSON that has been read before: nothing in it can fail to be written.
    serde_json::to_vec(event).unwrap_or_default()
}

/// Writes one event in the JSON format so that reading it gives the same event again, byte for byte.
///
/// Data that could not come back as it is, such as JSON with white space around it, goes as `data_base64`.
pub fn to_exact_vec(event: &CloudEvent) -> Vec<u8> {
    serde_json::to_vec(&Exact(event)).unwrap_or_default()
}

/// How data stands in an event's JSON.
enum DataMember<'a> {
    Json(&'a RawValue),
    Text(&'a str),
    Base64(String),
}

impl<'a> DataMember<'a> {
    fn new(event: &'a CloudEvent, data: &'a Bytes, exact: bool) -> Self {
        let Ok(text) = std::str::from_utf8(data) else { return Self::Base64(BASE64.encode(data)) };
        if !event.has_json_data() {
            return Self::Text(text);
        }
        match serde_json::from_str::<&RawValue>(text) {
            // `null` would read as no data at all.
            Ok(json) if json.get() != "null" && (!exact || json.get() == text) => Self::Json(json),
            _ => Self::Base64(BASE64.encode(data)),
        }
    }
}

struct Exact<'a>(&'a CloudEvent);

impl Serialize for Exact<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(self.0, serializer, true)
    }
}

/// The members of a JSON event, each key once.
struct Members(BTreeMap<String, Box<RawValue>>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Once;
        impl<'de> Visitor<'de> for Once {
            type Value = Members;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a CloudEvent as a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = BTreeMap::new();
                while let Some(name) = map.next_key::<String>()? {
                    if members.contains_key(&name) {
                        return Err(A::Error::custom(format_args!("member `{name}` appears twice")));
                    }
                    members.insert(name, map.next_value()?);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Once)
    }
}

impl Members {
    fn into_event(self) -> Result<CloudEvent, Invalid> {
        let mut members = self.0;
        members.retain(|_, value| value.get() != "null");
        let mut take = |name: &str| members.remove(name);
        let mut text = |name: &'static str| take(name).map(|value| string(name, &value)).transpose();

        let version = match text("specversion")?.ok_or(Invalid::Missing("specversion"))?.as_str() {
            "1.0" => SpecVersion::V1_0,
            "0.3" => SpecVersion::V0_3,
            other => return Err(Invalid::SpecVersion(other.to_owned())),
        };
        let id = text("id")?.ok_or(Invalid::Missing("id"))?;
        let source = text("source")?.ok_or(Invalid::Missing("source"))?;
        let ty = text("type")?.ok_or(Invalid::Missing("type"))?;
        let subject = text("subject")?;
        let time = text("time")?;
        let content_type = text("datacontenttype")?;
        let schema = text(if version == SpecVersion::V0_3 { "schemaurl" } else { "dataschema" })?;
        let base64 = text("data_base64")?;
        let data = match (take("data"), base64) {
            (Some(_), Some(_)) => return Err(Invalid::value("data", "`data` and `data_base64` exclude each other")),
            (Some(value), None) => Some(plain_data(content_type.as_deref(), &value)?),
            (None, Some(text)) => Some(Bytes::from(
                BASE64.decode(text).map_err(|error| Invalid::value("data_base64", error.to_string()))?,
            )),
            (None, None) => None,
        };
        let extensions = members
            .into_iter()
            .map(|(name, value)| extension(&name, &value).map(|value| (name, value)))
            .collect::<Result<_, _>>()?;
        CloudEvent::builder(id, source, ty)
            .spec_version(version)
            .raw(|event| {
                event.subject = subject;
                event.time = time;
                event.data_content_type = content_type;
                event.data_schema = schema;
                event.extensions = extensions;
                event.data = data;
            })
            .build()
    }
}

fn string(name: &str, value: &RawValue) -> Result<String, Invalid> {
    serde_json::from_str(value.get()).map_err(|_| Invalid::value(name, "expected a JSON string"))
}

/// `data`: kept as JSON text when the media type is JSON or absent, otherwise a JSON string stands for its characters.
fn plain_data(content_type: Option<&str>, value: &RawValue) -> Result<Bytes, Invalid> {
    let text = value.get();
    if content_type.is_none_or(is_json) || !text.starts_with('"') {
        return Ok(Bytes::copy_from_slice(text.as_bytes()));
    }
    string("data", value).map(Bytes::from)
}

fn extension(name: &str, value: &RawValue) -> Result<AttributeValue, Invalid> {
    let text = value.get();
    let wrong = |reason: &str| Invalid::value(name, reason);
    match text.as_bytes().first() {
        Some(b'"') => string(name, value).map(AttributeValue::String),
        Some(b't' | b'f') => Ok(AttributeValue::Boolean(text == "true")),
        Some(b'-' | b'0'..=b'9') => {
            text.parse().map(AttributeValue::Integer).map_err(|_| wrong("numbers are whole and fit 32 bits"))
        }
        _ => Err(wrong("expected a string, a boolean or a whole number")),
    }
}

impl Serialize for CloudEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(self, serializer, false)
    }
}

fn serialize<S: Serializer>(event: &CloudEvent, serializer: S, exact: bool) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    map.serialize_entry("specversion", event.spec_version.as_str())?;
    map.serialize_entry("id", &event.id)?;
    map.serialize_entry("source", &event.source)?;
    map.serialize_entry("type", &event.ty)?;
    let schema = if event.spec_version == SpecVersion::V0_3 { "schemaurl" } else { "dataschema" };
    for (name, value) in [
        ("subject", &event.subject),
        ("time", &event.time),
        ("datacontenttype", &event.data_content_type),
        (schema, &event.data_schema),
    ] {
        if let Some(value) = value {
            map.serialize_entry(name, value)?;
        }
    }
    for (name, value) in &event.extensions {
        match value {
            AttributeValue::String(text) => map.serialize_entry(name, text)?,
            AttributeValue::Integer(number) => map.serialize_entry(name, number)?,
            AttributeValue::Boolean(truth) => map.serialize_entry(name, truth)?,
        }
    }
    match event.data.as_ref().map(|data| DataMember::new(event, data, exact)) {
        Some(DataMember::Json(json)) => map.serialize_entry("data", json)?,
        Some(DataMember::Text(text)) => map.serialize_entry("data", text)?,
        Some(DataMember::Base64(text)) => map.serialize_entry("data_base64", &text)?,
        None => {}
    }
    map.end()
}

impl<'de> Deserialize<'de> for CloudEvent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Members::deserialize(deserializer)?.into_event().map_err(D::Error::custom)
    }
}
