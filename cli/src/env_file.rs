//! Files of variables, `NAME=VALUE` on each line, as container tools read them.

use std::collections::BTreeMap;
use std::path::Path;

use regrove_knative::manifest::RESERVED_VARIABLES;

use crate::output::Usage;

/// Reads a file. Empty lines and those that begin with `#` are left out; a value is everything after the first `=`, and
/// quotes are part of it.
///
/// # Errors
/// [`Usage`] with the file and, for a line that is none of these, its number.
pub(crate) fn read(path: &Path) -> Result<BTreeMap<String, String>, Usage> {
    let text =
        std::fs::read_to_string(path).map_err(|error| Usage(format!("--env-file {}: {error}", path.display())))?;
    parse(&text).map_err(|(line, reason)| Usage(format!("--env-file {}:{line}: {reason}", path.display())))
}

fn parse(text: &str) -> Result<BTreeMap<String, String>, (usize, String)> {
    let mut variables = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.trim_end().is_empty() || line.starts_with('#') {
            continue;
        }
        let fault = |reason: String| (index + 1, reason);
        let (name, value) = line.split_once('=').ok_or_else(|| fault("expected NAME=VALUE".to_owned()))?;
        let valid = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && name.bytes().next().is_some_and(|first| !first.is_ascii_digit());
        if !valid {
            return Err(fault(format!("`{name}` is no name of a variable")));
        }
        if RESERVED_VARIABLES.contains(&name) {
            return Err(fault(format!("{name} is set for every process by the runtime; leave it out")));
        }
        variables.insert(name.to_owned(), value.to_owned());
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_variables() {
        let read = parse("# colours\n\nA=red\r\n  B=\"x = y\"\nC=\nA=blue\n").unwrap();
        let expected = [("A", "blue"), ("B", "\"x = y\""), ("C", "")];
        assert_eq!(read, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }

    #[test]
    fn faults_name_their_line() {
        for (text, line, reason) in [
            ("A=1\nexport", 2, "expected NAME=VALUE"),
            ("1A=1", 1, "`1A` is no name"),
            ("=1", 1, "`` is no name"),
            ("\nPORT=80", 2, "PORT is set for every process"),
        ] {
            let (at, why) = parse(text).unwrap_err();
            assert!(at == line && why.contains(reason), "{text:?}: {at}: {why}");
        }
    }
}
