//! Forests of random parameters on random data, data sets, scores and importances against scikit-learn's: cases that were
//! drawn once (`testdata/make_cases.py`), and cases drawn anew in every run (`tests/python/ask_sklearn.py`).

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests: a failure is the answer")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use regrove_forest::datasets::{Synthetic, make_classification, make_regression};
use regrove_forest::inspection::permutation_importance;
use regrove_forest::metrics::{Average, MultiClass, roc_auc};
use regrove_forest::model_selection::{
    cross_validate, split_sizes, stratified_folds, stratified_split, train_test_split,
};
use regrove_forest::random::RandomState;
use regrove_forest::{
    Error, FitOptions, Forest, Frame, Label, Model, RandomForestParams, Target, Tree, fit, fit_more, fit_tree, metrics,
};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// How data are drawn.
#[derive(Deserialize)]
struct Rows {
    seed: u32,
    n_samples: usize,
    n_features: usize,
    n_classes: usize,
    decimals: Option<i32>,
    missing: f64,
    weights: Option<Weights>,
    /// Whether the target's numbers are quarters, whose sums are not rounded.
    #[serde(default)]
    quarters: bool,
}

/// What rows weigh, some of them nothing.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Weights {
    Whole,
    Fractions,
}

/// A model as scikit-learn fits it.
#[derive(Deserialize)]
struct Fitted {
    estimator: String,
    params: serde_json::Map<String, serde_json::Value>,
    trees: Vec<Hashes>,
    output_sha256: String,
    feature_importances: Vec<f64>,
}

#[derive(Deserialize)]
struct Case {
    #[serde(flatten)]
    data: Rows,
    #[serde(flatten)]
    fitted: Fitted,
    output_with_holes_sha256: String,
    oob_score: Option<f64>,
    oob_output_sha256: Option<String>,
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
    children_right_sha256: String,
    missing_go_to_left_sha256: String,
    impurity_sha256: String,
    n_node_samples_sha256: String,
    weighted_n_node_samples_sha256: String,
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

fn sha256_i64<N: Copy + Into<i64>>(numbers: &[N]) -> String {
    sha256(numbers.iter().flat_map(|number| (*number).into().to_le_bytes()))
}

fn round(x: &mut [f64], decimals: Option<i32>) {
    let Some(decimals) = decimals else { return };
    let scale = 10_f64.powi(decimals);
    for value in x {
        *value = (*value * scale).round_ties_even() / scale;
    }
}

fn thin_out(x: &mut [f64], missing: f64, stream: &mut RandomState) {
    for value in x {
        if stream.random_sample() < missing {
            *value = f64::NAN;
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "small numbers; float32 is what is trained on"
)]
fn data(case: &Rows) -> Frame {
    let (n, width) = (case.n_samples, case.n_features);
    let mut stream = RandomState::new(case.seed);
    let mut x: Vec<f64> = (0..n * width).map(|_| stream.standard_normal()).collect();
    round(&mut x, case.decimals);
    let mut y: Vec<f64> =
        x.chunks_exact(width).map(|row| 2.0 * row[0] - row[width - 1] + stream.random_sample()).collect();
    if case.quarters {
        for number in &mut y {
            *number = (4.0 * *number).round_ties_even() / 4.0;
        }
    }
    thin_out(&mut x, case.missing, &mut stream);
    let columns = (0..width).flat_map(|feature| x.iter().skip(feature).step_by(width)).map(|value| *value as f32);
    let target = if case.n_classes == 0 {
        Target::Values(y)
    } else {
        let last = case.n_classes as f64 - 1.0;
        let class = |y: &f64| Label::Int((y + case.n_classes as f64 / 2.0).floor().clamp(0.0, last) as i64);
        Target::from_labels(&y.iter().map(class).collect::<Vec<_>>())
    };
    let names = (0..width).map(|feature| format!("x{feature}")).collect();
    let frame = Frame::new(names, columns.collect(), "y", target).unwrap();
    let Some(kind) = case.weights else { return frame };
    let mut stream = RandomState::new(case.seed ^ 2);
    let weigh = |drawn: f64| match kind {
        Weights::Whole => (4.0 * drawn).floor(),
        Weights::Fractions if drawn < 0.1 => 0.0,
        Weights::Fractions => drawn,
    };
    frame.with_sample_weight((0..n).map(|_| weigh(stream.random_sample())).collect()).unwrap()
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

fn params_of(estimator: &str, params: &serde_json::Map<String, serde_json::Value>) -> RandomForestParams {
    let mut params = params.clone();
    params.insert("estimator".to_owned(), estimator.into());
    serde_json::from_value(params.into()).unwrap()
}

impl Fitted {
    fn params(&self) -> RandomForestParams {
        params_of(&self.estimator, &self.params)
    }
}

fn check_trees(grown: &[Tree], trees: &[Hashes], what: &str) {
    assert_eq!(grown.len(), trees.len(), "trees of {what}");
    for (at, (tree, expected)) in grown.iter().zip(trees).enumerate() {
        assert_eq!(tree.node_count(), expected.node_count, "nodes of tree {at} of {what}");
        let same =
            |got: String, expected: &str, array: &str| assert_eq!(got, expected, "{array} of tree {at} of {what}");
        same(sha256_i64(&tree.feature), &expected.feature_sha256, "features");
        same(sha256_f64(&tree.threshold), &expected.threshold_sha256, "thresholds");
        same(sha256_i64(&tree.children_left), &expected.children_left_sha256, "left children");
        same(sha256_i64(&tree.children_right), &expected.children_right_sha256, "right children");
        let missing: Vec<i32> = (0..tree.node_count())
            .map(|node| i32::from(tree.missing_go_to_left[node] && !tree.is_leaf(node)))
            .collect();
        same(sha256_i64(&missing), &expected.missing_go_to_left_sha256, "sides of missing values");
        same(sha256_f64(&tree.impurity), &expected.impurity_sha256, "impurities");
        same(sha256_i64(&tree.n_node_samples), &expected.n_node_samples_sha256, "row counts");
        let weights = sha256_f64(&tree.weighted_n_node_samples);
        same(weights, &expected.weighted_n_node_samples_sha256, "row weights");
        same(sha256_f64(&tree.value), &expected.value_sha256, "values");
    }
}

/// Fits what scikit-learn fitted; holds trees, answers of forest and file, and importances against its own.
fn check_fitted(frame: &Frame, fitted: &Fitted, what: &str) -> (Forest, Vec<f64>) {
    let forest = fit(frame, &fitted.params()).unwrap();
    check_trees(forest.trees(), &fitted.trees, what);
    let rows = frame.rows();
    let model = Model::from_bytes(Arc::new(forest.to_serving_bytes().unwrap())).unwrap();
    let mut output = vec![0.0; frame.n_samples() * forest.n_outputs()];
    model.predict_proba_rows(&rows, frame.n_samples(), &mut output).unwrap();
    assert_eq!(sha256_f64(&output), fitted.output_sha256, "outputs of {what}");
    let own = if forest.n_classes() == 0 { forest.predict_values(&rows) } else { forest.predict_proba(&rows) };
    assert_eq!(own.unwrap(), output, "outputs of forest and file of {what}");
    assert_eq!(forest.feature_importances(), fitted.feature_importances, "importances of {what}");
    (forest, output)
}

/// Rows with missing values, whether or not there were any in training.
fn check_holes(forest: &Forest, frame: &Frame, case: &Case) {
    let expected = &case.output_with_holes_sha256;
    let mut stream = RandomState::new(case.data.seed ^ 1);
    let mut rows = frame.rows();
    for value in &mut rows {
        if stream.random_sample() < 0.2 {
            *value = f32::NAN;
        }
    }
    let own = if forest.n_classes() == 0 { forest.predict_values(&rows) } else { forest.predict_proba(&rows) };
    assert_eq!(&sha256_f64(&own.unwrap()), expected, "outputs for missing values of case {}", case.data.seed);
    let model = Model::from_bytes(Arc::new(forest.to_serving_bytes().unwrap())).unwrap();
    let mut output = vec![0.0; frame.n_samples() * forest.n_outputs()];
    model.predict_proba_rows(&rows, frame.n_samples(), &mut output).unwrap();
    assert_eq!(&sha256_f64(&output), expected, "outputs of the file for missing values of case {}", case.data.seed);
}

fn check(case: &Case) {
    let seed = case.data.seed;
    let frame = data(&case.data);
    let (forest, output) = check_fitted(&frame, &case.fitted, &format!("case {seed}"));
    check_holes(&forest, &frame, case);
    if let (Some(score), Some(output)) = (case.oob_score, &case.oob_output_sha256) {
        let oob = forest.oob(&frame).unwrap();
        assert_eq!(&sha256_f64(&oob.decision_function), output, "out-of-bag outputs of case {seed}");
        // The share of right answers is exact; r2 is a quotient of sums that NumPy forms in another order.
        let tolerance = if forest.n_classes() == 0 { 1e-12 * score.abs().max(1.0) } else { 0.0 };
        assert!((oob.score - score).abs() <= tolerance, "out-of-bag score of case {seed}: {} for {score}", oob.score);
    }
    let measures = match frame.target() {
        Target::Values(values) => serde_json::to_value(metrics::regression(values, &output).unwrap()),
        Target::Classes { indexes, classes } => {
            serde_json::to_value(metrics::classification(indexes, &output, classes.len()).unwrap())
        }
    };
    check_measures(&case.measures, &measures.unwrap(), seed);
    if let Some((train, test)) = &case.split {
        let split = stratified_split(frame.class_indexes(), case.data.n_classes, 0.25, seed).unwrap();
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
    assert!(split(&[0, 0, 0, 1], 0.5).starts_with("a stratified split needs at least two rows of every class"));
    let refused = stratified_split(&[0, 0, 1, 1, 1], 2, 0.2, 0).unwrap_err();
    assert!(matches!(&refused, Error::Param(error) if error.name == "test_size"));
    let allowed = "`test_size` must be above 1/5 and at most 3/5, so that each part has at least 2 rows";
    assert_eq!(refused.to_string(), format!("{allowed}, got 0.2"));
    assert_eq!(split(&[0, 0, 1, 1, 1], 0.61), format!("{allowed}, got 0.61"));
    assert!(
        stratified_split(&[0, 0, 1, 1, 1], 2, 0.21, 0).is_ok() && stratified_split(&[0, 0, 1, 1, 1], 2, 0.6, 0).is_ok()
    );
    let sizes = |n_samples, size| message(split_sizes(n_samples, size).map(|_| ()));
    assert_eq!(
        sizes(4, 0.8),
        "`test_size` must be above 0/4 and at most 3/4, so that each part has at least 1 row, got 0.8"
    );
    let allowed = "left out, as 1 row cannot be split into two parts of at least 1 row";
    assert_eq!(sizes(1, 0.5), format!("`test_size` must be {allowed}, got 0.5"));
    assert_eq!(split(&[0, 2, 1, 1], 0.5), "classes has length 2, expected 3");
    let folds = |classes: &[u32], n_splits| message(stratified_folds(classes, n_splits, None).map(|_| ()));
    assert_eq!(folds(&[0, 1], 1), "`n_splits` must be a whole number of at least 2, got 1");
    assert_eq!(
        folds(&[0, 1, 0, 1], 3),
        "`n_splits` must be a whole number in 2..=2, the rows of the largest class, got 3"
    );
    assert_eq!(folds(&[0, 1], 2), "`n_splits` must be left out, as 1 is the rows of the largest class, got 2");
    let numbers = message(regrove_forest::model_selection::folds(3, 4, None).map(|_| ()));
    assert_eq!(numbers, "`n_splits` must be a whole number in 2..=3, the number of rows, got 4");
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
    let constant = |guess| metrics::regression(&[2.0, 2.0], &[2.0, guess]).unwrap().r2.map(f64::to_bits);
    assert_eq!((constant(2.0), constant(3.0)), (Some(1.0_f64.to_bits()), Some(0.0_f64.to_bits())));
    assert!(metrics::regression(&[1.0], &[]).is_err());
}

#[test]
fn random_forests_of_every_kind_are_scikit_learns() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/sklearn/cases.json");
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(cases.len(), 96);
    cases.iter().for_each(check);
}

/// Forests drawn anew in every run; a quarter as many single trees.
const N_DRAWN: u32 = 200;

/// What `ask_sklearn.py` answers.
#[derive(Deserialize)]
struct Drawn {
    regression_data: Vec<Data>,
    classification_data: Vec<Data>,
    close_classification_data: Vec<CloseData>,
    areas: Vec<Areas>,
    evaluations: Vec<Evaluation>,
    large: Vec<Large>,
    in_order: Vec<Plain>,
    one_row: Vec<Plain>,
    warm_starts: Vec<Vec<Hashes>>,
    trees: Vec<Case>,
    trees_of_random_cuts: Vec<TreeOfRandomCuts>,
    forests: Vec<Case>,
}

/// A forest of which trees, answers and importances are compared, and nothing else.
#[derive(Deserialize)]
struct Plain {
    #[serde(flatten)]
    data: Rows,
    #[serde(flatten)]
    fitted: Fitted,
}

/// scikit-learn's `ExtraTreeClassifier` or `ExtraTreeRegressor`, and a decision tree with `splitter="random"` and the same
/// `max_features`, which are one tree.
#[derive(Deserialize)]
struct TreeOfRandomCuts {
    #[serde(flatten)]
    data: Rows,
    estimator: String,
    params: serde_json::Map<String, serde_json::Value>,
    tree: Vec<Hashes>,
}

/// A forest on data of `make_classification` that are rounded and thinned out.
#[derive(Deserialize)]
struct Large {
    data: Data,
    decimals: Option<i32>,
    missing: f64,
    #[serde(flatten)]
    fitted: Fitted,
}

#[derive(Deserialize)]
struct Data {
    params: BTreeMap<String, serde_json::Value>,
    x: String,
    y: String,
    coef: Option<String>,
}

#[derive(Deserialize)]
struct Areas {
    n_classes: usize,
    y: Vec<u32>,
    proba: Vec<f64>,
    expected: Vec<f64>,
}

#[derive(Deserialize)]
struct Evaluation {
    #[serde(flatten)]
    data: Rows,
    estimator: String,
    params: serde_json::Map<String, serde_json::Value>,
    random_state: u32,
    n_splits: u32,
    shuffle: bool,
    scores: Vec<f64>,
    importances: Vec<f64>,
    importances_mean: Vec<f64>,
    importances_std: Vec<f64>,
    train: Vec<usize>,
    test: Vec<usize>,
}

fn close(got: &[f64], expected: &[f64], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{what}: {got} for {expected}");
    }
}

/// Data whose last bits depend on an order of sums that is not told.
#[derive(Deserialize)]
struct CloseData {
    params: BTreeMap<String, serde_json::Value>,
    values: Vec<f64>,
    y: String,
}

fn uri(generator: &str, params: &BTreeMap<String, serde_json::Value>) -> String {
    // `[0.5,1.0]`, `null`, `3`, `true`.
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::Null => "none".to_owned(),
        value => value.to_string().trim_matches(['[', ']']).to_owned(),
    };
    let query: Vec<String> = params.iter().map(|(name, value)| format!("{name}={}", text(value))).collect();
    format!("{generator}?{}", query.join("&"))
}

impl Data {
    fn uri(&self) -> String {
        uri(if self.coef.is_some() { "make_regression" } else { "make_classification" }, &self.params)
    }
}

fn check_close_data(data: &CloseData) {
    let uri = uri("make_classification", &data.params);
    let Synthetic::Classification(params) = Synthetic::parse(&uri).unwrap() else { panic!("{uri}: no classification") };
    let found = make_classification(&params).unwrap();
    close(&found.x, &data.values, &uri);
    assert_eq!(sha256_f64(&found.y.into_iter().map(f64::from).collect::<Vec<_>>()), data.y, "target of {uri}");
}

fn check_data(data: &Data) {
    let uri = data.uri();
    let (x, y, coef) = match Synthetic::parse(&uri).unwrap() {
        Synthetic::Classification(params) => {
            let data = make_classification(&params).unwrap();
            (data.x, data.y.into_iter().map(f64::from).collect(), None)
        }
        Synthetic::Regression(params) => {
            let data = make_regression(&params).unwrap();
            (data.x, data.y, Some(data.coef))
        }
    };
    assert_eq!(sha256_f64(&x), data.x, "features of {uri}");
    assert_eq!(coef.map(|coef| sha256_f64(&coef)), data.coef, "coefficients of {uri}");
    assert_eq!(sha256_f64(&y), data.y, "target of {uri}");
}

fn check_areas(areas: &Areas) {
    let kinds = [
        (MultiClass::Ovr, Average::Macro),
        (MultiClass::Ovr, Average::Weighted),
        (MultiClass::Ovo, Average::Macro),
        (MultiClass::Ovo, Average::Weighted),
    ];
    let area = |(pairs, average)| roc_auc(&areas.y, &areas.proba, areas.n_classes, pairs, average).unwrap().unwrap();
    close(&kinds.map(area), &areas.expected, "areas under the curve");
}

fn check_evaluation(case: &Evaluation) {
    let frame = data(&case.data);
    let mut params = case.params.clone();
    params.insert("estimator".to_owned(), case.estimator.clone().into());
    let params: RandomForestParams = serde_json::from_value(params.into()).unwrap();
    let what = |part: &str| format!("{part} of {} on data {}", case.estimator, case.data.seed);
    let folds = cross_validate(&frame, &params, case.n_splits, case.shuffle.then_some(case.random_state)).unwrap();
    let scores: Vec<f64> = folds.iter().map(|fold| fold.measures.score()).collect();
    close(&scores, &case.scores, &what("cross-validation"));
    let forest = fit(&frame, &params).unwrap();
    let importances = permutation_importance(&forest, &frame, 4, case.random_state).unwrap();
    close(&importances.importances, &case.importances, &what("importances"));
    close(&importances.importances_mean, &case.importances_mean, &what("mean importances"));
    close(&importances.importances_std, &case.importances_std, &what("deviation of importances"));
    let (train, test) = train_test_split(&frame, 0.3, case.random_state).unwrap();
    assert_eq!(
        (&train, &test),
        (&frame.take(&case.train).unwrap(), &frame.take(&case.test).unwrap()),
        "{}",
        what("hold-out")
    );
}

fn check_tree_of_random_cuts(case: &TreeOfRandomCuts) {
    let params = params_of(&case.estimator, &case.params);
    let tree = fit_tree(&data(&case.data), &params, params.random_state).unwrap();
    check_trees(&[tree], &case.tree, &format!("random cuts of case {}", case.data.seed));
}

/// A forest grown in two goes is scikit-learn's warm start, and the forest grown in one.
fn check_warm_start((case, trees): (&Case, &Vec<Hashes>)) {
    let frame = data(&case.data);
    let whole = case.fitted.params();
    let first = RandomForestParams { n_estimators: 1, ..whole.clone() };
    let first = fit(&frame, &first).unwrap();
    let warm = fit_more(first, &frame, &whole, &FitOptions::default()).unwrap();
    check_trees(warm.trees(), trees, &format!("warm start of case {}", case.data.seed));
    assert_eq!(warm, fit(&frame, &whole).unwrap(), "warm start of case {}", case.data.seed);
}

/// Two classes and enough rows that columns are ranked: the search that big data take.
fn check_large(large: &Large) {
    let what = format!("{:?} of {:?}", large.fitted.params, large.data.params);
    let Synthetic::Classification(params) = Synthetic::parse(&large.data.uri()).unwrap() else {
        panic!("{what}: no classification")
    };
    let mut data = make_classification(&params).unwrap();
    assert_eq!(sha256_f64(&data.x), large.data.x, "features of {what}");
    round(&mut data.x, large.decimals);
    thin_out(&mut data.x, large.missing, &mut RandomState::new(params.random_state));
    check_fitted(&data.into_frame().unwrap(), &large.fitted, &what);
}

/// A seed for this run: `REGROVE_TEST_SEED`, or the clock.
fn seed() -> u32 {
    match std::env::var_os("REGROVE_TEST_SEED") {
        Some(seed) => {
            seed.to_str().and_then(|seed| seed.parse().ok()).expect("REGROVE_TEST_SEED must be a whole number")
        }
        None => std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos(),
    }
}

#[test]
fn what_is_drawn_in_this_run_is_scikit_learns() {
    let seed = seed();
    // Shown when the test fails, to run it again.
    eprintln!("REGROVE_TEST_SEED={seed}");
    let venv = std::env::var_os("REGROVE_TEST_VENV");
    let venv = venv.expect("REGROVE_TEST_VENV names the Python environment of the tests: run `cargo xtask test`");
    let run = Command::new(PathBuf::from(venv).join("bin/python"))
        .arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/python/ask_sklearn.py"))
        .args([seed.to_string(), N_DRAWN.to_string()])
        .env("OPENBLAS_NUM_THREADS", "1")
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let drawn: Drawn = serde_json::from_slice(&run.stdout).unwrap();
    drawn.classification_data.iter().chain(&drawn.regression_data).for_each(check_data);
    assert!(drawn.classification_data.len() > 40 && drawn.close_classification_data.len() >= 6);
    drawn.close_classification_data.iter().for_each(check_close_data);
    drawn.areas.iter().for_each(check_areas);
    drawn.evaluations.iter().for_each(check_evaluation);
    drawn.large.iter().for_each(check_large);
    assert_eq!((drawn.one_row.len(), drawn.in_order.len()), (3, 30));
    for case in drawn.one_row.iter().chain(&drawn.in_order) {
        let what = format!("{} {:?} on data {}", case.fitted.estimator, case.fitted.params, case.data.seed);
        check_fitted(&data(&case.data), &case.fitted, &what);
    }
    drawn.trees.iter().chain(&drawn.forests).for_each(check);
    drawn.trees_of_random_cuts.iter().for_each(check_tree_of_random_cuts);
    assert_eq!(drawn.warm_starts.len(), 20);
    drawn.forests.iter().zip(&drawn.warm_starts).for_each(check_warm_start);
    assert_eq!(drawn.forests.len(), N_DRAWN as usize);
    let weighted = drawn.forests.iter().filter(|case| case.data.weights.is_some()).count();
    assert!(weighted > 60, "{weighted} forests on rows with weights");
}
