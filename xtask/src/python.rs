//! Python environments: of MLflow, ONNX Runtime and scikit-learn for the tests, of what stands in for clouds and clusters,
//! of other programs for measurements.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::debian;
use crate::shell::{self, Workspace, say};
use crate::stamp;

/// The oldest Python that the pinned packages install on.
const VERSION_MIN: (u32, u32) = (3, 11);
/// An environment to make.
#[derive(Debug)]
pub(crate) struct Environment {
    /// Its name in the target folder.
    pub(crate) venv: &'static str,
    /// Packages with every dependency pinned; relative to the workspace.
    requirements: &'static str,
}

/// What the tests need.
pub(crate) const TESTS: Environment = Environment { venv: "venv", requirements: "tests/python/requirements.txt" };
/// moto, `cfn-lint`, `sam`, `kubectl`: apart, because they pin what MLflow pins otherwise.
pub(crate) const PLATFORM: Environment =
    Environment { venv: "venv-platform", requirements: "tests/python/requirements-platform.txt" };
/// The clients of Triton and KServe: apart for the same reason.
pub(crate) const CLIENTS: Environment =
    Environment { venv: "venv-clients", requirements: "tests/python/requirements-clients.txt" };
/// Older versions of ONNX Runtime, which exported models must run on too.
pub(crate) const ONNX_RUNTIMES: [Environment; 2] = [
    Environment { venv: "venv-onnxruntime-1.20", requirements: "tests/python/onnxruntime-1.20.txt" },
    Environment { venv: "venv-onnxruntime-1.26", requirements: "tests/python/onnxruntime-1.26.txt" },
];
/// What is measured beside ours.
pub(crate) const PEERS: Environment =
    Environment { venv: "bench-venv", requirements: "benches/peers/requirements.txt" };

/// Makes an environment, or makes it anew when the requirements or the interpreter changed.
///
/// # Errors
///
/// When there is no recent Python or the packages cannot be installed.
pub(crate) fn ensure(workspace: &Workspace, environment: &Environment) -> Result<()> {
    let requirements = workspace.root.join(environment.requirements);
    let wanted = fs::read_to_string(&requirements).with_context(|| format!("read {}", requirements.display()))?;
    let venv = workspace.venv(environment.venv);
    let python = interpreter(workspace)?;
    let made_from = format!("{}\n{wanted}", python.version);
    if is_made_from(&venv, &made_from) {
        say(format_args!("{} is up to date", venv.display()));
        return Ok(());
    }
    say(format_args!("making {} from {}", venv.display(), environment.requirements));
    make_venv(workspace, &python, &venv)?;
    // The file pins every package that is needed: nothing is left to be worked out, which takes pip minutes.
    pip_install(workspace, &venv, |pip| {
        pip.args(["--no-deps", "--requirement"]).arg(&requirements);
    })?;
    stamp::finish(&venv, &made_from)
}

/// Whether the environment is complete and was made from `made_from`.
fn is_made_from(venv: &Path, made_from: &str) -> bool {
    venv.join("bin/python").exists() && stamp::is_made_from(venv, made_from)
}

/// A Python that can make environments.
#[derive(Debug)]
pub(crate) struct Interpreter {
    program: PathBuf,
    /// As `3.11.7`.
    version: String,
}

/// Finds `python3` and makes sure that it is recent and has `venv`.
///
/// # Errors
///
/// When there is none, it is too old, or Debian's `python3-venv` cannot be added.
pub(crate) fn interpreter(workspace: &Workspace) -> Result<Interpreter> {
    if workspace.which("python3")?.is_none() {
        debian::install(workspace, "python3").context("python3 is not on PATH: install Python 3.11 or newer")?;
    }
    let program = workspace.which("python3")?.context("python3 is still missing after its installation")?;
    let ask = "import platform; print(platform.python_version())";
    let version = shell::output(workspace.command(&program)?.args(["-c", ask]))?;
    let number = major_minor(&version)
        .with_context(|| format!("no version in the answer `{version}` of {}", program.display()))?;
    if number < VERSION_MIN {
        bail!(
            "{} is Python {version}, the tests need {}.{} or newer: put a newer python3 first on PATH",
            program.display(),
            VERSION_MIN.0,
            VERSION_MIN.1
        );
    }
    let venv_works = |workspace: &Workspace| -> Result<String> {
        shell::output(workspace.command(&program)?.args(["-c", "import venv, ensurepip"]))
    };
    if venv_works(workspace).is_err() {
        debian::install(workspace, "python3-venv").context("python3 lacks its `venv` module: install it")?;
        venv_works(workspace)?;
    }
    Ok(Interpreter { program, version })
}

/// Makes an empty environment, in place of whatever was there.
///
/// # Errors
///
/// Those of `python3 -m venv`.
pub(crate) fn make_venv(workspace: &Workspace, python: &Interpreter, venv: &Path) -> Result<()> {
    shell::run(workspace.command(&python.program)?.args(["-m", "venv", "--clear"]).arg(venv))
}

/// Runs `pip install` inside `venv` with the arguments that `add` gives.
///
/// # Errors
///
/// Those of pip, which retries downloads itself.
pub(crate) fn pip_install(
    workspace: &Workspace,
    venv: &Path,
    add: impl FnOnce(&mut std::process::Command),
) -> Result<()> {
    let mut pip = workspace.command(venv.join("bin/python"))?;
    pip.args(["-m", "pip", "install", "--quiet", "--no-input"]).arg("--disable-pip-version-check");
    add(&mut pip);
    shell::run(&mut pip)
}

/// Major and minor of `3.11.7` or `3.14.0rc1`.
fn major_minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_python_version_is_compared_by_number() {
        assert!(major_minor("3.9.2").is_some_and(|version| version < VERSION_MIN));
        assert!(major_minor("3.14.0rc1").is_some_and(|version| version >= VERSION_MIN));
        assert_eq!(major_minor("Python"), None);
    }

    #[test]
    fn an_environment_counts_only_when_finished_and_from_the_same_requirements() {
        let venv = std::env::temp_dir().join(format!("regrove-xtask-{}", std::process::id()));
        fs::create_dir_all(venv.join("bin")).unwrap();
        fs::write(venv.join("bin/python"), "").unwrap();
        assert!(!is_made_from(&venv, "3.11.7\nmlflow==3"), "no stamp yet");
        stamp::finish(&venv, "3.11.7\nmlflow==3").unwrap();
        assert!(is_made_from(&venv, "3.11.7\nmlflow==3"));
        assert!(!is_made_from(&venv, "3.11.7\nmlflow==4"), "requirements");
        assert!(!is_made_from(&venv, "3.12.0\nmlflow==3"), "interpreter");
        fs::remove_dir_all(&venv).unwrap();
    }
}
