//! Fit time and memory from 10⁴ to 10⁷ rows.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use regrove_forest::datasets::Synthetic;
use regrove_forest::{Estimator, RandomForestParams, fit};
use serde::{Deserialize, Serialize};

use crate::clock::timed;
use crate::memory;

/// Features of every data set.
const N_FEATURES: u32 = 20;

/// What is fitted.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Fits {
    /// Trees of the curve's fits.
    #[arg(long = "curve-trees", default_value_t = 4)]
    trees: u32,
    /// Threads of the curve's fits.
    #[arg(long = "curve-threads", default_value_t = 1)]
    threads: usize,
    /// Depth of the curve's trees; without it there is no limit.
    #[arg(long = "curve-depth")]
    depth: Option<u32>,
    /// Fit regressors on `make_regression`, which look at all features in each node.
    #[arg(long = "curve-regression")]
    regression: bool,
}

impl Fits {
    fn params(&self) -> RandomForestParams {
        let estimator =
            if self.regression { Estimator::RandomForestRegressor } else { Estimator::RandomForestClassifier };
        RandomForestParams {
            n_estimators: self.trees,
            max_depth: self.depth,
            random_state: 42,
            ..RandomForestParams::of(estimator)
        }
    }

    fn uri(&self, rows: u32) -> String {
        let rows = format!("n_samples={rows}&n_features={N_FEATURES}&n_informative=10&random_state=42");
        if self.regression {
            format!("make_regression?{rows}")
        } else {
            format!("make_classification?{rows}&n_redundant=10")
        }
    }

    /// As they are given on the command line.
    fn arguments(&self) -> Vec<String> {
        let (trees, threads) = (self.trees.to_string(), self.threads.to_string());
        let mut arguments = vec!["--curve-trees".to_owned(), trees, "--curve-threads".to_owned(), threads];
        arguments.extend(self.depth.iter().flat_map(|depth| ["--curve-depth".to_owned(), depth.to_string()]));
        arguments.extend(self.regression.then(|| "--curve-regression".to_owned()));
        arguments
    }
}

/// One point of the curve.
#[derive(Debug, Serialize, Deserialize)]
struct Point {
    cpu: f64,
    wall: f64,
    peak: u64,
}

/// Prints the curve up to `rows_max` rows. Every point is measured in a process of its own.
pub(crate) fn print(rows_max: u32, fits: &Fits) -> Result<()> {
    let params = fits.params();
    let depth = params.max_depth.map_or_else(|| "no depth limit".to_owned(), |depth| format!("depth {depth}"));
    println!(
        "curve: {} trees of {:?}, {N_FEATURES} features, {depth}, threads: {}",
        params.n_estimators, params.estimator, fits.threads
    );
    println!(
        "  {:>10} {:>12} {:>12} {:>24} {:>24}",
        "rows", "fit, CPU s", "wall s", "ns per tree / (n log2 n)", "peak memory / f32 data"
    );
    let sizes = [10_000, 100_000, 1_000_000, 10_000_000];
    for rows in sizes.into_iter().filter(|rows| *rows <= rows_max) {
        let output = Command::new(std::env::current_exe()?)
            .args(["--point", &rows.to_string()])
            .args(fits.arguments())
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
            point.cpu * 1e9 / (f64::from(params.n_estimators) * n * n.log2()),
            peak / (n * f64::from(N_FEATURES) * 4.0)
        );
    }
    Ok(())
}

/// Measures one point and prints it as JSON.
pub(crate) fn point(rows: u32, fits: &Fits) -> Result<()> {
    let frame = Synthetic::parse(&fits.uri(rows))?.frame()?;
    let params = fits.params();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(fits.threads).build()?;
    // The trees are part of the peak: they are there when the fit ends.
    let ((cpu, wall), peak) = memory::peak(|| timed(|| pool.install(|| fit(&frame, &params))))?;
    println!("{}", serde_json::to_string(&Point { cpu, wall, peak })?);
    Ok(())
}
