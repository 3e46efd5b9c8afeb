//! JSON read into a type. What does not fit is said with its place, for people and as a JSON Pointer; a list is no object.

mod objects;

use std::fmt::{self, Write as _};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment, Track};

use self::objects::Objects;

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
    T::deserialize(Objects(serde_path_to_error::Deserializer::new(from, &mut track))).map_err(|error| {
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

    #[derive(Debug, PartialEq, Deserialize)]
    struct Outer {
        name: String,
        #[serde(default)]
        inner: Option<Inner>,
        #[serde(default)]
        all: Vec<Inner>,
        #[serde(default)]
        by_name: BTreeMap<u8, Inner>,
        #[serde(default)]
        pair: (u8, f64),
        #[serde(default)]
        any: serde_json::Value,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        number: Kind,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    enum Kind {
        Whole(i64),
        Text,
    }

    /// serde's derived code takes a struct's members as a list too, in their order: what is meant would be guessed.
    #[test]
    fn a_list_is_no_object_at_any_depth() {
        for (text, pointer) in [
            (r#"["x", null, [], {}, [1, 2], 3]"#, ""),
            (r#"{"name": "x", "inner": ["Text"]}"#, "/inner"),
            (r#"{"name": "x", "all": [{"number": "Text"}, ["Text"]]}"#, "/all/1"),
            (r#"{"name": "x", "by_name": {"7": ["Text"]}}"#, "/by_name/7"),
        ] {
            let misfit = read::<Outer>(text.as_bytes()).unwrap_err();
            assert_eq!(misfit.pointer, pointer, "{text}");
            assert!(misfit.reason.starts_with("invalid type: sequence, expected an object"), "{misfit}");
            let value = serde_json::from_str(text).unwrap();
            assert_eq!(from_value::<Outer>(value).unwrap_err().pointer, pointer, "{text}");
        }
        assert!(read::<Outer>(b"7").unwrap_err().reason.starts_with("invalid type: integer `7`, expected an object"));
    }

    #[test]
    fn what_fits_is_read_as_serde_reads_it() {
        let text = r#"{"name": "\u0041", "inner": {"number": {"Whole": -3}}, "all": [{"number": "Text"}],
            "by_name": {"7": {"number": "Text"}}, "pair": [1, 2], "any": [{"x": [null, true, 1.5, -1, "y"]}], "more": [[]]}"#;
        let read = read::<Outer>(text.as_bytes()).unwrap();
        assert_eq!(read, serde_json::from_str(text).unwrap());
        assert_eq!(from_value::<Outer>(serde_json::from_str(text).unwrap()).unwrap(), read);
    }

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
