//! Our side.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use regrove_forest::datasets::Synthetic;
use regrove_forest::model_selection::train_test_split_stratified;
use regrove_forest::{Frame, Model, fit};
use rustix::time::{ClockId, clock_gettime};

use crate::workload::Workload;
use crate::{Times, memory};

/// Rows predicted at most.
const MAX_ROWS: usize = 100_000;
/// One-row predictions per repetition.
const SINGLES: usize = 2_000;

pub(crate) struct Ours {
    pub(crate) times: Times,
    pub(crate) n_train: usize,
    pub(crate) fit_wall_one: f64,
    pub(crate) fit_wall_two: f64,
    pub(crate) file_len: usize,
    /// Most memory of the process during a fit on one thread, in parts of the float32 data that is fitted.
    pub(crate) peak: f64,
    pub(crate) load_micros: f64,
    pub(crate) load_verified_micros: f64,
}

pub(crate) fn measure(workload: Workload, repeats: usize) -> Result<Ours> {
    let frame = Synthetic::parse(&workload.uri())?.frame()?;
    let (train, _) = train_test_split_stratified(&frame, 0.2, 0)?;
    let params = workload.params();
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let two = rayon::ThreadPoolBuilder::new().num_threads(2).build()?;
    // The rows to predict are made later, so that only the data that is fitted is in memory now.
    drop(frame);
    let (forest, peak) = memory::peak(|| one.install(|| fit(&train, &params)))?;
    let forest = forest?;
    let fits = (0..repeats).map(|_| one.install(|| timed(|| fit(&train, &params))));
    let (fit_cpu, fit_wall_one) = medians(fits.collect());
    let fits = (0..repeats).map(|_| timed(|| two.install(|| fit(&train, &params))));
    let (_, fit_wall_two) = medians(fits.collect());
    let file = Arc::new(forest.to_serving_bytes()?);
    let loads = (0..repeats).map(|_| timed(|| Model::from_bytes(file.clone()))).collect();
    let verified_loads = (0..repeats).map(|_| timed(|| Model::from_verified_bytes(file.clone()))).collect();
    let model = Model::from_bytes(file.clone())?;
    let rows = predicted(&Synthetic::parse(&workload.uri())?.frame()?);
    let times = Times {
        fit: fit_cpu,
        one_row: predict(&model, &rows[..SINGLES.min(rows.len() / 20) * 20], 1, repeats),
        thousand_rows: predict(&model, &rows[..20_000], 1_000, repeats),
        all_rows: predict(&model, &rows, rows.len() / 20, repeats),
    };
    Ok(Ours {
        times,
        n_train: train.n_samples(),
        fit_wall_one,
        fit_wall_two,
        peak: parts(peak, train.columns().len() * 4),
        file_len: file.len(),
        load_micros: medians(loads).0 * 1e6,
        load_verified_micros: medians(verified_loads).0 * 1e6,
    })
}

#[expect(clippy::cast_precision_loss, reason = "bytes below 2^53")]
fn parts(bytes: u64, of: usize) -> f64 {
    bytes as f64 / of as f64
}

/// Row-major rows to predict.
fn predicted(frame: &Frame) -> Vec<f32> {
    let mut rows = frame.rows();
    rows.truncate(MAX_ROWS * frame.n_features());
    rows
}

/// Microseconds of CPU time per row, in calls of so many rows.
fn predict(model: &Model, rows: &[f32], rows_per_call: usize, repeats: usize) -> f64 {
    let mut out = vec![0.0; rows_per_call * model.n_outputs()];
    let width = model.n_features();
    // Small batches are repeated so that one measurement is long enough for the clock.
    let rounds = (SINGLES * width).div_ceil(rows.len()).max(1);
    let mut call = || {
        for _ in 0..rounds {
            for rows in rows.chunks_exact(rows_per_call * width) {
                let _ = model.predict_proba_rows(rows, rows_per_call, &mut out);
            }
        }
    };
    call();
    let (cpu, _) = medians((0..repeats).map(|_| timed(&mut call)).collect());
    #[expect(clippy::cast_precision_loss, reason = "a number of rows")]
    let n_rows = (rows.len() / width * rounds) as f64;
    cpu * 1e6 / n_rows
}

/// CPU seconds of the process and wall seconds. The result is dropped outside the measurement.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (f64, f64) {
    let (cpu, wall) = (cpu_seconds(), Instant::now());
    let result = work();
    let times = (cpu_seconds() - cpu, wall.elapsed().as_secs_f64());
    drop(result);
    times
}

#[expect(clippy::cast_precision_loss, reason = "nanoseconds below 2^53")]
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn medians(times: Vec<(f64, f64)>) -> (f64, f64) {
    let (cpu, wall): (Vec<f64>, Vec<f64>) = times.into_iter().unzip();
    (median(cpu), median(wall))
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}
