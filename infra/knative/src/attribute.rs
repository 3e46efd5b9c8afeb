//! Context attributes as filters see them.

use std::borrow::Cow;

use regrove_events::{AttributeValue, CloudEvent};

/// The value of an attribute, its type as far as filters tell types apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Attribute<'a> {
    /// Text, an URI, a timestamp, or binary in base64.
    Text(Cow<'a, str>),
    /// A whole number.
    Integer(i32),
    /// A truth value.
    Boolean(bool),
}

impl<'a> Attribute<'a> {
    /// The attribute or extension of this name, if the event has it.
    pub(crate) fn of(event: &'a CloudEvent, name: &str) -> Option<Self> {
        match event.extension(name) {
            Some(AttributeValue::Integer(number)) => Some(Self::Integer(*number)),
            Some(AttributeValue::Boolean(truth)) => Some(Self::Boolean(*truth)),
            Some(AttributeValue::String(text)) => Some(Self::Text(Cow::Borrowed(text))),
            None => event.attribute(name).map(Self::Text),
        }
    }

    /// Like [`Attribute::of`], with the further names that Knative's filters know.
    pub(crate) fn of_alias(event: &'a CloudEvent, name: &str) -> Option<Self> {
        match name {
            "schemaurl" => event.data_schema().map(|uri| Self::Text(Cow::Borrowed(uri))),
            "datamediatype" => event.data_content_type().map(|media| {
                let essence = media.split(';').next().unwrap_or_default().trim();
                Self::Text(Cow::Borrowed(essence))
            }),
            _ => Self::of(event, name),
        }
    }

    /// The string form.
    pub(crate) fn into_text(self) -> Cow<'a, str> {
        match self {
            Self::Text(text) => text,
            Self::Integer(number) => Cow::Owned(number.to_string()),
            Self::Boolean(true) => Cow::Borrowed("true"),
            Self::Boolean(false) => Cow::Borrowed("false"),
        }
    }
}
