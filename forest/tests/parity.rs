//! The trees, probabilities, scores and data sets of scikit-learn 1.9.1, bit for bit.

#![expect(clippy::unwrap_used, reason = "tests: a failure is the answer")]

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use regrove_forest::datasets::{ClassificationParams, Synthetic, make_classification};
use regrove_forest::random::RandomState;
use regrove_forest::{Forest, Frame, FrameLimits, RandomForestParams, Tree, fit, fit_tree};
use serde::Deserialize;
use sha2::{Digest, Sha256};

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/sklearn").join(name)
}

fn csv(name: &str) -> Frame {
    Frame::from_csv(fs::File::open(path(name)).unwrap(), "target", &FrameLimits::default()).unwrap()
}

fn seed_job_data() -> ClassificationParams {
    ClassificationParams {
        n_samples: 2500,
        n_informative: 10,
        n_redundant: 10,
        random_state: 42,
        ..ClassificationParams::default()
    }
}

#[derive(Deserialize)]
struct Vector {
    estimator: String,
    params: serde_json::Map<String, serde_json::Value>,
    trees: Vec<TreeVector>,
    output_sha256_f64: String,
    oob_score: Option<f64>,
    feature_importances: Vec<f64>,
}

#[derive(Deserialize)]
struct TreeVector {
    random_state: u32,
    node_count: usize,
    feature_sha256: String,
    threshold_sha256: String,
    children_left_sha256: String,
    value_sha256: String,
    #[serde(flatten)]
    arrays: Option<TreeArrays>,
}

#[derive(Deserialize)]
struct TreeArrays {
    feature: Vec<i32>,
    threshold: Vec<f64>,
    children_left: Vec<i32>,
    children_right: Vec<i32>,
    impurity: Vec<f64>,
    n_node_samples: Vec<u32>,
    weighted_n_node_samples: Vec<f64>,
}

impl Vector {
    fn read(name: &str) -> Self {
        serde_json::from_slice(&fs::read(path(name)).unwrap()).unwrap()
    }

    /// The parameters that shape a forest; the others only say how scikit-learn runs.
    fn forest_params(&self) -> RandomForestParams {
        let mut params = self.params.clone();
        for name in ["n_jobs", "verbose", "warm_start", "splitter"] {
            params.remove(name);
        }
        params.insert("estimator".to_owned(), self.estimator.replace("DecisionTree", "RandomForest").into());
        serde_json::from_value(params.into()).unwrap()
    }
}

fn sha256(bytes: impl IntoIterator<Item = u8>) -> String {
    let bytes: Vec<u8> = bytes.into_iter().collect();
    Sha256::digest(&bytes).iter().fold(String::new(), |mut text, byte| {
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

fn check_tree(tree: &Tree, expected: &TreeVector, at: usize) {
    assert_eq!(tree.random_state, expected.random_state, "seed of tree {at}");
    if let Some(arrays) = &expected.arrays {
        assert_eq!(tree.feature, arrays.feature, "features of tree {at}");
        assert_eq!(tree.threshold, arrays.threshold, "thresholds of tree {at}");
        assert_eq!(tree.children_left, arrays.children_left, "left children of tree {at}");
        assert_eq!(tree.children_right, arrays.children_right, "right children of tree {at}");
        assert_eq!(tree.impurity, arrays.impurity, "impurity of tree {at}");
        assert_eq!(tree.n_node_samples, arrays.n_node_samples, "rows of tree {at}");
        assert_eq!(tree.weighted_n_node_samples, arrays.weighted_n_node_samples, "weights of tree {at}");
    }
    assert_eq!(tree.node_count(), expected.node_count, "nodes of tree {at}");
    assert_eq!(sha256_i64(&tree.feature), expected.feature_sha256, "features of tree {at}");
    assert_eq!(sha256_f64(&tree.threshold), expected.threshold_sha256, "thresholds of tree {at}");
    assert_eq!(sha256_i64(&tree.children_left), expected.children_left_sha256, "children of tree {at}");
    assert_eq!(sha256_f64(&tree.value), expected.value_sha256, "values of tree {at}");
}

fn check_forest(frame: &Frame, vector: &Vector) -> Forest {
    let forest = fit(frame, &vector.forest_params()).unwrap();
    assert_eq!(forest.n_trees(), vector.trees.len());
    for (at, (tree, expected)) in forest.trees().iter().zip(&vector.trees).enumerate() {
        check_tree(tree, expected, at);
    }
    let rows = frame.rows();
    let output = if vector.estimator.ends_with("Regressor") {
        forest.predict_values(&rows)
    } else {
        forest.predict_proba(&rows)
    };
    assert_eq!(sha256_f64(&output.unwrap()), vector.output_sha256_f64);
    assert_eq!(forest.feature_importances(), vector.feature_importances);
    if let Some(score) = vector.oob_score {
        let oob = forest.oob(frame).unwrap();
        assert_eq!(oob.score.to_bits(), score.to_bits());
    }
    forest
}

#[test]
fn iris_forest() {
    check_forest(&csv("iris.csv"), &Vector::read("iris-rf.json"));
}

#[test]
fn iris_tree() {
    let (frame, vector) = (csv("iris.csv"), Vector::read("iris-tree.json"));
    let params = RandomForestParams { bootstrap: false, ..vector.forest_params() };
    let tree = fit_tree(&frame, &params, vector.trees[0].random_state).unwrap();
    check_tree(&tree, &vector.trees[0], 0);
    assert_eq!(tree.feature_importances(4), vector.feature_importances);
}

#[test]
fn wine_forest_by_entropy_on_all_features() {
    check_forest(&csv("wine.csv"), &Vector::read("wine-rf-entropy.json"));
}

#[test]
fn digits_forest() {
    check_forest(&csv("digits.csv"), &Vector::read("digits-rf.json"));
}

#[test]
fn wine_extra_trees() {
    check_forest(&csv("wine.csv"), &Vector::read("wine-extra-trees.json"));
}

#[test]
fn diabetes_regressor() {
    let file = fs::File::open(path("diabetes.csv")).unwrap();
    let frame = Frame::from_csv_regression(file, "target", &FrameLimits::default()).unwrap();
    check_forest(&frame, &Vector::read("diabetes-rf-regressor.json"));
}

#[test]
fn breast_cancer_forest_balanced_with_out_of_bag_score() {
    check_forest(&csv("breast_cancer.csv"), &Vector::read("breast-cancer-rf-balanced.json"));
}

#[test]
fn the_reference_job() {
    let uri =
        "make_classification?n_samples=2500&n_features=20&n_informative=10&n_redundant=10&n_classes=2&random_state=42";
    let frame = Synthetic::parse(uri).unwrap().frame().unwrap();
    let forest = check_forest(&frame, &Vector::read("seed-job.json"));
    let row: Vec<f32> = (1..=20_u8).map(f32::from).collect();
    assert_eq!(forest.predict_proba(&row).unwrap(), [0.373_333_333_333_333_35, 0.626_666_666_666_666_7]);
    assert_eq!(forest.predict(&row).unwrap()[0].to_string(), "1");
}

/// Where scikit-learn divides 0 by 0.
#[test]
fn importances_are_zero_where_no_split_decreases_impurity() {
    let frame = Frame::from_csv(&b"x,target\n0,0\n0,1\n1,0\n1,1\n"[..], "target", &FrameLimits::default()).unwrap();
    let params =
        RandomForestParams { n_estimators: 2, bootstrap: false, max_depth: Some(1), ..RandomForestParams::default() };
    let forest = fit(&frame, &params).unwrap();
    assert!(forest.trees().iter().all(|tree| tree.node_count() == 3));
    assert_eq!(forest.feature_importances(), [0.0]);
}

#[test]
fn the_reference_data() {
    let vector: serde_json::Value = serde_json::from_slice(&fs::read(path("seed-job.json")).unwrap()).unwrap();
    let data = make_classification(&seed_job_data()).unwrap();
    let first: Vec<Vec<f64>> = serde_json::from_value(vector["X_first_rows"].clone()).unwrap();
    for (row, expected) in data.x.chunks_exact(20).zip(first) {
        assert_eq!(row, expected);
    }
    assert_eq!(sha256_f64(&data.x), vector["X_sha256_f64_c_order"].as_str().unwrap());
    let y: Vec<i32> = data.y.iter().map(|class| i32::try_from(*class).unwrap()).collect();
    assert_eq!(sha256_i64(&y), vector["y_sha256_i64"].as_str().unwrap());
}

#[test]
fn a_small_data_set_with_three_classes_and_a_repeated_feature() {
    #[derive(Deserialize)]
    struct Small {
        #[serde(rename = "X")]
        x: Vec<Vec<f64>>,
        y: Vec<u32>,
    }
    let small: Small = serde_json::from_slice(&fs::read(path("make-classification-small.json")).unwrap()).unwrap();
    let uri = "make_classification?n_samples=40&n_features=6&n_informative=3&n_redundant=2&n_repeated=1&n_classes=3\
               &flip_y=0.05&random_state=9";
    let Synthetic::Classification(params) = Synthetic::parse(uri).unwrap() else { panic!("another generator") };
    let data = make_classification(&params).unwrap();
    assert_eq!(data.y, small.y);
    assert_eq!(data.x, small.x.concat());
}

/// The first numbers of the stream of seed 42, as many as in `like`.
fn draws<T>(like: &[T], mut draw: impl FnMut(&mut RandomState) -> T) -> Vec<T> {
    let mut stream = RandomState::new(42);
    like.iter().map(|_| draw(&mut stream)).collect()
}

#[test]
fn the_legacy_stream_of_numpy() {
    #[derive(Deserialize)]
    struct Stream {
        randint_0_2147483647: Vec<u32>,
        bootstrap_randint_0_150: Vec<u32>,
        random_sample: Vec<f64>,
        standard_normal: Vec<f64>,
        permutation_20: Vec<usize>,
    }
    let expected: Stream = serde_json::from_slice(&fs::read(path("numpy-randomstate-42.json")).unwrap()).unwrap();
    assert_eq!(draws(&expected.randint_0_2147483647, |s| s.randint(2_147_483_647)), expected.randint_0_2147483647);
    // The rows that the first tree of a forest with seed 42 draws from iris.
    let mut bootstrap = RandomState::new(expected.randint_0_2147483647[0]);
    let rows: Vec<u32> = (0..150).map(|_| bootstrap.randint(150)).collect();
    assert_eq!(rows, expected.bootstrap_randint_0_150);
    assert_eq!(draws(&expected.random_sample, RandomState::random_sample), expected.random_sample);
    assert_eq!(draws(&expected.standard_normal, RandomState::standard_normal), expected.standard_normal);
    assert_eq!(RandomState::new(42).permutation(20), expected.permutation_20);
}
