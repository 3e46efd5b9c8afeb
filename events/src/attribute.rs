//! Values of CloudEvents context attributes.

use std::fmt;

/// The value of an extension attribute, in the CloudEvents type system (section 3 of the core specification).
///
/// Over HTTP in binary mode every value arrives as a [`AttributeValue::String`]; the JSON format keeps integers and
/// booleans apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AttributeValue {
    /// Text, URIs, timestamps and base64 binary: all travel as text.
    String(String),
    /// A whole number, −2,147,483,648 to 2,147,483,647.
    Integer(i32),
    /// `true` or `false`.
    Boolean(bool),
}

impl fmt::Display for AttributeValue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(text) => out.write_str(text),
            Self::Integer(number) => write!(out, "{number}"),
            Self::Boolean(truth) => write!(out, "{truth}"),
        }
    }
}

impl From<&str> for AttributeValue {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for AttributeValue {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<i32> for AttributeValue {
    fn from(number: i32) -> Self {
        Self::Integer(number)
    }
}

impl From<bool> for AttributeValue {
    fn from(truth: bool) -> Self {
        Self::Boolean(truth)
    }
}
