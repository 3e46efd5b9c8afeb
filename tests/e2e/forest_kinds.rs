//! Every kind of forest, from `regrove train` to a prediction over HTTP: the model of the job is the very file that
//! `regrove forest fit` writes.

use std::fmt::Write as _;
use std::path::Path;

use http::Method;
use regrove_store::artifact::sha256;
use regrove_test_support::programs::workspace;
use serde_json::{Value, json};

use crate::up::{Up, UpOptions};

const MODEL: &str = "Kinds";
/// Ends in classes.
const CANCER: &str = "examples/breast_cancer.csv";

/// Trains with both, and returns the job as `job show` has it. The model has been compared and answers.
async fn train(up: &Up, version: &str, job_flags: &[&str], fit_flags: &[&str]) -> Value {
    train_on(&workspace().join(CANCER), up, version, job_flags, fit_flags).await
}

/// The same on a file whose last column is `target`.
async fn train_on(data: &Path, up: &Up, version: &str, job_flags: &[&str], fit_flags: &[&str]) -> Value {
    let data = data.to_str().unwrap();
    let id = format!("kind-{version}");
    let train = ["train", "--data", data, "--model", MODEL, "--id", &id, "--wait", "--json"];
    up.regrove(&[&train[..], job_flags].concat()).await.ok();
    let shown = up.regrove(&["job", "show", &id, "--json"]).await.ok().json();

    let fit = ["forest", "fit", "--data", data, "--target", "target", "-o", "kind.rgf"];
    up.regrove(&[&fit[..], fit_flags].concat()).await.ok();
    let file = std::fs::read(up.folder().join("kind.rgf")).unwrap();
    assert_eq!(shown["artifact"]["sha256"], sha256(&file), "{job_flags:?}");

    up.served(MODEL, version).await;
    let said = up.regrove(&["forest", "predict", "kind.rgf", "--data", data, "--json"]).await.ok().json();
    let row: Vec<f64> = std::fs::read_to_string(data)
        .unwrap()
        .lines()
        .nth(1)
        .unwrap()
        .split(',')
        .map(|cell| cell.parse().unwrap())
        .collect();
    let rows = json!({"features": [row[..row.len() - 1]]});
    let answer = up.call("predict", Method::POST, &format!("/models/{MODEL}/predict"), Some(&rows)).await;
    assert_eq!(answer.json["predictions"][0], said["predictions"][0], "{job_flags:?}");
    assert_eq!(answer.json["probabilities"][0], said["probabilities"][0], "{job_flags:?}");
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn the_job_and_the_library_make_the_same_model() {
    let up = Up::start(UpOptions::default());
    let few = ["--set", "n_estimators=9", "--set", "random_state=4"];

    let by_rows = [&few[..], &["--shards", "3", "--shard-by", "rows"]].concat();
    let shown = train(&up, "1", &by_rows, &[&few[..], &["--set", "row_parts=3"]].concat()).await;
    assert_eq!(shown["request"]["shard_by"], "rows");
    assert_eq!(shown["shard_list"].as_array().unwrap().len(), 3);
    let text = up.regrove(&["job", "show", "kind-1"]).await.ok().out;
    assert!(text.contains("shards      3 by rows") && text.contains("shard 1/3, trees 0..3, 190 rows"), "{text}");
    let refused = up.regrove(&["train", "--data", "x.csv", "--shard-by", "columns"]).await;
    refused.fails(2, &["expected trees or rows"]);

    let hist = [&few[..], &["--set", "splitter=hist", "--set", "max_bins=63"]].concat();
    let shown = train(&up, "2", &[&hist[..], &["--shards", "2"]].concat(), &hist).await;
    assert!(shown["metrics"]["holdout_accuracy"].as_f64().unwrap() > 0.9, "{shown}");

    let linfa = ["--set", "estimator=linfa-tree", "--set", "max_depth=2"];
    let shown = train(&up, "3", &linfa, &linfa).await;
    assert!(shown["metrics"]["holdout_accuracy"].as_f64().unwrap() > 0.85, "{shown}");
    assert_eq!(shown["metrics"]["oob_accuracy"], json!(null), "it has seen every row");
}

/// Half the targets are no whole numbers, and each is another one: no classifier could tell them.
#[tokio::test(flavor = "multi_thread")]
async fn the_job_and_the_library_make_the_same_regressor() {
    let up = Up::start(UpOptions::default());
    let data = up.folder().join("numbers.csv");
    let mut csv = "one,other,target\n".to_owned();
    let cells = (0..160).map(|row: u32| (f64::from(row * 37 % 160), f64::from(row * 11 % 23)));
    for (one, other) in cells.clone() {
        writeln!(csv, "{one},{other},{}", one / 2.0 + other / 1000.0).unwrap();
    }
    std::fs::write(&data, csv).unwrap();
    let data_name = data.to_str().unwrap();
    for (version, estimator) in (1..).zip(["RandomForestRegressor", "ExtraTreesRegressor", "DecisionTreeRegressor"]) {
        let set = format!("estimator={estimator}");
        let trees = if estimator.starts_with("Decision") { "n_estimators=1" } else { "n_estimators=9" };
        let flags = ["--set", &set, "--set", trees, "--set", "random_state=4"];
        let shown = train_on(&data, &up, &version.to_string(), &flags, &flags).await;
        assert!(shown["metrics"]["r2_score"].as_f64().unwrap() > 0.9, "{shown}");

        let inside = up.regrove(&["forest", "inspect", "kind.rgf", "--json"]).await.ok().json();
        assert_eq!((&inside["classes"], &inside["params"]["estimator"]), (&json!([]), &json!(estimator)));
        up.regrove(&["forest", "convert", "kind.rgf", "-o", "kind.onnx"]).await.ok();
        for model in ["kind.rgf", "kind.onnx"] {
            let said = up.regrove(&["forest", "predict", model, "--data", data_name, "--json"]).await.ok().json();
            let said: Vec<f64> = serde_json::from_value(said["predictions"].clone()).unwrap();
            let errors = said.iter().zip(cells.clone()).map(|(said, (one, _))| (said - one / 2.0).abs());
            assert!(errors.sum::<f64>() / 160.0 < 2.0, "{estimator}, {model}: {said:?}");
        }
        let table = up.regrove(&["forest", "predict", "kind.rgf", "--data", data_name]).await.ok().out;
        assert!(table.starts_with("PREDICTION\n") && table.lines().count() == 161, "{table}");
    }
}
