//! What has to be true of everything that is read as a native model file. The fuzz target and the test that reads its kept corpus
//! share it.

use std::sync::Arc;

use regrove_forest::onnx::{Limits, export_model, import};
use regrove_forest::{Level, Model};

/// Rows of a batch: more than one lane of any kernel holds.
const ROWS: usize = 19;
/// Features and classes beyond which rows and answers would only cost time. Blocks end at half of these features.
const WIDTH_MAX: usize = 1 << 16;

/// Reads the bytes without a look at the SHA-256 in their header, and tells whether they are a model: it answers the same with every
/// instruction set, and what is written of it is read.
///
/// # Panics
/// When a model breaks a promise.
pub(crate) fn is_sound(bytes: &[u8]) -> bool {
    let Ok(model) = Model::from_verified_bytes(Arc::new(bytes.to_vec())) else { return false };
    if model.n_features() > WIDTH_MAX || model.n_outputs() > WIDTH_MAX {
        return true;
    }
    let rows: Vec<f32> = (0..ROWS * model.n_features()).map(value).collect();
    let levels = Level::all().into_iter().filter_map(|level| model.with_level(level));
    let answers: Vec<Vec<u64>> = levels.map(|model| answers(&model, &rows)).collect();
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "instruction sets disagree");
    assert_eq!(model.predict_rows(&rows, ROWS).is_err(), model.is_regressor(), "labels");
    written_again(&model, &rows);
    true
}

/// What explains, merges or exports a model may refuse it; what it writes is read.
fn written_again(model: &Model, rows: &[f32]) {
    if let Ok(forest) = model.to_forest() {
        let _ = forest.feature_importances();
        // Of a changed file the parts may contradict each other: what is written of its statistics answers by them alone.
        let (Ok(whole), Ok(serving)) = (forest.to_bytes(), forest.to_serving_bytes()) else { return };
        let [read, serving] =
            [&whole, &serving].map(|bytes| Model::from_bytes(Arc::new(bytes.clone())).expect("it is read"));
        assert_eq!(answers(&read, rows), answers(&serving, rows), "whole and serving file");
        let again = read.to_forest().expect("it has its statistics").to_bytes().expect("it was written before");
        assert_eq!(again, whole, "the file written again");
    }
    if let Ok(graph) = export_model(model) {
        let again = import(&graph, &Limits::default()).expect("an exported graph is imported");
        assert_eq!((again.n_features(), again.n_outputs()), (model.n_features(), model.n_outputs()), "exported");
    }
}

fn answers(model: &Model, rows: &[f32]) -> Vec<u64> {
    let mut answers = vec![0.0; ROWS * model.n_outputs()];
    model.predict_proba_rows(rows, ROWS, &mut answers).expect("the rows fit the model");
    answers.into_iter().map(f64::to_bits).collect()
}

/// Numbers of all kinds: halves on both sides of zero, and missing ones.
fn value(at: usize) -> f32 {
    if at % 11 == 10 { f32::NAN } else { (at * 7 % 23) as f32 / 2.0 - 4.0 }
}
