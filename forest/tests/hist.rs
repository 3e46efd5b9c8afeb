//! `splitter = "hist"`: cuts between the bins of histograms.

#![expect(clippy::unwrap_used, reason = "tests: a failure is the answer")]

use std::sync::Arc;

use regrove_forest::datasets::Synthetic;
use regrove_forest::model_selection::train_test_split_stratified;
use regrove_forest::params::{Criterion, Estimator, MaxFeatures, RowCount, Splitter};
use regrove_forest::random::RandomState;
use regrove_forest::{
    FitOptions, Forest, Frame, Label, Model, RandomForestParams, Target, Tree, fit, fit_range, metrics, onnx,
};

const N_ROWS: u32 = 600;
const N_FEATURES: u32 = 5;

/// Features of few values, so that every value has a bin, some missing; whole numbers, so that all sums are exact.
fn frame(stream: &mut RandomState, n_classes: u32) -> Frame {
    let values: Vec<u32> = (0..N_ROWS * N_FEATURES).map(|_| stream.randint(40)).collect();
    let row = |row: u32| values.iter().skip(row as usize).step_by(N_ROWS as usize).copied();
    let sums: Vec<u32> = (0..N_ROWS).map(|at| row(at).take(3).sum::<u32>() + stream.randint(30)).collect();
    let target = if n_classes == 0 {
        Target::Values(sums.iter().map(|sum| f64::from(*sum)).collect())
    } else {
        Target::from_labels(&sums.iter().map(|sum| Label::Int((sum * n_classes / 150).into())).collect::<Vec<_>>())
    };
    let columns = values.iter().map(|value| match u16::try_from(*value).unwrap() {
        value if value % 13 == 5 => f32::NAN,
        value => f32::from(value),
    });
    Frame::new((0..N_FEATURES).map(|at| format!("x{at}")).collect(), columns.collect(), "y", target).unwrap()
}

/// What is the same whatever the thresholds between two values are.
fn shape(tree: &Tree) -> impl PartialEq + std::fmt::Debug + use<> {
    let Tree { feature, children_left, missing_go_to_left, impurity, n_node_samples, value, .. } = tree.clone();
    (feature, children_left, missing_go_to_left, impurity, n_node_samples, value)
}

#[test]
fn where_every_value_has_a_bin_the_trees_divide_the_rows_as_exact_ones() {
    let mut stream = RandomState::new(6);
    let classifier = RandomForestParams { n_estimators: 6, random_state: 3, ..RandomForestParams::default() };
    let regressor = RandomForestParams {
        n_estimators: 6,
        max_features: MaxFeatures::Count(2),
        ..RandomForestParams::of(Estimator::RandomForestRegressor)
    };
    for (n_classes, params) in [
        (2, classifier.clone()),
        (3, RandomForestParams { criterion: Criterion::Entropy, max_depth: Some(5), ..classifier.clone() }),
        (2, RandomForestParams { bootstrap: false, max_leaf_nodes: Some(20), ..classifier.clone() }),
        (4, RandomForestParams { min_samples_leaf: RowCount::Count(7), min_weight_fraction_leaf: 0.02, ..classifier }),
        (0, RandomForestParams { monotonic_cst: Some(vec![1, 1, 0, 0, -1]), max_depth: Some(6), ..regressor.clone() }),
        (0, regressor),
    ] {
        let frame = frame(&mut stream, n_classes);
        let exact = fit(&frame, &params).unwrap();
        let hist = fit(&frame, &RandomForestParams { splitter: Splitter::Hist, ..params.clone() }).unwrap();
        for (exact, hist) in exact.trees().iter().zip(hist.trees()) {
            assert!(exact.node_count() > 5);
            assert_eq!(shape(exact), shape(hist), "{params:?}");
        }
    }
}

fn synthetic(n_rows: u32) -> Frame {
    let uri = format!("make_classification?n_samples={n_rows}&n_features=20&n_informative=10&random_state=7");
    Synthetic::parse(&uri).unwrap().frame().unwrap()
}

#[test]
fn the_trees_depend_on_nothing_but_their_index() {
    let frame = synthetic(3000);
    let params = RandomForestParams { n_estimators: 8, splitter: Splitter::Hist, ..RandomForestParams::default() };
    let whole = fit(&frame, &params).unwrap();
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let part = |range| one.install(|| fit_range(&frame, &params, range, &FitOptions::default()).unwrap());
    let merged = Forest::merge(vec![part(5..8), part(0..1), part(1..5)]).unwrap();
    assert_eq!(merged.to_bytes().unwrap(), whole.to_bytes().unwrap());
}

#[test]
fn held_out_accuracy_is_close_to_exact_cuts_and_falls_with_the_bins() {
    let (train, test) = train_test_split_stratified(&synthetic(4000), 0.25, 0).unwrap();
    let accuracy = |params: RandomForestParams| {
        let proba = fit(&train, &params).unwrap().predict_proba(&test.rows()).unwrap();
        metrics::classification(test.class_indexes(), &proba, 2).unwrap().accuracy
    };
    let params = RandomForestParams { n_estimators: 40, ..RandomForestParams::default() };
    let exact = accuracy(params.clone());
    let hist = RandomForestParams { splitter: Splitter::Hist, ..params };
    assert!((accuracy(hist.clone()) - exact).abs() < 0.015);
    assert!(accuracy(RandomForestParams { max_bins: 2, ..hist }) < exact - 0.01);
}

/// Through a file and through ONNX, missing values and numbers as targets among them.
#[test]
fn models_of_histograms_are_models_as_any_other() {
    let mut stream = RandomState::new(8);
    for (n_classes, estimator) in [(3, Estimator::RandomForestClassifier), (0, Estimator::RandomForestRegressor)] {
        let frame = frame(&mut stream, n_classes);
        let params = RandomForestParams {
            n_estimators: 7,
            splitter: Splitter::Hist,
            max_bins: 16,
            ..RandomForestParams::of(estimator)
        };
        let forest = fit(&frame, &params).unwrap();
        let model = Model::from_bytes(Arc::new(forest.to_bytes().unwrap())).unwrap();
        let rows = frame.rows();
        let answer = |model: &Model| {
            let mut out = vec![0.0; frame.n_samples() * model.n_outputs()];
            model.predict_proba_rows(&rows, frame.n_samples(), &mut out).unwrap();
            out
        };
        let expected = if n_classes == 0 { forest.predict_values(&rows) } else { forest.predict_proba(&rows) }.unwrap();
        assert_eq!(answer(&model), expected);
        let imported = onnx::import(&onnx::export(&forest).unwrap(), &onnx::Limits::default()).unwrap();
        for (imported, expected) in answer(&imported).iter().zip(&expected) {
            assert!((imported - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{imported} for {expected}");
        }
    }
}

#[test]
fn parameters_are_read_checked_and_written() {
    let read = |text: &str| serde_json::from_str::<RandomForestParams>(text).unwrap();
    let hist = read(r#"{"splitter": "hist", "max_bins": 16}"#);
    assert_eq!((hist.splitter, hist.max_bins), (Splitter::Hist, 16));
    assert_eq!(read(&serde_json::to_string(&hist).unwrap()), hist);
    // Models of exact cuts keep the bytes that they had before there was a choice.
    assert!(!serde_json::to_string(&RandomForestParams::default()).unwrap().contains("splitter"));
    let refused = |text: &str| read(text).check().unwrap_err().to_string();
    assert_eq!(
        refused(r#"{"splitter": "hist", "max_bins": 256}"#),
        "`max_bins` must be a whole number in 2..=255, got 256"
    );
    assert_eq!(refused(r#"{"max_bins": 1}"#), "`max_bins` must be a whole number in 2..=255, got 1");
    assert_eq!(refused(r#"{"max_bins": 16}"#), "`max_bins` must be 255 unless `splitter` is \"hist\", got 16");
    assert_eq!(
        refused(r#"{"splitter": "hist", "estimator": "ExtraTreesClassifier"}"#),
        "`splitter` must be \"best\" for ExtraTreesClassifier, whose cuts are random, got hist"
    );
    assert!(serde_json::from_str::<RandomForestParams>(r#"{"splitter": "random"}"#).is_err());
}
