//! Pieces of MLflow's search language.

use crate::error::Error;

/// A text as a literal of the search language.
///
/// # Errors
/// [`Error::InvalidValue`] when it holds both kinds of quotes, a backslash or a control character: the language has no
/// escape for them.
pub fn literal(field: &'static str, value: &str) -> Result<String, Error> {
    let invalid = |reason| Error::InvalidValue { field, value: value.to_owned(), reason };
    if value.chars().any(|character| character.is_control() || character == '\\') {
        return Err(invalid("MLflow cannot search for backslashes and control characters"));
    }
    match (value.contains('\''), value.contains('"')) {
        (false, _) => Ok(format!("'{value}'")),
        (true, false) => Ok(format!("\"{value}\"")),
        (true, true) => Err(invalid("MLflow cannot search for a text with both kinds of quotes")),
    }
}

/// `tags.`key` = 'value'`.
///
/// # Errors
/// As for [`literal`]; also when the key holds a backtick.
pub fn tag(key: &str, value: &str) -> Result<String, Error> {
    if key.contains('`') {
        return Err(Error::InvalidValue {
            field: "tag",
            value: key.to_owned(),
            reason: "MLflow cannot search for a key with a backtick",
        });
    }
    Ok(format!("tags.`{key}` = {}", literal("tag value", value)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_chosen_so_that_the_text_ends_where_it_ends() {
        assert_eq!(literal("name", "a b").unwrap(), "'a b'");
        assert_eq!(literal("name", "it's").unwrap(), "\"it's\"");
        assert_eq!(literal("name", "a\"b").unwrap(), "'a\"b'");
        assert!(literal("name", "'\"").is_err());
        assert!(literal("name", "a\\").is_err());
        assert!(literal("name", "a\nb").is_err());
        assert_eq!(tag("regrove.job", "j-1").unwrap(), "tags.`regrove.job` = 'j-1'");
        assert!(tag("a`b", "x").is_err());
    }
}
