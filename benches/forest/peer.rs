//! scikit-learn's side, measured by `scikit_learn.py`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::Times;
use crate::workload::Workload;

const SCRIPT: &str = include_str!("scikit_learn.py");

pub(crate) fn measure(python: &Path, workload: Workload, repeats: usize, trees: u32) -> Result<Times> {
    let params = workload.params();
    let trees = trees.min(params.n_estimators);
    let request = serde_json::json!({
        "n_samples": workload.n_rows(), "params": params, "trees": trees, "repeats": repeats,
    });
    // One thread, as for us.
    let output = Command::new(python)
        .args(["-c", SCRIPT, &request.to_string()])
        .envs(["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"].map(|name| (name, "1")))
        .output()
        .with_context(|| format!("cannot run {}", python.display()))?;
    ensure!(output.status.success(), "scikit-learn's side failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}
