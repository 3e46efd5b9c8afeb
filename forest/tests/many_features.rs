//! Models of more features than blocks can name: their files' nodes are walked themselves.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests: a failure is the answer")]
#![expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "small whole numbers")]

use std::sync::Arc;

use regrove_forest::onnx::{Limits, export_model, import};
use regrove_forest::params::{FeatureRoot, MaxFeatures};
use regrove_forest::{Estimator, Forest, Frame, Label, Level, Model, RandomForestParams, Target, fit};

#[path = "../fuzz/checks/model_file.rs"]
mod model_file;

/// Features that a block can name.
const BLOCK_FEATURES: usize = 1 << 15;
/// More than walk side by side.
const N_ROWS: u32 = 11;

/// Small whole numbers without an order, some of them missing.
fn number(at: usize) -> f32 {
    let mixed = (at as u32).wrapping_mul(2_654_435_761) >> 16;
    if mixed.is_multiple_of(13) { f32::NAN } else { (mixed % 101) as f32 }
}

fn frame(n_features: usize, estimator: Estimator) -> Frame {
    let names = (0..n_features).map(|at| format!("f{at}")).collect();
    let columns = (0..n_features * N_ROWS as usize).map(number).collect();
    let target = if estimator.is_regressor() {
        Target::Values((0..N_ROWS).map(|row| f64::from(row * row) / 4.0).collect())
    } else {
        Target::from_labels(&(0..N_ROWS).map(|row| Label::Int(i64::from(row % 3))).collect::<Vec<_>>())
    };
    Frame::new(names, columns, "y", target).unwrap()
}

fn numbers_of(model: &Model, rows: &[f32]) -> Vec<f64> {
    let n_rows = rows.len() / model.n_features();
    let mut numbers = vec![0.0; n_rows * model.n_outputs()];
    model.predict_proba_rows(rows, n_rows, &mut numbers).unwrap();
    numbers
}

/// The forest's own answers, and those of its files and of its graph.
fn check(forest: &Forest, rows: &[f32]) {
    let expected = if forest.params().estimator.is_regressor() {
        forest.predict_values(rows).unwrap()
    } else {
        forest.predict_proba(rows).unwrap()
    };
    let case = format!("{} features, {} trees", forest.n_features(), forest.trees().len());
    let files = [forest.to_bytes().unwrap(), forest.to_serving_bytes().unwrap()];
    for file in files {
        let model = Model::from_bytes(Arc::new(file)).unwrap();
        for level in Level::all() {
            assert_eq!(numbers_of(&model.with_level(level).unwrap(), rows), expected, "{case}, {level}");
        }
        if !model.has_statistics() {
            continue;
        }
        assert_eq!(model.to_forest().unwrap().trees(), forest.trees(), "{case}");
        let graph = import(&export_model(&model).unwrap(), &Limits::default()).unwrap();
        for (got, expected) in numbers_of(&graph, rows).iter().zip(&expected) {
            assert!((got - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{case}, imported: {got}, {expected}");
        }
    }
}

#[test]
fn answers_are_the_forests_on_both_sides_of_what_blocks_can_name() {
    for n_features in [BLOCK_FEATURES, BLOCK_FEATURES + 1, 40_000] {
        for estimator in [Estimator::RandomForestClassifier, Estimator::RandomForestRegressor] {
            let frame = frame(n_features, estimator);
            let rows = frame.rows();
            for n_estimators in [1, 2, 3] {
                let max_features = MaxFeatures::Root(FeatureRoot::Sqrt);
                let params = RandomForestParams { n_estimators, max_features, ..RandomForestParams::of(estimator) };
                let forest = fit(&frame, &params).unwrap();
                assert!(forest.trees().iter().any(|tree| tree.node_count() > 1));
                check(&forest, &rows[..n_features]);
                check(&forest, &rows);
            }
        }
    }
}

/// What the fuzz target demands of every model file, of one that is too long to be kept among its seeds.
#[test]
fn a_file_of_more_features_than_blocks_can_name_keeps_every_promise() {
    let params = RandomForestParams { n_estimators: 2, ..RandomForestParams::default() };
    let forest = fit(&frame(BLOCK_FEATURES + 1, params.estimator), &params).unwrap();
    assert!(model_file::is_sound(&forest.to_bytes().unwrap()));
}
