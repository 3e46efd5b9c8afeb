//! Whatever the bytes are: a model that answers the same with every instruction set, or an error. The SHA-256 in the
//! header is not looked at: changed bytes would all end there.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use regrove_forest::{Level, Model};

/// Rows of a batch: more than one lane of any kernel holds.
const ROWS: usize = 19;
/// Features and classes beyond which rows and answers would only cost time.
const WIDTH_MAX: usize = 4096;

fuzz_target!(|bytes: &[u8]| {
    let Ok(model) = Model::from_verified_bytes(Arc::new(bytes.to_vec())) else { return };
    if model.n_features() > WIDTH_MAX || model.n_outputs() > WIDTH_MAX {
        return;
    }
    let rows: Vec<f32> = (0..ROWS * model.n_features()).map(value).collect();
    let answers: Vec<Vec<u64>> = Level::all()
        .into_iter()
        .filter_map(|level| model.with_level(level))
        .map(|model| {
            let mut answers = vec![0.0; ROWS * model.n_outputs()];
            model.predict_proba_rows(&rows, ROWS, &mut answers).expect("the rows fit the model");
            answers.into_iter().map(f64::to_bits).collect()
        })
        .collect();
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "instruction sets disagree");
    // What only explains or merges may be refused, but not panic.
    if let Ok(forest) = model.to_forest() {
        let _ = forest.feature_importances();
        let _ = forest.to_bytes();
    }
});

/// Numbers of all kinds: halves on both sides of zero, and missing ones.
fn value(at: usize) -> f32 {
    if at % 11 == 10 { f32::NAN } else { (at * 7 % 23) as f32 / 2.0 - 4.0 }
}
