//! The JSON event format (`application/cloudevents+json`) and its batches.

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
pub fn to_vec(event: &CloudEvent) -> Vec<u8> {
    // Strings, integers and JSON that has been read before: nothing in it can fail to be written.
    serde_json::to_vec(event).unwrap_or_default()
}

/// The members of a JSON event in the order they came, each key once.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Once;
        impl<'de> Visitor<'de> for Once {
            type Value = Members;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a CloudEvent as a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members: Vec<(String, Box<RawValue>)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    if members.iter().any(|(known, _)| *known == name) {
                        return Err(A::Error::custom(format_args!("member `{name}` appears twice")));
                    }
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Once)
    }
}

impl Members {
    fn into_event(self) -> Result<CloudEvent, Invalid> {
        let mut members: Vec<_> = self.0.into_iter().filter(|(_, value)| value.get() != "null").collect();
        let mut take = |name: &str| {
            let at = members.iter().position(|(known, _)| known == name)?;
            Some(members.swap_remove(at).1)
        };
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
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("specversion", self.spec_version.as_str())?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("source", &self.source)?;
        map.serialize_entry("type", &self.ty)?;
        let schema = if self.spec_version == SpecVersion::V0_3 { "schemaurl" } else { "dataschema" };
        for (name, value) in [
            ("subject", &self.subject),
            ("time", &self.time),
            ("datacontenttype", &self.data_content_type),
            (schema, &self.data_schema),
        ] {
            if let Some(value) = value {
                map.serialize_entry(name, value)?;
            }
        }
        for (name, value) in &self.extensions {
            match value {
                AttributeValue::String(text) => map.serialize_entry(name, text)?,
                AttributeValue::Integer(number) => map.serialize_entry(name, number)?,
                AttributeValue::Boolean(truth) => map.serialize_entry(name, truth)?,
            }
        }
        if let Some(data) = &self.data {
            match std::str::from_utf8(data) {
                Ok(text) if self.has_json_data() => match serde_json::from_str::<&RawValue>(text) {
                    Ok(json) => map.serialize_entry("data", json)?,
                    Err(_) => map.serialize_entry("data_base64", &BASE64.encode(data))?,
                },
                Ok(text) => map.serialize_entry("data", text)?,
                Err(_) => map.serialize_entry("data_base64", &BASE64.encode(data))?,
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for CloudEvent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Members::deserialize(deserializer)?.into_event().map_err(D::Error::custom)
    }
}
