//! Docker for the test of the images, which starts a daemon of its own.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::debian;
use crate::shell::{self, Workspace, say};

/// Programs that the test starts, each with the Debian package that brings it.
const PROGRAMS: [(&str, &str); 3] = [("dockerd", "docker.io"), ("ip", "iproute2"), ("unshare", "util-linux")];
/// The client that knows the daemon's version; another one on `PATH` may not.
const CLIENT: &str = "/usr/bin/docker";

/// Makes sure that Docker's daemon and client are there; installs Debian's when they are not. None is left running.
///
/// # Errors
/// When one is missing and cannot be installed. The message says which.
pub(crate) fn ensure(workspace: &Workspace) -> Result<()> {
    for (program, package) in PROGRAMS {
        if workspace.which(program)?.is_some() {
            continue;
        }
        let installed = match package {
            "docker.io" => debian::install_service(workspace, package, "docker"),
            _ => debian::install(workspace, package),
        };
        installed.with_context(|| format!("{program} is not on PATH and could not be installed"))?;
        if workspace.which(program)?.is_none() {
            bail!("{program} is still missing after the installation of {package}");
        }
    }
    if !Path::new(CLIENT).is_file() {
        bail!("{CLIENT} is missing: install Debian's docker.io beside the dockerd that is here");
    }
    say(shell::output(workspace.command(CLIENT)?.arg("--version"))?);
    Ok(())
}
