//! Whatever the bytes are: a model whose native file can be read again and answers, or an error.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use regrove_forest::Model;
use regrove_forest::onnx::{Limits, import};

/// Rows that are answered.
const ROWS: usize = 3;

fuzz_target!(|bytes: &[u8]| {
    // Small bounds: a bound that is not kept shows itself as memory or time.
    let limits = Limits {
        bytes_max: 1 << 20,
        operators_max: 100,
        features_max: 1000,
        outputs_max: 100,
        trees_max: 1000,
        nodes_max: 10_000,
        depth_max: 1000,
        leaf_numbers_max: 100_000,
    };
    let Ok(model) = import(bytes, &limits) else { return };
    assert!(model.n_features() <= limits.features_max && model.n_outputs() <= limits.outputs_max);
    assert!(model.n_trees() <= limits.trees_max);
    let again = Model::from_bytes(Arc::new(model.as_bytes().to_vec())).expect("an imported model is a sound file");
    let rows: Vec<f32> = (0..ROWS * model.n_features()).map(|at| (at % 7) as f32 - 3.0).collect();
    let answer = |model: &Model| {
        let mut answers = vec![0.0; ROWS * model.n_outputs()];
        model.predict_proba_rows(&rows, ROWS, &mut answers).expect("the rows fit the model");
        answers.into_iter().map(f64::to_bits).collect::<Vec<_>>()
    };
    assert_eq!(answer(&model), answer(&again));
});
