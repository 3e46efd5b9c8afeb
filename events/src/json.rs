//! JSON read into a type. What does not fit is said with its place, for people and as a JSON Pointer.

use std::fmt::{self, Write as _};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment, Track};

/// What of a JSON text does not fit the type that it is read into.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Misfit {
    /// The place, as a JSON Pointer (RFC 6901); empty for the text as a whole.
    pub pointer: String,
    /// The place as people write it: `params.max_depth`. None for the text as a whole.
    pub path: Option<String>,
    /// What is there and what is expected.
    pub reason: String,
}

impl Misfit {
    /// Of the text as a whole.
    pub(crate) fn whole(reason: impl Into<String>) -> Self {
        Self { pointer: String::new(), path: None, reason: reason.into() }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "`{path}`: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// Reads a whole JSON text.
///
/// # Errors
/// [`Misfit`] for what is no JSON, is followed by something, or does not fit.
pub fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, Misfit> {
    let json = &mut serde_json::Deserializer::from_slice(text);
    let value = fitting(&mut *json)?;
    json.end().map_err(|error| Misfit::whole(error.to_string()))?;
    Ok(value)
}

/// Reads a JSON value.
///
/// # Errors
/// [`Misfit`] for what does not fit.
pub fn from_value<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, Misfit> {
    fitting(value)
}

fn fitting<'de, T: Deserialize<'de>, E: serde::de::Error>(
    from: impl serde::Deserializer<'de, Error = E>,
) -> Result<T, Misfit> {
    let mut track = Track::new();
    T::deserialize(serde_path_to_error::Deserializer::new(from, &mut track)).map_err(|error| {
        let path = track.path();
        let named = path.iter().next().is_some().then(|| path.to_string());
        Misfit { pointer: pointer(&path), path: named, reason: error.to_string() }
    })
}

/// The step of a JSON Pointer to an object's member, its slash included.
pub fn step(member: &str) -> String {
    format!("/{}", member.replace('~', "~0").replace('/', "~1"))
}

fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        // Writing into memory does not fail.
        let _ = match segment {
            Segment::Seq { index } => write!(pointer, "/{index}"),
            Segment::Map { key } => write!(pointer, "{}", step(key)),
            // A variant is a type's business: the text has no such step. Nor is there more to say of what is unknown.
            Segment::Enum { .. } | Segment::Unknown => Ok(()),
        };
    }
    pointer
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    type Rows = BTreeMap<String, Vec<u8>>;

    #[test]
    fn what_does_not_fit_is_said_with_its_place() {
        for (text, pointer, says) in [
            (r#"{"a": [1, "x"]}"#, "/a/1", "`a[1]`: invalid type: string \"x\", expected u8"),
            (r#"{"a/b~c": 7}"#, "/a~1b~0c", "`a/b~c`: invalid type: integer `7`, expected a sequence"),
            ("[]", "", "invalid type: sequence, expected a map"),
            (r#"{"a": []} more"#, "", "trailing characters"),
            (r#"{"a": [1"#, "/a", "`a`: EOF while parsing"),
        ] {
            let misfit = read::<Rows>(text.as_bytes()).unwrap_err();
            assert_eq!(misfit.pointer, pointer, "{text}");
            assert!(misfit.to_string().starts_with(says), "{misfit}");
        }
        assert_eq!(read::<Rows>(br#" {"a": [1]} "#).unwrap()["a"], [1]);
        assert_eq!(from_value::<Rows>(serde_json::json!({"a": [256]})).unwrap_err().pointer, "/a/0");
    }
}
