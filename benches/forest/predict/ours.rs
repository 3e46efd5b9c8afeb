//! Our side: one model at every level of instructions.

use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use regrove_forest::model_file::{ModelBytes, map};
use regrove_forest::{Forest, Frame, Level, Model};

use crate::clock::cpu_time;

/// A measurement takes at least so much CPU time.
const MEASURED: Duration = Duration::from_millis(50);
/// Loads of the file per measurement.
const LOADS: u32 = 20;

pub(crate) struct Ours {
    /// Widest level first.
    pub(crate) models: Vec<(String, Model)>,
    /// Row-major float32.
    pub(crate) rows: Vec<f32>,
    pub(crate) n_features: usize,
    /// The serving file, mapped.
    mapped: ModelBytes,
}

/// Microseconds of CPU time to load the serving file from a map: the index checks alone, and with the SHA-256.
pub(crate) struct Loads {
    pub(crate) checked: f64,
    pub(crate) hashed: f64,
}

impl Ours {
    /// `n_rows` rows are predicted: the frame's, again and again in another order where it has fewer.
    pub(crate) fn new(forest: &Forest, frame: &Frame, n_rows: usize) -> Result<Self> {
        let mut file = tempfile::tempfile()?;
        file.write_all(&forest.to_serving_bytes()?)?;
        let mapped = map_file(&file)?;
        let model = Model::from_bytes(mapped.clone())?;
        let levels = Level::all().into_iter().rev();
        let at = |level: Level| Some((format!("Regrove, {level}"), model.with_level(level)?));
        let n_features = frame.n_features();
        let known = frame.rows();
        let n_known = known.len() / n_features;
        // A prime number of rows apart, so that no order repeats.
        let row = |at: usize| if n_rows <= n_known { at } else { at * 7_919 % n_known };
        let rows = (0..n_rows).flat_map(|at| &known[row(at) * n_features..][..n_features]).copied().collect();
        Ok(Self { models: levels.filter_map(at).collect(), rows, n_features, mapped })
    }

    pub(crate) fn file_len(&self) -> usize {
        (*self.mapped).as_ref().len()
    }

    /// Probabilities of all rows.
    pub(crate) fn proba(&self, model: &Model) -> Result<Vec<f64>> {
        let n_rows = self.rows.len() / self.n_features;
        let mut out = vec![0.0; n_rows * model.n_outputs()];
        model.predict_proba_rows(&self.rows, n_rows, &mut out)?;
        Ok(out)
    }

    /// Microseconds of CPU time per row, in calls of so many rows.
    #[expect(clippy::cast_precision_loss, reason = "a number of rows")]
    pub(crate) fn measure(&self, model: &Model, rows_per_call: usize) -> f64 {
        let mut out = vec![0.0; rows_per_call * model.n_outputs()];
        let (start, mut n_rows) = (cpu_time(), 0);
        loop {
            for rows in self.rows.chunks_exact(rows_per_call * self.n_features).take((1000 / rows_per_call).max(1)) {
                // The shapes fit, and errors would show where answers are compared.
                let _ = model.predict_proba_rows(black_box(rows), rows_per_call, &mut out);
                black_box(&mut out);
                n_rows += rows_per_call;
            }
            let spent = cpu_time().saturating_sub(start);
            if spent >= MEASURED {
                return spent.as_secs_f64() * 1e6 / n_rows as f64;
            }
        }
    }

    pub(crate) fn load(&self) -> Result<Loads> {
        let micros = |load: &dyn Fn() -> Result<Model, regrove_forest::Error>| -> Result<f64> {
            let start = cpu_time();
            for _ in 0..LOADS {
                drop(black_box(load()?));
            }
            Ok((cpu_time().saturating_sub(start) / LOADS).as_secs_f64() * 1e6)
        };
        let checked = micros(&|| Model::from_verified_bytes(Arc::clone(&self.mapped)))?;
        Ok(Loads { checked, hashed: micros(&|| Model::from_bytes(Arc::clone(&self.mapped)))? })
    }
}

fn map_file(file: &File) -> Result<ModelBytes> {
    map(file).context("map the model file")
}
