//! Whether the same commit makes the same files: it is built again in another place, and every byte compared.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::shell::{self, Workspace, say};

/// Folder in `target` of the second build, gone when both are the same.
const AGAIN: &str = "again";

/// Runs `cargo xtask ARGUMENTS` in a copy of the last commit and compares what it makes with `first`.
///
/// # Errors
/// When something is not committed, the build fails, or a file differs; the message names the file.
pub(crate) fn compare(workspace: &Workspace, arguments: &[&str], date: u64, first: &Path) -> Result<()> {
    let changed = shell::output(workspace.command("git")?.args(["status", "--porcelain"]))?;
    if !changed.is_empty() {
        bail!("commit what has changed first, the second build is of the last commit:\n{changed}");
    }
    let again = workspace.target.join(AGAIN);
    let (source, out) = (again.join("source"), again.join("out"));
    if again.exists() {
        fs::remove_dir_all(&again).with_context(|| format!("remove {}", again.display()))?;
    }
    fs::create_dir_all(&again).with_context(|| format!("make {}", again.display()))?;
    shell::run(workspace.command("git")?.args(["clone", "--quiet", "--no-hardlinks", "."]).arg(&source))?;
    let mut cargo = workspace.cargo()?;
    cargo.current_dir(&source).env("CARGO_TARGET_DIR", again.join("target"));
    cargo.arg("xtask").args(arguments).arg("--date").arg(date.to_string()).arg("--out").arg(&out);
    shell::run(&mut cargo)?;
    same(first, &out)?;
    say("built twice, in two places: not a byte differs");
    fs::remove_dir_all(&again).with_context(|| format!("remove {}", again.display()))
}

fn same(first: &Path, second: &Path) -> Result<()> {
    let (mut ours, mut theirs) = (BTreeMap::new(), BTreeMap::new());
    read(first, first, &mut ours)?;
    read(second, second, &mut theirs)?;
    let names: std::collections::BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    let differing: Vec<_> = names.into_iter().filter(|name| ours.get(*name) != theirs.get(*name)).collect();
    if !differing.is_empty() {
        bail!("the second build differs in {differing:?}: compare {} and {}", first.display(), second.display());
    }
    Ok(())
}

/// All files of a folder by their paths below it.
fn read(folder: &Path, root: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            read(&path, root, files)?;
        } else {
            let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            files.insert(path.strip_prefix(root)?.to_owned(), bytes);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_differs_or_is_missing_is_named() {
        let folder = std::env::temp_dir().join(format!("regrove-reproduce-{}", std::process::id()));
        let (first, second) = (folder.join("first"), folder.join("second"));
        for side in [&first, &second] {
            fs::create_dir_all(side.join("etc")).unwrap();
            fs::write(side.join("etc/program"), "the same").unwrap();
        }
        assert!(same(&first, &second).is_ok());
        fs::write(second.join("etc/program"), "the sams").unwrap();
        fs::write(first.join("more"), "").unwrap();
        let refused = same(&first, &second).unwrap_err().to_string();
        assert!(refused.contains("[\"etc/program\", \"more\"]"), "{refused}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
