//! What has to be true of everything that is imported from ONNX. The fuzz target and the test that reads its kept corpus share it.

use std::sync::Arc;

use regrove_forest::Model;
use regrove_forest::onnx::{Limits, export_model, import};

/// Rows that are answered.
const ROWS: usize = 5;
/// Small bounds: a bound that is not kept shows itself as memory or time.
const LIMITS: Limits = Limits {
    bytes_max: 1 << 20,
    operators_max: 100,
    features_max: 1000,
    outputs_max: 100,
    trees_max: 1000,
    nodes_max: 10_000,
    depth_max: 1000,
    expansion_max: 1000,
    steps_max: 1_000_000,
    leaf_numbers_max: 100_000,
    leaf_work_max: 1_000_000,
    numbers_max: 10_000,
};

/// Imports the bytes, and tells whether they are a model: within the bounds, with a native file that answers the same, and with a graph of
/// ours that is imported again.
///
/// # Panics
/// When a model breaks a promise.
pub(crate) fn is_sound(bytes: &[u8]) -> bool {
    let Ok(model) = import(bytes, &LIMITS) else { return false };
    assert!(model.n_features() <= LIMITS.features_max && model.n_outputs() <= LIMITS.outputs_max);
    assert!(model.n_trees() <= LIMITS.trees_max && model.n_nodes() <= LIMITS.nodes_max);
    let again = Model::from_bytes(Arc::new(model.as_bytes().to_vec())).expect("an imported model is a sound file");
    assert_eq!(answers(&model), answers(&again), "the native file");
    assert_eq!(labels(&model), labels(&again), "the native file");
    if let Ok(graph) = export_model(&model) {
        exported(&model, &graph);
    }
    true
}

/// Whatever float32 does to the numbers of a graph, it does it once.
fn exported(model: &Model, graph: &[u8]) {
    let once = import(graph, &Limits::default()).expect("an exported graph is imported");
    assert_eq!((once.feature_names(), once.n_trees()), (model.feature_names(), model.n_trees()), "the exported graph");
    let graph = export_model(&once).expect("what was exported once can be again");
    let twice = import(&graph, &Limits::default()).expect("an exported graph is imported");
    assert_eq!(answers(&once), answers(&twice), "the graph exported again");
}

fn rows(model: &Model) -> Vec<f32> {
    (0..ROWS * model.n_features()).map(|at| if at % 6 == 5 { f32::NAN } else { (at % 7) as f32 - 3.0 }).collect()
}

fn answers(model: &Model) -> Vec<u64> {
    let mut answers = vec![0.0; ROWS * model.n_outputs()];
    model.predict_proba_rows(&rows(model), ROWS, &mut answers).expect("the rows fit the model");
    answers.into_iter().map(f64::to_bits).collect()
}

/// The labels' texts; none for a regressor.
fn labels(model: &Model) -> Option<Vec<String>> {
    let labels = model.predict_rows(&rows(model), ROWS);
    assert_eq!(labels.is_err(), model.is_regressor());
    labels.ok().map(|labels| labels.iter().map(ToString::to_string).collect())
}
