//! Every kind of forest, from `regrove train` to a prediction over HTTP: the model of the job is the very file that
//! `regrove forest fit` writes.

use http::Method;
use regrove_store::artifact::sha256;
use regrove_test_support::programs::workspace;
use serde_json::{Value, json};

use crate::up::{Up, UpOptions};

const MODEL: &str = "Kinds";

/// Trains with both, and returns the job as `job show` has it. The model has been compared and answers.
async fn train(up: &Up, version: &str, job_flags: &[&str], fit_flags: &[&str]) -> Value {
    let data = workspace().join("examples/breast_cancer.csv");
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
