//! Fit time and memory from 10⁴ to 10⁷ rows.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use regrove_forest::datasets::Synthetic;
use regrove_forest::{RandomForestParams, fit};
use serde::{Deserialize, Serialize};

use crate::clock::timed;
use crate::memory;

/// Features of every data set.
const N_FEATURES: u32 = 20;

/// One point of the curve.
#[derive(Debug, Serialize, Deserialize)]
struct Point {
    cpu: f64,
    wall: f64,
    peak: u64,
}

/// Prints the curve up to `rows_max` rows. Every point is measured in a process of its own.
pub(crate) fn print(rows_max: u32, n_estimators: u32, threads: usize) -> Result<()> {
    println!("curve: {n_estimators} trees, {N_FEATURES} features, sqrt, no depth limit, threads: {threads}");
    println!(
        "  {:>10} {:>12} {:>12} {:>24} {:>24}",
        "rows", "fit, CPU s", "wall s", "ns per tree / (n log2 n)", "peak memory / f32 data"
    );
    let sizes = [10_000, 100_000, 1_000_000, 10_000_000];
    for rows in sizes.into_iter().filter(|rows| *rows <= rows_max) {
        let output = Command::new(std::env::current_exe()?)
            .args(["--point", &rows.to_string()])
            .args(["--curve-trees", &n_estimators.to_string(), "--curve-threads", &threads.to_string()])
            .output()?;
        ensure!(output.status.success(), "{rows} rows: {}", String::from_utf8_lossy(&output.stderr));
        let point: Point = serde_json::from_slice(&output.stdout).context("a point of the curve")?;
        #[expect(clippy::cast_precision_loss, reason = "bytes below 2^53")]
        let peak = point.peak as f64;
        let n = f64::from(rows);
        println!(
            "  {rows:>10} {:>12.3} {:>12.3} {:>24.2} {:>24.2}",
            point.cpu,
            point.wall,
            point.cpu * 1e9 / (f64::from(n_estimators) * n * n.log2()),
            peak / (n * f64::from(N_FEATURES) * 4.0)
        );
    }
    Ok(())
}

/// Measures one point and prints it as JSON.
pub(crate) fn point(rows: u32, n_estimators: u32, threads: usize) -> Result<()> {
    let uri = format!(
        "make_classification?n_samples={rows}&n_features={N_FEATURES}&n_informative=10&n_redundant=10&random_state=42"
    );
    let frame = Synthetic::parse(&uri)?.frame()?;
    let params = RandomForestParams { n_estimators, random_state: 42, ..RandomForestParams::default() };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    // The trees are part of the peak: they are there when the fit ends.
    let ((cpu, wall), peak) = memory::peak(|| timed(|| pool.install(|| fit(&frame, &params))))?;
    println!("{}", serde_json::to_string(&Point { cpu, wall, peak })?);
    Ok(())
}
