//! Finds the functions' programs, and builds them when `regrove` itself was run by cargo from its sources.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use tokio::process::Command;

use crate::output::Output;

/// The functions: each image of this name is a program of this name.
pub(crate) const FUNCTIONS: [&str; 6] = ["aggregate", "train-shard", "register", "load-model", "predict", "console"];

/// The directories in which a Service's image is looked up as a program.
///
/// `cargo run` builds this program only. So when cargo runs it, the functions are built beside it, in the same profile.
pub(crate) async fn directories(output: &Output) -> anyhow::Result<Vec<PathBuf>> {
    let beside = std::env::current_exe()?.parent().context("this program lies in no directory")?.to_owned();
    if let Some(cargo) = std::env::var_os("CARGO") {
        build(&cargo, &beside, output).await?;
    }
    let missing: Vec<&str> = FUNCTIONS.into_iter().filter(|name| !beside.join(name).is_file()).collect();
    if !missing.is_empty() {
        bail!(
            "{} not found in {}: build them with `cargo build --release --workspace --bins`",
            missing.join(", "),
            beside.display()
        );
    }
    Ok(vec![beside])
}

/// How the user runs this program.
pub(crate) fn invocation() -> &'static str {
    if std::env::var_os("CARGO").is_some() { "cargo run --release --" } else { "regrove" }
}

async fn build(cargo: &std::ffi::OsStr, beside: &std::path::Path, output: &Output) -> anyhow::Result<()> {
    let profile = beside.file_name().and_then(|name| name.to_str()).unwrap_or("release");
    let profile = if profile == "debug" { "dev" } else { profile };
    let fresh = FUNCTIONS.iter().all(|name| beside.join(name).is_file());
    if !fresh {
        output.progress("building the functions …");
    }
    let mut command = Command::new(cargo);
    // The workspace's default members: what `cargo run` chose from too, so that both share every dependency.
    command.args(["build", "--profile", profile, "--locked", "--bins"]);
    if fresh {
        command.arg("--quiet");
    }
    let manifest = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    command.arg("--manifest-path").arg(manifest).kill_on_drop(true);
    // Cargo writes its own progress to standard error; standard output stays clean for --json.
    let status = command.stdin(std::process::Stdio::null()).status().await.context("cannot run cargo")?;
    if !status.success() {
        bail!("building the functions failed ({status})");
    }
    Ok(())
}
