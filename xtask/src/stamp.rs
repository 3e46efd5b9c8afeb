//! What a folder in the target folder was made from, written into it when it is finished.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

const STAMP: &str = ".made-from";

/// Whether the folder is finished and was made from `made_from`.
pub(crate) fn is_made_from(folder: &Path, made_from: &str) -> bool {
    fs::read_to_string(folder.join(STAMP)).is_ok_and(|stamp| stamp == made_from)
}

/// Says that the folder is finished.
///
/// # Errors
///
/// When it cannot be written into.
pub(crate) fn finish(folder: &Path, made_from: &str) -> Result<()> {
    let stamp = folder.join(STAMP);
    fs::write(&stamp, made_from).with_context(|| format!("write {}", stamp.display()))
}
