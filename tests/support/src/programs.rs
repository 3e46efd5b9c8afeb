//! Where the programs are that tests run: ours, and those of the Python environment.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// Names the folder of our own programs; `<workspace>/target/debug` without it.
pub const BIN_DIR: &str = "REGROVE_TEST_BIN_DIR";
/// Names the Python environment with MLflow; `<workspace>/target/venv` without it.
pub const VENV: &str = "REGROVE_TEST_VENV";
/// Names the Python environment with moto, AWS's linters and kubectl; `<workspace>/target/venv-platform` without it.
pub const PLATFORM_VENV: &str = "REGROVE_TEST_PLATFORM_VENV";
/// Names the Python environment with the clients of Triton and KServe; `<workspace>/target/venv-clients` without it.
pub const CLIENTS_VENV: &str = "REGROVE_TEST_CLIENTS_VENV";

/// Names the folder that azurite was installed into; `<workspace>/target/azurite` without it.
pub const AZURITE: &str = "REGROVE_TEST_AZURITE";

/// One of our programs, such as `regrove` or `predict`, as the build left it.
///
/// # Errors
/// When it is missing: a test that did not run the program has shown nothing.
pub fn binary(name: &str) -> Result<PathBuf> {
    find(BIN_DIR, "target/debug", name, "builds it")
}

/// A program of the Python environment, such as `python` or `mlflow`.
///
/// # Errors
/// When it is missing.
pub fn venv_program(name: &str) -> Result<PathBuf> {
    find(VENV, "target/venv", &format!("bin/{name}"), "creates the Python environment")
}

/// A program of the Python environment for clouds and clusters, such as `moto_server` or `cfn-lint`.
///
/// # Errors
/// When it is missing.
pub fn platform_program(name: &str) -> Result<PathBuf> {
    find(PLATFORM_VENV, "target/venv-platform", &format!("bin/{name}"), "creates the Python environment")
}

/// A program of the Python environment for clients of inference protocols, such as `python`.
///
/// # Errors
/// When it is missing.
pub fn clients_program(name: &str) -> Result<PathBuf> {
    find(CLIENTS_VENV, "target/venv-clients", &format!("bin/{name}"), "creates the Python environment")
}

/// The program of azurite's blob service, for `node` to run.
///
/// # Errors
/// When it is missing.
pub fn azurite_script() -> Result<PathBuf> {
    find(AZURITE, "target/azurite", "node_modules/azurite/dist/src/blob/main.js", "installs azurite")
}

/// The folder of the workspace's `Cargo.toml`.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

fn find(variable: &str, fallback: &str, name: &str, does: &str) -> Result<PathBuf> {
    let folder = std::env::var_os(variable).map_or_else(|| workspace().join(fallback), PathBuf::from);
    let program = folder.join(name);
    if !program.is_file() {
        bail!("{} is missing: `cargo xtask test` {does}; {variable} names another folder", program.display());
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_what_brings_it() {
        for error in [binary("no-such-program").unwrap_err(), venv_program("no-such-program").unwrap_err()] {
            let message = error.to_string();
            assert!(message.contains("no-such-program is missing: `cargo xtask test`"), "{message}");
        }
    }
}
