//! Programs from Debian's packages.

use std::path::Path;

use anyhow::{Result, bail};

use crate::shell::{self, Workspace, say};

/// Installs a package and stops the service that its installation starts: tests start their own.
///
/// # Errors
/// As [`install`].
pub(crate) fn install_service(workspace: &Workspace, package: &str, service: &str) -> Result<()> {
    install(workspace, package)?;
    if Path::new("/run/systemd/system").is_dir() {
        return shell::run(as_root(workspace, "systemctl")?.args(["disable", "--now", service]));
    }
    let script = format!("/etc/init.d/{service}");
    if Path::new(&script).is_file() {
        // Stopping what does not run is a success here; anything else is worth seeing, not fatal.
        if let Err(error) = shell::run(as_root(workspace, &script)?.arg("stop")) {
            say(format_args!("the packaged service was not stopped: {error}"));
        }
    }
    Ok(())
}

/// Installs one Debian package, with fresh package lists only when the present ones do not know it.
///
/// # Errors
///
/// When there is no apt-get, no root and no sudo, or apt-get itself fails.
pub(crate) fn install(workspace: &Workspace, package: &str) -> Result<()> {
    if workspace.which("apt-get")?.is_none() {
        bail!("no apt-get on this machine to install {package}");
    }
    say(format_args!("installing {package} with apt-get"));
    let try_it = |workspace: &Workspace| -> Result<()> {
        shell::run(
            as_root(workspace, "env")?
                .arg("DEBIAN_FRONTEND=noninteractive")
                .args(["apt-get", "install", "-qq", "-y"])
                .arg("--no-install-recommends")
                .args(["-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0"])
                .args(["-o", "Acquire::Retries=3"])
                .arg(package),
        )
    };
    if try_it(workspace).is_ok() {
        return Ok(());
    }
    say("not in the present package lists: apt-get update, then again");
    shell::run(as_root(workspace, "apt-get")?.args(["update", "-qq", "-o", "Acquire::Retries=3"]))?;
    try_it(workspace)
}

/// `program` as root: as it is when we are root, by sudo otherwise.
fn as_root(workspace: &Workspace, program: &str) -> Result<std::process::Command> {
    if shell::output(workspace.command("id")?.arg("-u"))? == "0" {
        return workspace.command(program);
    }
    if workspace.which("sudo")?.is_none() {
        bail!("{program} needs root, and there is no sudo");
    }
    let mut command = workspace.command("sudo")?;
    command.arg(program);
    Ok(command)
}
