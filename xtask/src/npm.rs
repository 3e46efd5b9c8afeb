//! Folders of packages from npm, exactly as a lock file names them.

use std::fs;

use anyhow::{Context, Result};

use crate::debian;
use crate::shell::{self, Workspace, say};
use crate::stamp;

/// A folder of packages to make.
#[derive(Debug)]
pub(crate) struct Packages {
    /// Its name in the target folder.
    pub(crate) folder: &'static str,
    /// Where `package.json` and `package-lock.json` are, with versions and hashes; relative to the workspace.
    pins: &'static str,
}

/// axe-core, which finds what keeps people from using a page.
pub(crate) const AXE: Packages = Packages { folder: "axe", pins: "tests/browser" };
/// azurite, which stands in for Azure Blob Storage.
pub(crate) const AZURITE: Packages = Packages { folder: "azurite", pins: "tests/azurite" };

/// Makes a folder, or makes it anew when its lock file changed.
///
/// # Errors
///
/// When npm is missing and cannot be installed, or the packages cannot be had.
pub(crate) fn ensure(workspace: &Workspace, packages: &Packages) -> Result<()> {
    if workspace.which("npm")?.is_none() {
        debian::install(workspace, "npm").context("npm is not on PATH: install it")?;
    }
    let pins = workspace.root.join(packages.pins);
    let folder = workspace.target.join(packages.folder);
    let lock = pins.join("package-lock.json");
    let wanted = fs::read_to_string(&lock).with_context(|| format!("read {}", lock.display()))?;
    if stamp::is_made_from(&folder, &wanted) {
        say(format_args!("{} is up to date", folder.display()));
        return Ok(());
    }
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    for file in ["package.json", "package-lock.json"] {
        fs::copy(pins.join(file), folder.join(file)).with_context(|| format!("copy {}/{file}", packages.pins))?;
    }
    // `ci` takes exactly what the lock file names and compares hashes.
    shell::run(
        workspace
            .command("npm")?
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent", "--prefix"])
            .arg(&folder),
    )?;
    stamp::finish(&folder, &wanted)
}
