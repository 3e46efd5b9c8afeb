//! The shared libraries of a program that is not static, for an image that has nothing else.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::package::copy;
use crate::shell::{self, Workspace};

/// Takes symbols and debug information out of a program in an image's root, and puts what it loads beside it, in the same places as
/// on this machine.
///
/// # Errors
/// When `strip` or `ldd` fails, or a library is missing.
pub(crate) fn join(workspace: &Workspace, program: &Path, root: &Path) -> Result<()> {
    shell::run(workspace.command("strip")?.arg("--strip-all").arg(program))?;
    for library in of(workspace, program)? {
        copy(&library, &root.join(library.strip_prefix("/")?))?;
    }
    Ok(())
}

/// The libraries that a program of this machine loads; none when it is static.
///
/// # Errors
/// When `ldd` fails, or a library is missing.
pub(crate) fn of(workspace: &Workspace, program: &Path) -> Result<Vec<PathBuf>> {
    loaded(&shell::output(workspace.command("ldd")?.arg(program))?)
}

/// The paths in what `ldd` says: `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, and the loader's own without an arrow.
/// What the kernel brings has no path.
fn loaded(listing: &str) -> Result<Vec<PathBuf>> {
    let mut libraries = Vec::new();
    for line in listing.lines().map(str::trim) {
        if line.ends_with("not found") {
            bail!("{line}: a library of the program is missing on this machine");
        }
        libraries.extend(line.split(' ').find(|word| word.starts_with('/')).map(PathBuf::from));
    }
    Ok(libraries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_the_loader_are_found_and_a_missing_one_is_named() {
        let listing = "\tlinux-vdso.so.1 (0x00007f43707e0000)\n\
                       \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f436c53e000)\n\
                       \t/lib64/ld-linux-x86-64.so.2 (0x00007f43707e2000)";
        let paths = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(loaded(listing).unwrap(), paths);
        let refused = loaded("\tlibzstd.so.1 => not found").unwrap_err().to_string();
        assert!(refused.starts_with("libzstd.so.1 => not found"), "{refused}");
    }
}
