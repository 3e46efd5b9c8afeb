//! Models for the tests of this crate.

use std::sync::Arc;

use regrove_forest::{Frame, Model, RandomForestParams, Target, fit};

/// A small classifier of `n_features` columns `c0`, `c1`, …
pub(crate) fn model(n_features: usize) -> Model {
    let n_rows = 40_u32;
    let value = |row: u32, column: usize| f64::from(row.wrapping_mul(2_654_435_761) >> (column % 16)) / 1e6;
    let names = (0..n_features).map(|column| format!("c{column}")).collect();
    #[expect(clippy::cast_possible_truncation, reason = "made-up data")]
    let columns = (0..n_features).flat_map(|column| (0..n_rows).map(move |row| value(row, column) as f32)).collect();
    let indexes = (0..n_rows).map(|row| row % 2).collect();
    let classes = vec![regrove_forest::Label::Int(0), regrove_forest::Label::Int(1)];
    let frame = Frame::new(names, columns, "target", Target::Classes { classes, indexes }).unwrap();
    let params = RandomForestParams { n_estimators: 5, random_state: 1, ..RandomForestParams::default() };
    let forest = fit(&frame, &params).unwrap();
    Model::from_bytes(Arc::new(forest.to_bytes().unwrap())).unwrap()
}
