//! `regrove forest`: the library on files.

use std::path::Path;

use regrove_test_support::programs::workspace;
use serde_json::{Value, json};

use crate::regrove::{Said, command, run};

async fn forest(folder: &Path, arguments: &[&str]) -> Said {
    let mut command = command(folder);
    command.arg("forest").args(arguments);
    run(command).await
}

#[tokio::test(flavor = "multi_thread")]
async fn fit_inspect_predict() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let data = workspace().join("examples/breast_cancer.csv");
    let data = data.to_str().unwrap();
    let fit = ["fit", "--data", data, "--target", "target", "--set", "n_estimators=20", "--set", "random_state=42"];
    let made = forest(here, &[&fit[..], &["-o", "cancer.rgf", "--json"]].concat()).await.ok().json();
    assert_eq!((&made["n_estimators"], &made["n_samples"], &made["n_features"]), (&json!(20), &json!(569), &json!(30)));
    assert_eq!(made["bytes"], std::fs::metadata(here.join("cancer.rgf")).unwrap().len());
    assert_eq!(made["oob_score"], Value::Null);
    let scored = &["--set", "oob_score=true", "--json", "-o", "scored.rgf"];
    let score = forest(here, &[&fit[..], scored].concat()).await.ok().json()["oob_score"].as_f64().unwrap();
    assert!((0.9..1.0).contains(&score), "{score}");
    forest(here, &[&fit[..], &["-o", "again.rgf"]].concat()).await.ok();
    let bytes = |name: &str| std::fs::read(here.join(name)).unwrap();
    assert!(bytes("cancer.rgf") == bytes("again.rgf"), "the same data and parameters make the same bytes");

    let inside = forest(here, &["inspect", "cancer.rgf", "--json"]).await.ok().json();
    assert_eq!((&inside["n_estimators"], &inside["classes"]), (&json!(20), &json!([0, 1])));
    assert_eq!(inside["feature_names"][0], "mean radius");
    let params = serde_json::to_string(&inside["params"]).unwrap();
    assert!(params.contains("42"), "{params}");
    assert!(forest(here, &["inspect", "cancer.rgf"]).await.ok().out.contains("mean radius"));

    // The target's column is there and ignored; so is the order of columns.
    let answer = forest(here, &["predict", "cancer.rgf", "--data", data, "--json"]).await.ok().json();
    let rows = |answer: &Value| answer["predictions"].as_array().unwrap().clone();
    assert_eq!(rows(&answer).len(), 569);
    let truth: Vec<Value> = std::fs::read_to_string(data)
        .unwrap()
        .lines()
        .skip(1)
        .map(|line| json!(line.rsplit(',').next().unwrap().parse::<i64>().unwrap()))
        .collect();
    let right = rows(&answer).iter().zip(&truth).filter(|(said, is)| said == is).count();
    assert!(right > 560, "{right} of 569 training rows");
    std::fs::write(here.join("turned.csv"), turned(&std::fs::read_to_string(data).unwrap())).unwrap();
    let again = forest(here, &["predict", "cancer.rgf", "--data", "turned.csv", "--json"]).await.ok().json();
    assert_eq!(again, answer);
    let table = forest(here, &["predict", "cancer.rgf", "--data", "turned.csv"]).await.ok().out;
    assert_eq!(table.lines().count(), 570);

    let odd = forest(here, &[&fit[..], &["-o", "cancer.pkl"]].concat()).await;
    odd.fails(2, &["cancer.pkl", ".rgf or .onnx"]);
}

/// ONNX stands for the native file everywhere, and becomes one.
#[tokio::test(flavor = "multi_thread")]
async fn onnx_is_written_read_and_converted() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let data = workspace().join("examples/breast_cancer.csv");
    let data = data.to_str().unwrap();
    let fit = ["fit", "--data", data, "--target", "target", "--set", "n_estimators=16"];
    forest(here, &[&fit[..], &["-o", "cancer.rgf"]].concat()).await.ok();
    forest(here, &[&fit[..], &["-o", "cancer.onnx"]].concat()).await.ok();
    let made = forest(here, &["convert", "cancer.rgf", "-o", "converted.onnx", "--json"]).await.ok().json();
    assert_eq!(made["n_estimators"], 16);
    let bytes = |name: &str| std::fs::read(here.join(name)).unwrap();
    assert!(bytes("cancer.onnx") == bytes("converted.onnx"), "both ways lead to the same graph");
    forest(here, &["convert", "cancer.onnx", "-o", "imported.rgf"]).await.ok();
    let inside = forest(here, &["inspect", "imported.rgf", "--json"]).await.ok().json();
    assert_eq!(
        (&inside["producer"], &inside["params"], &inside["n_estimators"]),
        (&json!("regrove"), &json!(null), &json!(16))
    );
    assert_eq!(inside["feature_names"][0], "mean radius", "names go with the graph");
    assert!(forest(here, &["inspect", "cancer.onnx"]).await.ok().out.contains("made by     regrove"));
    let answer = async |model: &str| forest(here, &["predict", model, "--data", data, "--json"]).await.ok().json();
    let native = answer("cancer.rgf").await;
    for model in ["cancer.onnx", "imported.rgf"] {
        let imported = answer(model).await;
        assert_eq!(imported["predictions"], native["predictions"], "{model}");
        for (one, other) in rows_of(&imported).zip(rows_of(&native)) {
            assert!((one - other).abs() < 1e-6, "{model}: {one} for {other}");
        }
    }
    std::fs::write(here.join("cut.onnx"), &bytes("cancer.onnx")[..5000]).unwrap();
    forest(here, &["predict", "cut.onnx", "--data", data]).await.fails(2, &["cut.onnx", "not an ONNX model"]);
}

/// All probabilities of an answer.
fn rows_of(answer: &Value) -> impl Iterator<Item = f64> {
    let rows: Vec<Vec<f64>> = serde_json::from_value(answer["probabilities"].clone()).unwrap();
    rows.into_iter().flatten()
}

/// A CSV with its columns in reverse.
fn turned(csv: &str) -> String {
    csv.lines().map(|line| line.rsplit(',').collect::<Vec<_>>().join(",")).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_file_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let write = |name: &str, text: &str| std::fs::write(here.join(name), text).unwrap();
    write("good.csv", "a,b,target\n1,2,0\n3,4,1\n5,6,0\n7,8,1\n");
    write("cells.csv", "a,b,target\n1,2,0\n3,oops,1\n");
    write("ragged.csv", "a,b,target\n1,2,0\n3,1\n");
    write("one.csv", "a,b,target\n1,2,0\n3,4,0\n");
    write("empty.csv", "a,b,target\n");
    write("no-b.csv", "a\n1\n");
    write("bad-row.csv", "a,b\n1,2\n3,x\n");
    write("broken.rgf", "this is no model");
    let fit = async |data: &str, more: &[&str]| {
        let arguments = ["fit", "--data", data, "--target", "target", "-o", "out.rgf"];
        forest(here, &[&arguments[..], more].concat()).await
    };
    fit("cells.csv", &[]).await.fails(2, &["cells.csv", "row 2", "`b`", "oops"]);
    fit("ragged.csv", &[]).await.fails(2, &["ragged.csv", "row 2"]);
    fit("one.csv", &[]).await.fails(2, &["one class"]);
    fit("empty.csv", &[]).await.fails(2, &["no rows"]);
    fit("missing.csv", &[]).await.fails(2, &["missing.csv"]);
    fit("good.csv", &["--target", "nothing"]).await.fails(2, &["--target"]);
    fit("good.csv", &["--set", "n_estimators=0"]).await.fails(2, &["n_estimators"]);
    fit("good.csv", &["--set", "n_trees=5"]).await.fails(2, &["unknown parameter `n_trees`"]);
    for (set, allowed) in [
        ("random_state=-1", "`random_state` must be a whole number in 0..=4294967295"),
        ("n_estimators=abc", "`n_estimators` must be a whole number in 1..=100000"),
        ("min_impurity_decrease=nan", "`min_impurity_decrease` must be a finite number of at least 0.0, got \"nan\""),
        ("bootstrap=1", "`bootstrap` must be true or false, got 1"),
        ("criterion=x", "`criterion` must be gini, entropy or log_loss for a classifier, squared_error"),
        ("class_weight={\"0\":0,\"1\":0}", "`class_weight` must be weights"),
    ] {
        fit("good.csv", &["--set", set]).await.fails(2, &[allowed]);
    }
    let regressor = ["--set", "estimator=RandomForestRegressor"];
    write("texts.csv", "a,b,target\n1,2,0.5\n3,4,dear\n");
    fit("texts.csv", &regressor).await.fails(2, &["texts.csv", "row 2", "`target`", "\"dear\" is not a number"]);
    assert!(!here.join("out.rgf").exists(), "a model was written all the same");
    let nothing = ["fit", "--data", "good.csv", "--target", "nothing", "-o", "out.rgf"];
    forest(here, &nothing).await.fails(2, &["`nothing`"]);

    fit("good.csv", &["--set", "n_estimators=3"]).await.ok();
    let predict = async |model: &str, data: &str| forest(here, &["predict", model, "--data", data]).await;
    predict("out.rgf", "good.csv").await.ok();
    predict("out.rgf", "no-b.csv").await.fails(2, &["no-b.csv", "`b`", "not in the header"]);
    predict("out.rgf", "bad-row.csv").await.fails(2, &["bad-row.csv", "row 2", "`b`", "\"x\""]);
    predict("out.rgf", "none.csv").await.fails(2, &["none.csv"]);
    predict("broken.rgf", "good.csv").await.fails(2, &["broken.rgf"]);
    forest(here, &["inspect", "none.rgf"]).await.fails(2, &["none.rgf"]);
}
