//! Forests of numbers: from a file to a version in a real MLflow and to predictions, beside scikit-learn on the same rows.

use regrove_test_support::MlflowServer;
use serde_json::{Value, json};

use crate::up::{Up, UpOptions};
use crate::{python, record};

/// How far a metric may be from scikit-learn's, relative to its size.
const TOLERANCE: f64 = 1e-12;
/// The same for ONNX Runtime, which is float32.
const FLOAT32_TOLERANCE: f64 = 1e-6;
/// Every estimator with its parameters, as `tests/python/fit_regressors.py` has them.
const ESTIMATORS: [(&str, &[&str]); 3] = [
    ("RandomForestRegressor", &["--set", "n_estimators=12", "--set", "max_features=0.5"]),
    ("ExtraTreesRegressor", &["--set", "n_estimators=9"]),
    ("DecisionTreeRegressor", &["--set", "n_estimators=1", "--set", "max_depth=6"]),
];
const DATA: [&str; 8] = ["train", "--data", "prices.csv", "--target", "price", "--test-size", "0.25", "--wait"];

#[track_caller]
fn numbers(value: &Value) -> Vec<f64> {
    serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{value}: {error}"))
}

#[track_caller]
fn close(what: &str, ours: f64, theirs: f64, tolerance: f64) {
    assert!((ours - theirs).abs() <= tolerance * theirs.abs().max(1.0), "{what}: {ours} and {theirs}");
}

/// Trains with the usual data and these flags; the job as `job show` has it.
async fn train(up: &Up, id: &str, flags: &[&str]) -> Value {
    let usual = ["--set", "random_state=3", "--experiment", "end-to-end", "--id", id, "--json"];
    up.regrove(&[&DATA[..], &usual, flags].concat()).await.ok();
    up.regrove(&["job", "show", id, "--json"]).await.ok().json()
}

#[tokio::test(flavor = "multi_thread")]
async fn regressors_are_scikit_learns_from_the_file_to_the_prediction() {
    let mlflow = MlflowServer::start().unwrap();
    let up = Up::start(UpOptions { mlflow: Some(mlflow.uri()), ..UpOptions::default() });
    let csv = up.folder().join("prices.csv");
    let theirs = python::run("fit_regressors.py", &[csv.to_str().unwrap()]).await;
    let rows_file = up.folder().join("rows.json");
    std::fs::write(&rows_file, theirs["rows"].to_string()).unwrap();
    for (estimator, params) in ESTIMATORS {
        let said = &theirs["said"][estimator];
        let set = format!("estimator={estimator}");
        let flags = [&["--set", &set, "--shards", "2"], params].concat();
        let model = format!("{estimator}Model");
        let id = estimator.to_lowercase();
        let shown = train(&up, &id, &flags).await;
        let run = record::runs(&mlflow.uri(), &id).await.remove(0);
        for (metric, value) in said["metrics"].as_object().unwrap() {
            let ours = shown["metrics"][metric].as_f64().unwrap_or_else(|| panic!("{estimator}: no {metric}: {shown}"));
            close(&format!("{estimator}, {metric}"), ours, value.as_f64().unwrap(), TOLERANCE);
            assert_eq!(run.metric(metric), Some(ours), "{estimator}, {metric}");
        }
        assert_eq!(run.param("model_type"), Some(estimator));
        assert_eq!(shown["metrics"]["accuracy"], Value::Null);
        assert_eq!(shown["data"]["classes"], json!([]));

        up.served(&model, "1").await;
        let answer = up.predict(Some(&model), &theirs["rows"]).await.json;
        assert_eq!(numbers(&answer["predictions"]), numbers(&said["predictions"]), "{estimator}, bit for bit");
        assert_eq!(answer["probabilities"], Value::Null, "{estimator}");
        let uri = format!("models:/{model}/1");
        let loaded = python::run("load_and_predict.py", &[&mlflow.uri(), &uri, rows_file.to_str().unwrap()]).await;
        for (ours, theirs) in numbers(&answer["predictions"]).into_iter().zip(numbers(&loaded["predictions"])) {
            close(estimator, theirs, ours, FLOAT32_TOLERANCE);
        }
        assert_eq!(loaded["labels"], Value::Null);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sweeps_rounds_and_parts_of_rows_know_regressors_and_what_cannot_be_is_refused() {
    let up = Up::start(UpOptions::default());
    let csv = up.folder().join("prices.csv");
    python::run("fit_regressors.py", &[csv.to_str().unwrap()]).await;
    let forest = ["--set", "estimator=RandomForestRegressor"];

    let sweep = ["--sweep", "n_estimators=1,20", "--metric", "mean_squared_error", "--model", "Swept", "--id", "swept"];
    let usual = ["--set", "random_state=3", "--json"];
    let ended = up.regrove(&[&DATA[..], &usual, &forest, &sweep].concat()).await.ok().json();
    assert_eq!(ended["best"], "swept.2", "twenty trees err less than one: {ended}");
    let error = |job: &Value| job["metrics"]["holdout_mean_squared_error"].as_f64().unwrap();
    let one = up.regrove(&["job", "show", "swept.1", "--json"]).await.ok().json();
    let twenty = up.regrove(&["job", "show", "swept.2", "--json"]).await.ok().json();
    assert!(error(&one) > error(&twenty));

    let stopping = ["--set", "n_estimators=60", "--early-stop=1", "--round", "10", "--min-gain", "0.05"];
    let stopped = train(&up, "stopped", &[&forest[..], &stopping].concat()).await;
    assert_eq!(stopped["trees"], json!(20), "of 60, as the second round gains little: {stopped}");

    let by_rows = ["--set", "n_estimators=6", "--shards", "3", "--shard-by", "rows", "--model", "Parts"];
    let parts = train(&up, "parts", &[&forest[..], &by_rows].concat()).await;
    assert!(parts["metrics"]["holdout_r2_score"].as_f64().unwrap() > 0.3, "{parts}");

    std::fs::write(up.folder().join("texts.csv"), "x,price\n1,cheap\n2,dear\n3,cheap\n").unwrap();
    for (id, flags, words) in [
        ("no-number", &["--data", "texts.csv"][..], &["price", "cheap"][..]),
        ("no-class", &["--set", "criterion=gini"], &["criterion"]),
        ("no-accuracy", &["--early-stop=1", "--stop-metric", "accuracy"], &["early_stop.metric", "r2_score"]),
        ("few-rows", &["--test-size", "0.9999"], &["test_size", "at most 599/600"]),
    ] {
        let data = if flags[0] == "--data" { &DATA[3..] } else { &DATA[1..] };
        let data: Vec<&str> = data.iter().copied().filter(|flag| *flag != "0.25" && *flag != "--test-size").collect();
        let said = up.regrove(&[&["train", "--id", id], &data[..], &forest, flags].concat()).await;
        said.fails(1, words);
    }
}
