//! Forests of random parameters on random data against scikit-learn's (`testdata/make_cases.py`).

#![expect(clippy::unwrap_used, reason = "tests: a failure is the answer")]

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use regrove_forest::model_selection::{stratified_folds, stratified_split};
use regrove_forest::random::RandomState;
use regrove_forest::{Forest, Frame, Label, Model, RandomForestParams, Target, fit, metrics};
use serde::Deserialize;
use sha2::{Digest, Sha256};

#[derive(Deserialize)]
struct Case {
    seed: u32,
    n_samples: usize,
    n_features: usize,
    n_classes: usize,
    decimals: Option<i32>,
    missing: f64,
    estimator: String,
    params: serde_json::Map<String, serde_json::Value>,
    trees: Vec<Hashes>,
    output_sha256: String,
    feature_importances: Vec<f64>,
    oob_score: Option<f64>,
    measures: serde_json::Value,
    split: Option<(Vec<usize>, Vec<usize>)>,
    #[serde(default)]
    folds: Vec<Vec<u32>>,
}

#[derive(Deserialize)]
struct Hashes {
    node_count: usize,
    feature_sha256: String,
    threshold_sha256: String,
    children_left_sha256: String,
    value_sha256: String,
}

fn sha256(bytes: impl Iterator<Item = u8>) -> String {
    Sha256::digest(bytes.collect::<Vec<u8>>()).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn sha256_f64(numbers: &[f64]) -> String {
    sha256(numbers.iter().flat_map(|number| number.to_le_bytes()))
}

fn sha256_i64(numbers: &[i32]) -> String {
    sha256(numbers.iter().flat_map(|number| i64::from(*number).to_le_bytes()))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "small numbers; float32 is what is trained on"
)]
fn data(case: &Case) -> Frame {
    let (n, width) = (case.n_samples, case.n_features);
    let mut stream = RandomState::new(case.seed);
    let mut x: Vec<f64> = (0..n * width).map(|_| stream.standard_normal()).collect();
    if let Some(decimals) = case.decimals {
        let scale = 10_f64.powi(decimals);
        for value in &mut x {
            *value = (*value * scale).round_ties_even() / scale;
        }
    }
    let y: Vec<f64> = x.chunks_exact(width).map(|row| 2.0 * row[0] - row[width - 1] + stream.random_sample()).collect();
    for value in &mut x {
        if stream.random_sample() < case.missing {
            *value = f64::NAN;
        }
    }
    let columns = (0..width).flat_map(|feature| x.iter().skip(feature).step_by(width)).map(|value| *value as f32);
    let target = if case.n_classes == 0 {
        Target::Values(y)
    } else {
        let last = case.n_classes as f64 - 1.0;
        let class = |y: &f64| Label::Int((y + case.n_classes as f64 / 2.0).floor().clamp(0.0, last) as i64);
        Target::from_labels(&y.iter().map(class).collect::<Vec<_>>())
    };
    Frame::new((0..width).map(|feature| format!("x{feature}")).collect(), columns.collect(), "y", target).unwrap()
}

fn check_measures(expected: &serde_json::Value, got: &serde_json::Value, seed: u32) {
    for (name, expected) in expected.as_object().unwrap() {
        match expected.as_f64() {
            Some(number) => {
                let difference = (number - got[name].as_f64().unwrap()).abs();
                assert!(
                    difference <= 1e-12 * number.abs().max(1.0),
                    "{name} of case {seed}: {} for {number}",
                    got[name]
                );
            }
            None => assert_eq!(expected, &got[name], "{name} of case {seed}"),
        }
    }
}

fn check(case: &Case) {
    let seed = case.seed;
    let frame = data(case);
    let mut params = case.params.clone();
    params.insert("estimator".to_owned(), case.estimator.clone().into());
    let params: RandomForestParams = serde_json::from_value(params.into()).unwrap();
    let forest: Forest = fit(&frame, &params).unwrap();
    for (at, (tree, expected)) in forest.trees().iter().zip(&case.trees).enumerate() {
        assert_eq!(tree.node_count(), expected.node_count, "nodes of tree {at} of case {seed}");
        assert_eq!(sha256_i64(&tree.feature), expected.feature_sha256, "features of tree {at} of case {seed}");
        assert_eq!(sha256_f64(&tree.threshold), expected.threshold_sha256, "thresholds of tree {at} of case {seed}");
        assert_eq!(
            sha256_i64(&tree.children_left),
            expected.children_left_sha256,
            "children of tree {at} of case {seed}"
        );
        assert_eq!(sha256_f64(&tree.value), expected.value_sha256, "values of tree {at} of case {seed}");
    }
    let rows = frame.rows();
    let model = Model::from_bytes(Arc::new(forest.to_serving_bytes().unwrap())).unwrap();
    let mut output = vec![0.0; case.n_samples * forest.n_outputs()];
    model.predict_proba_rows(&rows, case.n_samples, &mut output).unwrap();
    assert_eq!(sha256_f64(&output), case.output_sha256, "outputs of case {seed}");
    let own = if case.n_classes == 0 { forest.predict_values(&rows) } else { forest.predict_proba(&rows) };
    assert_eq!(own.unwrap(), output, "outputs of forest and file of case {seed}");
    assert_eq!(forest.feature_importances(), case.feature_importances, "importances of case {seed}");
    if let Some(score) = case.oob_score {
        assert!((forest.oob(&frame).unwrap().score - score).abs() <= 1e-12, "out-of-bag score of case {seed}");
    }
    let measures = match frame.target() {
        Target::Values(values) => serde_json::to_value(metrics::regression(values, &output).unwrap()),
        Target::Classes { indexes, classes } => {
            serde_json::to_value(metrics::classification(indexes, &output, classes.len()).unwrap())
        }
    };
    check_measures(&case.measures, &measures.unwrap(), seed);
    if let Some((train, test)) = &case.split {
        let split = stratified_split(frame.class_indexes(), case.n_classes, 0.25, seed).unwrap();
        assert_eq!((&split.train, &split.test), (train, test), "split of case {seed}");
    }
    for (expected, random_state) in case.folds.iter().zip([None, Some(seed)]) {
        let folds = stratified_folds(frame.class_indexes(), 3, random_state).unwrap();
        assert_eq!(&folds, expected, "folds of case {seed}");
    }
}

#[test]
fn splits_that_cannot_be_are_refused() {
    let message = |result: Result<_, regrove_forest::Error>| result.unwrap_err().to_string();
    let split = |classes: &[u32], size| message(stratified_split(classes, 2, size, 0).map(|_| ()));
    assert_eq!(split(&[0, 1, 0, 1], 1.0), "`test_size` must be in (0.0, 1.0), got 1");
    assert_eq!(split(&[0, 1, 0, 1], f64::NAN), "`test_size` must be in (0.0, 1.0), got NaN");
    assert_eq!(split(&[0, 0, 0, 1], 0.5), "a stratified split needs at least two rows of every class");
    assert_eq!(split(&[0, 0, 1, 1], 0.2), "3 training and 1 test rows are too few for 2 classes");
    assert_eq!(split(&[0, 2, 1, 1], 0.5), "classes has length 2, expected 3");
    let folds = |classes: &[u32], n_splits| message(stratified_folds(classes, n_splits, None).map(|_| ()));
    assert_eq!(folds(&[0, 1], 1), "`n_splits` must be a whole number of at least 2, got 1");
    assert_eq!(folds(&[0, 1, 0, 1], 3), "no class has the 3 rows that 3 parts need");
}

#[test]
fn measures_of_special_cases() {
    let perfect = metrics::classification(&[0, 1, 1], &[1.0, 0.0, 0.0, 1.0, 0.0, 1.0], 2).unwrap();
    assert_eq!((perfect.accuracy.to_bits(), perfect.roc_auc), (1.0_f64.to_bits(), Some(1.0)));
    let one_class = metrics::classification(&[1, 1], &[0.5, 0.5, 0.5, 0.5], 2).unwrap();
    assert_eq!((one_class.roc_auc, one_class.confusion_matrix), (None, vec![vec![0, 0], vec![2, 0]]));
    assert!(one_class.balanced_accuracy.abs() < f64::EPSILON && one_class.f1_weighted.abs() < f64::EPSILON);
    for (y_true, proba) in [(&[][..], &[][..]), (&[0], &[1.0]), (&[2], &[1.0, 0.0])] {
        assert!(metrics::classification(y_true, proba, 2).is_err());
    }
    let constant = |guess| metrics::regression(&[2.0, 2.0], &[2.0, guess]).unwrap().r2.to_bits();
    assert_eq!((constant(2.0), constant(3.0)), (1.0_f64.to_bits(), 0.0_f64.to_bits()));
    assert!(metrics::regression(&[1.0], &[]).is_err());
}

#[test]
fn random_forests_of_every_kind_are_scikit_learns() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/sklearn/cases.json");
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(cases.len(), 96);
    cases.iter().for_each(check);
}
