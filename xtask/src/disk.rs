//! Room on disk, said before the work that would run out of it.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::shell::{self, Workspace, say};

/// Bytes that the tests put into the folder for temporary files at one time: mostly the images that Docker builds.
const TEMPORARY_BYTES: u64 = 4 << 30;
/// Bytes of a build of everything, with the Python environments.
const TARGET_BYTES: u64 = 10 << 30;
/// A target folder with this much in it is taken for built: what it still grows by is left to chance.
const BUILT: &str = "debug/regrove";

/// Says how much is free for the build and for the tests.
///
/// # Errors
/// When it is less than they are known to take.
pub(crate) fn ensure(workspace: &Workspace) -> Result<()> {
    let temporary = std::env::temp_dir();
    let built = workspace.target.join(BUILT).exists();
    for (folder, bytes) in [(&workspace.target, if built { 0 } else { TARGET_BYTES }), (&temporary, TEMPORARY_BYTES)] {
        let free = free(workspace, folder)?;
        say(format_args!("{}: {:.1} GiB free", folder.display(), gib(free)));
        is_enough(folder, free, bytes)?;
    }
    Ok(())
}

fn is_enough(folder: &Path, free: u64, bytes: u64) -> Result<()> {
    if free < bytes {
        let (folder, free, bytes) = (folder.display(), gib(free), gib(bytes));
        bail!(
            "{folder} has {free:.1} GiB free and this takes {bytes:.0}: make room, or set CARGO_TARGET_DIR or TMPDIR"
        );
    }
    Ok(())
}

/// Bytes that may still be written where the folder lies.
fn free(workspace: &Workspace, folder: &Path) -> Result<u64> {
    let listing = shell::output(workspace.command("df")?.args(["--block-size=1", "--output=avail"]).arg(folder))?;
    let number = listing.lines().last().and_then(|line| line.trim().parse().ok());
    number.with_context(|| format!("no number in what df says of {}: {listing}", folder.display()))
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_room_is_named_with_what_to_do() {
        let workspace = Workspace::find().unwrap();
        assert!(free(&workspace, &std::env::temp_dir()).unwrap() > 0);
        assert!(is_enough(Path::new("/tmp"), 4 << 30, 4 << 30).is_ok());
        let refused = is_enough(Path::new("/tmp"), 3 << 30, 4 << 30).unwrap_err().to_string();
        assert!(refused.starts_with("/tmp has 3.0 GiB free and this takes 4: make room"), "{refused}");
    }
}
