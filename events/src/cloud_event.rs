//! The CloudEvent itself: attributes checked at the door, data kept as the bytes that came.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use url::Url;

use crate::AttributeValue;

/// Versions of the CloudEvents specification that are accepted; an event keeps its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SpecVersion {
    /// `0.3`: accepted by Knative brokers and delivered as it came.
    V0_3,
    /// `1.0`, which covers every 1.0.x text.
    #[default]
    V1_0,
}

impl SpecVersion {
    /// The text of the `specversion` attribute.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_3 => "0.3",
            Self::V1_0 => "1.0",
        }
    }
}

/// Why something is not a CloudEvent. Names the attribute and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// A required attribute is absent.
    #[error("attribute `{0}` is missing")]
    Missing(&'static str),
    /// A required attribute is the empty string.
    #[error("attribute `{0}` is empty")]
    Empty(&'static str),
    /// `specversion` names a version that nobody has published.
    #[error("specversion `{0}` is unknown, expected `1.0`")]
    SpecVersion(String),
    /// An attribute name with characters other than `a`–`z` and `0`–`9`.
    #[error("attribute name `{0}` is invalid, expected lower-case letters and digits")]
    Name(String),
    /// A value that does not fit the attribute's type.
    #[error("attribute `{name}` is invalid: {reason}")]
    Value {
        /// The attribute.
        name: String,
        /// What is wrong with its value.
        reason: String,
    },
    /// The JSON text of a structured or batched event cannot be read.
    #[error("not a JSON event: {0}")]
    Json(String),
    /// The HTTP message is in no mode of the HTTP binding.
    #[error("not a CloudEvent: {0}")]
    Mode(String),
}

impl Invalid {
    pub(crate) fn value(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Value { name: name.into(), reason: reason.into() }
    }
}

/// A CloudEvent whose attributes hold what the specification asks.
///
/// Extensions are ordered by name, so that the same event always has the same JSON text. Data is kept as the bytes
/// that came; `datacontenttype` says what they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudEvent {
    pub(crate) spec_version: SpecVersion,
    pub(crate) id: String,
    pub(crate) source: String,
    pub(crate) ty: String,
    pub(crate) subject: Option<String>,
    pub(crate) time: Option<String>,
    pub(crate) data_content_type: Option<String>,
    pub(crate) data_schema: Option<String>,
    pub(crate) extensions: BTreeMap<String, AttributeValue>,
    pub(crate) data: Option<Bytes>,
}

impl CloudEvent {
    /// Starts an event with its three required attributes; [`CloudEventBuilder::build`] checks them.
    pub fn builder(id: impl Into<String>, source: impl Into<String>, ty: impl Into<String>) -> CloudEventBuilder {
        CloudEventBuilder {
            event: Self {
                spec_version: SpecVersion::V1_0,
                id: id.into(),
                source: source.into(),
                ty: ty.into(),
                subject: None,
                time: None,
                data_content_type: None,
                data_schema: None,
                extensions: BTreeMap::new(),
                data: None,
            },
        }
    }

    /// The version of the specification that the event follows.
    pub fn spec_version(&self) -> SpecVersion {
        self.spec_version
    }

    /// `id`: unique within [`source`](Self::source).
    pub fn id(&self) -> &str {
        &self.id
    }

    /// `source`: a URI reference.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// `type`, such as `io.regrove.shard-trained`.
    pub fn ty(&self) -> &str {
        &self.ty
    }

    /// `subject`: a job id, or a model's name for serving events.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// `time` as it was written, with its offset.
    pub fn time_text(&self) -> Option<&str> {
        self.time.as_deref()
    }

    /// `time` as an instant.
    pub fn time(&self) -> Option<Timestamp> {
        self.time.as_deref().and_then(|text| text.parse().ok())
    }

    /// `datacontenttype`, a media type.
    pub fn data_content_type(&self) -> Option<&str> {
        self.data_content_type.as_deref()
    }

    /// `dataschema`, an absolute URI.
    pub fn data_schema(&self) -> Option<&str> {
        self.data_schema.as_deref()
    }

    /// The bytes of the data, if there are any.
    pub fn data(&self) -> Option<&Bytes> {
        self.data.as_ref()
    }

    /// Extension attributes, ordered by name.
    pub fn extensions(&self) -> impl Iterator<Item = (&str, &AttributeValue)> {
        self.extensions.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// One extension attribute.
    pub fn extension(&self, name: &str) -> Option<&AttributeValue> {
        self.extensions.get(name)
    }

    /// Any context attribute, extensions included, in its string form; `None` when it is not set.
    pub fn attribute(&self, name: &str) -> Option<Cow<'_, str>> {
        let optional = |value: &'_ Option<String>| value.clone().map(Cow::Owned);
        match name {
            "specversion" => Some(Cow::Borrowed(self.spec_version.as_str())),
            "id" => Some(Cow::Borrowed(&self.id)),
            "source" => Some(Cow::Borrowed(&self.source)),
            "type" => Some(Cow::Borrowed(&self.ty)),
            "subject" => optional(&self.subject),
            "time" => optional(&self.time),
            "datacontenttype" => optional(&self.data_content_type),
            "dataschema" => optional(&self.data_schema),
            _ => self.extensions.get(name).map(|value| match value {
                AttributeValue::String(text) => Cow::Borrowed(text.as_str()),
                other => Cow::Owned(other.to_string()),
            }),
        }
    }

    /// Sets or replaces an extension attribute.
    ///
    /// # Errors
    /// [`Invalid::Name`] if the name is not lower-case letters and digits, or is an attribute of the core;
    /// [`Invalid::Value`] for text with characters that no attribute may hold.
    pub fn set_extension(&mut self, name: &str, value: impl Into<AttributeValue>) -> Result<(), Invalid> {
        let value = value.into();
        check_extension(self.spec_version, name, &value)?;
        self.extensions.insert(name.to_owned(), value);
        Ok(())
    }

    /// Takes an extension attribute away and returns what it was.
    pub fn remove_extension(&mut self, name: &str) -> Option<AttributeValue> {
        self.extensions.remove(name)
    }

    /// Puts other data, or none, in the place of the data, and returns what they were. Their media type stays.
    pub fn replace_data(&mut self, data: Option<Bytes>) -> Option<Bytes> {
        std::mem::replace(&mut self.data, data)
    }

    /// Whether the data is JSON: by its media type, or because an absent media type means JSON.
    pub fn has_json_data(&self) -> bool {
        self.data_content_type.as_deref().is_none_or(is_json)
    }
}

/// Fills in an event's optional attributes.
#[derive(Debug, Clone)]
#[must_use]
pub struct CloudEventBuilder {
    event: CloudEvent,
}

impl CloudEventBuilder {
    /// Sets `specversion`; the default is 1.0.
    pub fn spec_version(mut self, version: SpecVersion) -> Self {
        self.event.spec_version = version;
        self
    }

    /// Sets `subject`.
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.event.subject = Some(subject.into());
        self
    }

    /// Sets `time` from an instant, written in UTC.
    pub fn time(mut self, time: Timestamp) -> Self {
        self.event.time = Some(time.to_string());
        self
    }

    /// Sets `time` from an RFC 3339 text, which is kept as it is.
    pub fn time_text(mut self, time: impl Into<String>) -> Self {
        self.event.time = Some(time.into());
        self
    }

    /// Sets `dataschema`.
    pub fn data_schema(mut self, uri: impl Into<String>) -> Self {
        self.event.data_schema = Some(uri.into());
        self
    }

    /// Sets an extension attribute.
    pub fn extension(mut self, name: impl Into<String>, value: impl Into<AttributeValue>) -> Self {
        self.event.extensions.insert(name.into(), value.into());
        self
    }

    /// Sets the data and its media type.
    pub fn data(mut self, content_type: impl Into<String>, data: impl Into<Bytes>) -> Self {
        self.event.data_content_type = Some(content_type.into());
        self.event.data = Some(data.into());
        self
    }

    pub(crate) fn raw(mut self, fill: impl FnOnce(&mut CloudEvent)) -> Self {
        fill(&mut self.event);
        self
    }

    /// Checks every attribute.
    ///
    /// # Errors
    /// [`Invalid`], with the first attribute that does not hold what the specification asks.
    pub fn build(self) -> Result<CloudEvent, Invalid> {
        let event = self.event;
        for (name, value) in [("id", &event.id), ("source", &event.source), ("type", &event.ty)] {
            if value.is_empty() {
                return Err(Invalid::Empty(name));
            }
        }
        for (name, value) in [
            ("id", Some(&event.id)),
            ("type", Some(&event.ty)),
            ("subject", event.subject.as_ref()),
            ("datacontenttype", event.data_content_type.as_ref()),
            ("dataschema", event.data_schema.as_ref()),
        ] {
            check_text(name, value.map_or("", String::as_str))?;
        }
        check_uri_reference("source", &event.source)?;
        if event.subject.as_deref() == Some("") {
            return Err(Invalid::Empty("subject"));
        }
        if let Some(time) = &event.time {
            check_time(time)?;
        }
        if let Some(schema) = &event.data_schema {
            Url::parse(schema)
                .map_err(|error| Invalid::value("dataschema", format!("`{schema}` is not an absolute URI: {error}")))?;
        }
        if let Some(media_type) = &event.data_content_type {
            check_media_type(media_type)?;
        }
        for (name, value) in &event.extensions {
            check_extension(event.spec_version, name, value)?;
        }
        Ok(event)
    }
}

fn check_extension(version: SpecVersion, name: &str, value: &AttributeValue) -> Result<(), Invalid> {
    const CORE: [&str; 10] = [
        "specversion",
        "id",
        "source",
        "type",
        "subject",
        "time",
        "datacontenttype",
        "dataschema",
        "data",
        "data_base64",
    ];
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let schema_of_0_3 = version == SpecVersion::V0_3 && name == "schemaurl";
    if name.is_empty() || !name.bytes().all(plain) || CORE.contains(&name) || schema_of_0_3 {
        return Err(Invalid::Name(name.to_owned()));
    }
    match value {
        AttributeValue::String(text) => check_text(name, text),
        AttributeValue::Integer(_) | AttributeValue::Boolean(_) => Ok(()),
    }
}

/// The type String (core specification, section 3): no control characters and none that Unicode reserves for itself.
pub(crate) fn check_text(name: &str, text: &str) -> Result<(), Invalid> {
    let reserved = |c: char| matches!(c, '\u{fdd0}'..='\u{fdef}') || (u32::from(c) & 0xfffe) == 0xfffe;
    match text.chars().find(|&c| c.is_control() || reserved(c)) {
        Some(c) => Err(Invalid::value(name, format!("the character U+{:04X} is not allowed", u32::from(c)))),
        None => Ok(()),
    }
}

/// A URI reference (RFC 3986, section 4.1): resolving it against a base must work.
fn check_uri_reference(name: &'static str, text: &str) -> Result<(), Invalid> {
    let stray = |c: char| {
        c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | '"' | '{' | '}' | '|' | '^' | '`' | '\\')
    };
    if let Some(c) = text.chars().find(|&c| stray(c)) {
        return Err(Invalid::value(name, format!("`{text}` is not a URI reference: {c:?} must be percent-encoded")));
    }
    Url::parse(text)
        .or_else(|_| Url::parse("http://base.invalid/").and_then(|base| base.join(text)))
        .map(|_| ())
        .map_err(|error| Invalid::value(name, format!("`{text}` is not a URI reference: {error}")))
}

/// RFC 3339, section 5.6. The parser is more generous: it takes a space, a comma, no zone, or an offset in hours.
fn check_time(text: &str) -> Result<(), Invalid> {
    let zone_follows = |rest: &str| match rest.as_bytes() {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', a, b, b':', c, d] => [a, b, c, d].iter().all(|digit| digit.is_ascii_digit()),
        _ => false,
    };
    let rfc3339 = text.split_at_checked(19).is_some_and(|(seconds, rest)| {
        let shape = seconds.bytes().zip(*b"dddd-dd-ddTdd:dd:dd").all(|(byte, shape)| match shape {
            b'd' => byte.is_ascii_digit(),
            other => byte.eq_ignore_ascii_case(&other),
        });
        let rest = match rest.strip_prefix('.') {
            Some(fraction) if fraction.starts_with(|c: char| c.is_ascii_digit()) => {
                fraction.trim_start_matches(|c: char| c.is_ascii_digit())
            }
            _ => rest,
        };
        shape && zone_follows(rest)
    });
    if rfc3339 && text.parse::<Timestamp>().is_ok() {
        return Ok(());
    }
    Err(Invalid::value("time", format!("`{text}` is not an RFC 3339 time such as 2026-11-23T08:00:00Z")))
}

fn check_media_type(text: &str) -> Result<(), Invalid> {
    let essence = text.split(';').next().unwrap_or_default().trim();
    let token = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+*%'`|~".contains(&byte))
    };
    match essence.split_once('/') {
        Some((kind, subtype)) if token(kind) && token(subtype) => Ok(()),
        _ => Err(Invalid::value("datacontenttype", format!("`{text}` is not a media type such as application/json"))),
    }
}

/// Whether a media type is JSON: `*/json` or `*/*+json`, parameters aside.
pub(crate) fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.split_once('/').is_some_and(|(_, subtype)| subtype == "json" || subtype.ends_with("+json"))
}
