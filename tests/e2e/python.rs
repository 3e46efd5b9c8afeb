//! Python clients that have nothing of ours.

use std::path::Path;

use regrove_test_support::programs::{clients_program, venv_program};
use serde_json::Value;

/// Runs `python/SCRIPT` and returns the JSON object that it prints last.
pub(crate) async fn run(script: &str, arguments: &[&str]) -> Value {
    run_by(&venv_program("python").unwrap(), script, arguments).await
}

/// The same in the environment that has the clients of inference protocols.
pub(crate) async fn run_client(script: &str, arguments: &[&str]) -> Value {
    run_by(&clients_program("python").unwrap(), script, arguments).await
}

async fn run_by(python: &Path, script: &str, arguments: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let output = tokio::process::Command::new(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(script))
        .args(arguments)
        .current_dir(folder.path())
        .env("MLFLOW_DISABLE_TELEMETRY", "true")
        .env("DO_NOT_TRACK", "true")
        .env("GIT_PYTHON_REFRESH", "quiet")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {errors}");
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().rfind(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{script}: {text} {errors}"));
    serde_json::from_str(last).unwrap()
}
