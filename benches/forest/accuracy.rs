//! Accuracy on held-out rows: exact cuts beside those between the bins of a histogram.

use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result};
use regrove_forest::datasets::Synthetic;
use regrove_forest::model_selection::train_test_split_stratified;
use regrove_forest::params::Splitter;
use regrove_forest::{Frame, FrameLimits, RandomForestParams, fit, metrics};

use crate::clock::{median, timed};
use crate::workload::Workload;

/// Real data sets, in the forest's test data.
const REAL: [&str; 4] = ["breast_cancer", "wine", "digits", "iris"];
/// Bins per feature.
const BINS: [u32; 3] = [255, 63, 15];

/// Prints the table: mean and standard deviation over `repeats` splits, and median CPU seconds of a fit.
pub(crate) fn print(repeats: usize) -> Result<()> {
    println!("accuracy on 20 % of the rows, mean ± standard deviation of {repeats} splits (fit, CPU s, one thread)");
    print!("  {:14} {:>9} {:>26}", "data", "rows", "exact cuts");
    println!("{}", BINS.map(|bins| format!(" {:>26}", format!("hist, {bins} bins"))).concat());
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    for (name, frame, params) in data()? {
        let exact = [RandomForestParams { splitter: Splitter::Best, ..params.clone() }];
        let hist = BINS.map(|max_bins| RandomForestParams { splitter: Splitter::Hist, max_bins, ..params.clone() });
        print!("  {name:14} {:>9}", frame.n_samples());
        for params in exact.iter().chain(&hist) {
            let cell = one.install(|| cell(&frame, params, repeats))?;
            print!(" {cell:>26}");
        }
        println!();
    }
    Ok(())
}

fn data() -> Result<Vec<(String, Frame, RandomForestParams)>> {
    let mut data = Vec::new();
    for workload in [Workload::A, Workload::B] {
        data.push((format!("{workload:?}"), Synthetic::parse(&workload.uri())?.frame()?, workload.params()));
    }
    for name in REAL {
        let path = format!("{}/../forest/testdata/sklearn/{name}.csv", env!("CARGO_MANIFEST_DIR"));
        let file = File::open(Path::new(&path)).with_context(|| path.clone())?;
        let frame = Frame::from_csv(file, "target", &FrameLimits::default())?;
        data.push((name.to_owned(), frame, RandomForestParams::default()));
    }
    Ok(data)
}

/// One forest's cell of the table. Each split has a seed of its own, which is the forest's too.
#[expect(clippy::cast_precision_loss, reason = "a number of splits")]
fn cell(frame: &Frame, params: &RandomForestParams, repeats: usize) -> Result<String> {
    let (mut accuracies, mut seconds) = (Vec::new(), Vec::new());
    for random_state in (0..).take(repeats) {
        let (train, test) = train_test_split_stratified(frame, 0.2, random_state)?;
        let params = RandomForestParams { random_state, ..params.clone() };
        let mut forest = None;
        let (cpu, _) = timed(|| forest = Some(fit(&train, &params)));
        let forest = forest.context("a fit")??;
        let proba = forest.predict_proba(&test.rows())?;
        accuracies.push(metrics::classification(test.class_indexes(), &proba, test.classes().len())?.accuracy);
        seconds.push(cpu);
    }
    let mean = accuracies.iter().sum::<f64>() / repeats as f64;
    let spread = accuracies.iter().map(|accuracy| (accuracy - mean).powi(2)).sum::<f64>() / repeats as f64;
    Ok(format!("{mean:.4} ± {:.4} ({:.3})", spread.sqrt(), median(seconds)))
}
