//! The list of parts of a function: the crates that are linked into it, as `CycloneDX` 1.5 (ECMA-424).

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::{Value, json};

use crate::shell::{self, Workspace};

/// What cargo is to say of each crate.
const FORMAT: &str = "{p}\t{l}";

/// The list of one function, built for `target` with `features`. The same lock file always gives the same list.
///
/// # Errors
/// When cargo cannot tell.
pub(crate) fn of(workspace: &Workspace, name: &str, target: &str, features: Option<&str>) -> Result<String> {
    let package = format!("regrove-{name}");
    let mut cargo = workspace.cargo()?;
    // Macros and build scripts are run, not shipped.
    cargo.args(["tree", "--locked", "--edges", "normal,no-proc-macro", "--prefix", "none", "--no-dedupe"]);
    cargo.args(["--format", FORMAT, "--target", target, "--package", &package]);
    if let Some(features) = features {
        cargo.args(["--features", features]);
    }
    Ok(format!("{:#}\n", list(&package, &shell::output(&mut cargo)?)))
}

fn list(package: &str, tree: &str) -> Value {
    let parts: BTreeSet<Part<'_>> = tree.lines().filter_map(Part::read).collect();
    let own = parts.iter().find(|part| part.name == package).map(Part::component);
    let others = parts.iter().filter(|part| part.name != package);
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": own},
        "components": others.map(Part::component).collect::<Vec<_>>(),
    })
}

/// One line of the tree: `serde v1.0.229<TAB>MIT OR Apache-2.0`; our own crates have their folder after the version.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Part<'a> {
    name: &'a str,
    version: &'a str,
    licence: &'a str,
    ours: bool,
}

impl<'a> Part<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let (part, licence) = line.split_once('\t')?;
        let mut words = part.split(' ');
        let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
        Some(Self { name, version, licence, ours: name.starts_with("regrove-") })
    }

    fn component(&self) -> Value {
        let Self { name, version, licence, ours } = self;
        let purl = format!("pkg:cargo/{name}@{version}");
        let mut component = json!({
            "type": if *ours { "application" } else { "library" },
            "bom-ref": purl,
            "name": name,
            "version": version,
        });
        if !ours {
            component["purl"] = purl.into();
        }
        if !licence.is_empty() {
            // Older crates write `MIT/Apache-2.0` for what SPDX calls OR.
            component["licenses"] = json!([{"expression": licence.replace('/', " OR ")}]);
        }
        component
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_becomes_a_list_without_repetition_or_folders() {
        let tree = "regrove-predict v0.1.0 (/home/me/regrove/functions/predict)\tApache-2.0\n\
                    serde v1.0.229\tMIT OR Apache-2.0\n\
                    serde v1.0.229\tMIT OR Apache-2.0\n\
                    old v0.3.0\tMIT/Apache-2.0";
        let list = list("regrove-predict", tree);
        assert_eq!(list["metadata"]["component"]["name"], "regrove-predict");
        let names: Vec<_> = list["components"].as_array().unwrap().iter().map(|part| &part["name"]).collect();
        assert_eq!(names, ["old", "serde"]);
        assert_eq!(list["components"][0]["licenses"], json!([{"expression": "MIT OR Apache-2.0"}]));
        assert_eq!(list["components"][1]["purl"], "pkg:cargo/serde@1.0.229");
        assert!(!list.to_string().contains("/home"));
    }
}
