//! What the documents list is what the code has.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// Strings that look like a problem's kind and stand where one is made.
fn kinds() -> BTreeSet<String> {
    const MAKERS: [&str; 9] =
        ["Problem::new(", "Self::new(", "Fault::value(", "refuse(", "because(", "kind: ", "problem: ", "} => ", "=> ("];
    let mut texts = Vec::new();
    for folder in ["functions", "infra/host/src", "infra/data/src"] {
        sources(&root().join(folder), &mut texts);
    }
    let mut kinds = BTreeSet::new();
    for text in texts {
        let code = text.split("#[cfg(test)]").next().unwrap();
        let flat = code.split_whitespace().collect::<Vec<_>>().join(" ");
        for maker in MAKERS {
            for part in flat.split(maker).skip(1) {
                let Some(kind) = part.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next()) else {
                    continue;
                };
                if kind.contains('-')
                    && kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
                {
                    kinds.insert(kind.to_owned());
                }
            }
        }
    }
    // Functions' names stand in such places too.
    kinds.remove("train-shard");
    kinds.remove("load-model");
    kinds
}

fn headings(file: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("docs").join(file)).unwrap();
    text.lines().filter_map(|line| line.strip_prefix("### ")).map(str::to_owned).collect()
}

#[test]
fn every_kind_of_problem_has_its_heading() {
    let (made, told) = (kinds(), headings("problems.md"));
    assert!(made.len() > 20, "the search finds the kinds: {made:?}");
    assert_eq!(made.difference(&told).collect::<Vec<_>>(), Vec::<&String>::new(), "without a heading");
    assert_eq!(told.difference(&made).collect::<Vec<_>>(), Vec::<&String>::new(), "headings for nothing");
}

#[test]
fn every_event_type_has_its_heading() {
    let types: BTreeSet<String> = regrove_events::SCHEMAS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(types, headings("events.md"));
}
