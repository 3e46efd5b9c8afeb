//! Names of registered models, as MLflow has them: nearly any text. Streams and subjects have them as they are, paths encoded.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{CloudEvent, Unreadable};

/// Longest name in characters: MLflow's.
const CHARS_MAX: usize = 256;
/// What of a path's segment is written as it is: RFC 3986, `unreserved`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Checks the name of a registered model: MLflow's rule, without control characters and the two names that paths cannot have.
///
/// # Errors
/// [`Unreadable::ModelName`].
pub fn check(name: &str) -> Result<(), Unreadable> {
    let wrong = |character: char| matches!(character, '/' | ':') || character.is_control();
    if matches!(name, "" | "." | "..") || name.chars().count() > CHARS_MAX || name.contains(wrong) {
        return Err(Unreadable::ModelName(name.to_owned()));
    }
    Ok(())
}

/// The model that an event is about: its subject.
///
/// # Errors
/// [`Unreadable::NoSubject`], [`Unreadable::ModelName`].
pub fn of(event: &CloudEvent) -> Result<&str, Unreadable> {
    let name = event.subject().ok_or_else(|| Unreadable::NoSubject { ty: event.ty().to_owned() })?;
    check(name)?;
    Ok(name)
}

/// The name as one segment of a path: `my model` is `my%20model`.
pub fn segment(name: &str) -> String {
    utf8_percent_encode(name, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_mlflow() {
        for name in ["my model", "Größe (v2) + ünïcode!", "a.b_c-d", " ", "%2F", "?#", &"x".repeat(256)] {
            check(name).unwrap();
        }
        for name in ["", ".", "..", "a/b", "a:b", "a\nb", &"x".repeat(257)] {
            let error = check(name).unwrap_err().to_string();
            assert!(error.contains("1 to 256 characters"), "{error}");
        }
    }

    #[test]
    fn a_segment_is_one_segment() {
        assert_eq!(segment("RandomForest-2.1_x~"), "RandomForest-2.1_x~");
        assert_eq!(segment("my model?#%2F é"), "my%20model%3F%23%252F%20%C3%A9");
    }
}
