//! Data sets and jobs as people have them: from a file with texts to a prediction, stopped, tried again, compared.

use std::fmt::Write as _;

use http::Method;
use regrove_mlflow::Param;
use serde_json::json;

use crate::python;
use crate::record;
use crate::up::{Up, UpOptions};

/// A CSV file with a column of texts, one of truth values, and numbers as labels.
fn rides() -> String {
    let mut text = "zone;fast;length;tip\n".to_owned();
    for row in 0..120_u32 {
        let zone = ["north", "south", "?"][row as usize % 3];
        let (fast, tip) = (row % 2 == 0, if row % 3 == 0 { "0.5" } else { "1.5" });
        writeln!(text, "{zone};{fast};{}.25;{tip}", row % 7).unwrap();
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_learned_from_and_labels_keep_their_type() {
    let up = Up::start(UpOptions::default());
    std::fs::write(up.folder().join("rides.csv"), rides()).unwrap();
    let csv = ["--delimiter", ";", "--missing", "?"];
    let inspect = [&["data", "inspect", "rides.csv", "--target", "tip", "--json"], &csv[..]].concat();
    let seen = up.regrove(&inspect).await.ok().json();
    assert_eq!((&seen["n_rows"], &seen["columns"][0]["missing"]), (&json!(120), &json!(40)));
    assert_eq!(seen["columns"][0]["values"], json!([["north", 40], ["south", 40]]));
    assert_eq!(seen["columns"][3]["values"], json!([[0.5, 40], [1.5, 80]]));
    let text = up.regrove(&["data", "inspect", "rides.csv", "--delimiter", ";"]).await.ok().out;
    assert!(text.contains("120 rows, 4 columns") && text.contains("north 33.3%"), "{text}");

    let train = ["train", "--data", "rides.csv", "--target", "tip", "--model", "Rides", "--id", "rides"];
    let parameters = ["--set", "n_estimators=10", "--set", "random_state=1", "--wait", "--json"];
    let made = up.regrove(&[&train[..], &csv, &parameters].concat()).await.ok().json();
    assert_eq!(made["metrics"]["accuracy"], 1.0);
    let shown = up.regrove(&["job", "show", "rides", "--json"]).await.ok().json();
    assert_eq!(shown["data"]["categories"], json!({"zone": ["north", "south"]}));
    assert_eq!(shown["data"]["classes"], json!([0.5, 1.5]));
    assert!(
        shown["shard_list"][0]["worker"].as_str().is_some_and(|worker| worker.starts_with("train-shard")),
        "{shown}"
    );
    up.served("Rides", "1").await;
    let rows = json!({"features": [[0, 1, 0.25], [1, 0, 0.25]]});
    let answer = up.call("predict", Method::POST, "/models/Rides/predict", Some(&rows)).await;
    assert_eq!(answer.json["predictions"], json!([0.5, 1.5]), "{answer:?}");
    let texts = json!({"features": [{"zone": "north", "fast": 1, "length": 0.25}, ["south", 0, 0.25]]});
    let answer = up.call("predict", Method::POST, "/models/Rides/predict", Some(&texts)).await;
    assert_eq!(answer.json["predictions"], json!([0.5, 1.5]), "{answer:?}");
    std::fs::write(up.folder().join("asked.csv"), "length,more,zone,fast\n0.25,x,north,true\n0.25,x,south,false\n")
        .unwrap();
    let from_file = up.regrove(&["predict", "--model", "Rides", "--data", "asked.csv", "--json"]).await.ok().json();
    assert_eq!(from_file["predictions"], json!([0.5, 1.5]), "{from_file}");
    std::fs::write(up.folder().join("east.csv"), "length,zone,fast\n0.25,east,true\n").unwrap();
    let unknown = up.regrove(&["predict", "--model", "Rides", "--data", "east.csv"]).await;
    unknown.fails(2, &["row 1", "`zone`", "east", "north"]);
    let rows = up.folder().join("rows.json");
    std::fs::write(&rows, r#"[["north", 1, 0.25], ["south", 0, 0.25]]"#).unwrap();
    let python = [&up.tracking_uri(), "models:/Rides/1", rows.to_str().unwrap()];
    let theirs = python::run("load_and_predict.py", &python).await;
    assert_eq!(
        (&theirs["categories"], &theirs["labels"]),
        (&json!({"zone": ["north", "south"]}), &json!(["0.5", "1.5"]))
    );

    exported_and_grown_anew(&up).await;
    // The same again with more trees takes those that exist.
    let more = ["--set", "n_estimators=16", "--set", "random_state=1", "--wait", "--json", "--id", "more"];
    up.regrove(&[&train[..7], &csv, &more].concat()).await.ok();
    let shown = up.regrove(&["job", "show", "more", "--json"]).await.ok().json();
    let reused: u64 =
        shown["shard_list"].as_array().unwrap().iter().map(|shard| shard["trees_reused"].as_u64().unwrap()).sum();
    assert_eq!(reused, 10, "{shown}");
    let compared = up.regrove(&["job", "compare", "rides", "more", "--json"]).await.ok().json();
    assert_eq!((&compared["same_data"], &compared["same_model"]), (&json!(true), &json!(false)));
    let trace = up.regrove(&["job", "trace", "more"]).await.ok().out;
    assert!(trace.contains("shard 1, attempt 1 [train-shard]") && trace.contains("register [register]"), "{trace}");
    let steps = up.regrove(&["job", "replay", "more", "--json"]).await.ok().json();
    assert_eq!(steps.as_array().unwrap().last().unwrap()["state"], "succeeded");
}

/// Rows whose weight is 0 are not learned from, whole or in parts: the models are those of the other rows, and those of the library.
#[tokio::test(flavor = "multi_thread")]
async fn a_column_of_weights_weighs_rows() {
    let up = Up::start(UpOptions::default());
    let row = |row: u32| {
        let class = u32::from((row % 11 > row % 7) != row.is_multiple_of(5));
        format!("{},{},{},{class}\n", row % 11, row % 7, f64::from(row % 4) / 3.0)
    };
    let with = |wanted: &dyn Fn(&u32) -> bool| (0..200).filter(wanted).map(row).collect::<String>();
    let write =
        |name: &str, rows: String| std::fs::write(up.folder().join(name), format!("a,b,weight,y\n{rows}")).unwrap();
    write("all.csv", with(&|_| true));
    write("some.csv", with(&|row| row % 4 > 0));
    let grown = ["--target", "y", "--set", "bootstrap=false", "--set", "n_estimators=4", "--set", "max_depth=3"];
    let still = [&grown[..], &["--sample-weight", "weight"]].concat();
    let train = ["train", "--data", "all.csv", "--test-size", "0", "--shards", "2", "--wait"];
    let answers = async |model: &str| {
        let inspected = up.regrove(&["forest", "inspect", model, "--json"]).await.ok().json();
        assert_eq!(inspected["feature_names"], json!(["a", "b"]), "weights are no feature");
        up.regrove(&["forest", "predict", model, "--data", "all.csv", "--json"]).await.ok().json()
    };
    let uri = up.tracking_uri();
    for (id, shard_by, parts) in [("whole", "trees", "null"), ("parts", "rows", "2")] {
        let job = ["--id", id, "--model", id, "--experiment", "end-to-end", "--shard-by", shard_by];
        up.regrove(&[&train[..], &still, &job].concat()).await.ok();
        let [run] = &record::runs(&uri, id).await[..] else { panic!("{id}: one run") };
        let names_column = |param: &Param| (&param.key[..], &param.value[..]) == ("sample_weight", "weight");
        assert!(run.data.params.iter().any(names_column), "{id}: {:?}", run.data.params);
        let export = ["model", "export", id, "--mlflow-tracking-uri", &uri, "-o", "job.rgf"];
        up.regrove(&export).await.ok();
        let row_parts = format!("row_parts={parts}");
        let fit = ["forest", "fit", "--data", "all.csv", "-o", "library.rgf", "--set", &row_parts];
        up.regrove(&[&fit[..], &still].concat()).await.ok();
        assert_eq!(answers("job.rgf").await, answers("library.rgf").await, "{id}");
    }
    let fit = ["forest", "fit", "-o", "some.rgf", "--data", "some.csv"];
    up.regrove(&[&fit[..], &still].concat()).await.ok();
    let fit = ["forest", "fit", "-o", "all.rgf", "--data", "all.csv"];
    up.regrove(&[&fit[..], &still].concat()).await.ok();
    assert_eq!(answers("all.rgf").await, answers("some.rgf").await);
    up.regrove(&[&fit[..], &grown, &["--drop", "weight"]].concat()).await.ok();
    assert_ne!(answers("all.rgf").await, answers("some.rgf").await, "weights change the model");
    write("negative.csv", "1,2,-1,0\n2,1,1,1\n".to_owned());
    let refused = up
        .regrove(&[
            "forest",
            "fit",
            "-o",
            "no.rgf",
            "--data",
            "negative.csv",
            "--target",
            "y",
            "--sample-weight",
            "weight",
        ])
        .await;
    refused.fails(2, &["negative.csv", "row 1", "`weight`", "no sample weight"]);
    let job = ["train", "--data", "negative.csv", "--target", "y", "--sample-weight", "weight", "--wait"];
    up.regrove(&job).await.fails(1, &["row 1", "`weight`", "no sample weight"]);
}

/// A version leaves MLflow as it came in, and can be made again from the log.
async fn exported_and_grown_anew(up: &Up) {
    let uri = up.tracking_uri();
    let mlflow = ["--mlflow-tracking-uri", &uri];
    let native = up.regrove(&[&["model", "export", "Rides", "-o", "rides.rgf", "--json"][..], &mlflow].concat()).await;
    let native = native.ok().json();
    up.regrove(&[&["model", "export", "Rides", "--version", "1", "-o", "rides.onnx"][..], &mlflow].concat()).await.ok();
    assert_eq!(native["sha256"], up.job("rides").await.unwrap().model.unwrap().model.sha256.as_str());
    let inspected = up.regrove(&["forest", "inspect", "rides.rgf", "--json"]).await.ok().json();
    assert_eq!(inspected["categories"], json!({"zone": ["north", "south"]}));
    for file in ["rides.rgf", "rides.onnx"] {
        // What was learned from texts is asked with texts, or in ONNX, which knows numbers only, with codes.
        let rows = if file == "rides.rgf" { "asked.csv" } else { "codes.csv" };
        std::fs::write(up.folder().join("codes.csv"), "length,zone,fast\n0.25,0,1\n0.25,1,0\n").unwrap();
        let answer = up.regrove(&["forest", "predict", file, "--data", rows, "--json"]).await.ok().json();
        assert_eq!(answer["predictions"].as_array().unwrap().len(), 2, "{file}: {answer}");
    }
    let verify = ["model", "verify", "Rides", "--json"];
    let verified = up.regrove(&[&verify[..], &mlflow].concat()).await.ok().json();
    assert_eq!((&verified["same"], &verified["job"]), (&json!(true), &json!("rides")));
    for (arguments, words) in [
        (&["model", "export", "Rides", "-o", "rides.pkl"][..], &[".rgf or .onnx"][..]),
        (&["model", "export", "Rides", "--version", "9", "-o", "x.rgf"], &["Rides", "9"]),
        (&["model", "verify", "Nobody"], &["Nobody"]),
    ] {
        up.regrove(&[arguments, &mlflow].concat()).await.fails(2, words);
    }
}

/// Far more trees than this test would wait for.
const ENDLESS: &str = "dataset:
  uri: synthetic:make_classification?n_samples=2000&n_features=20&random_state=3
params: {n_estimators: 50000, random_state: 1}
shards: 2
test_size: 0
";

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_stopped_and_tried_again() {
    let up = Up::start(UpOptions::default());
    std::fs::write(up.folder().join("endless.yaml"), ENDLESS).unwrap();
    up.regrove(&["train", "--file", "endless.yaml", "--id", "endless"]).await.ok();
    up.job_when("endless", "trains", |job| job.shards.len() == 2).await;
    let stopped = up.regrove(&["job", "stop", "endless", "--reason", "too long", "--wait", "--json"]).await.ok().json();
    assert_eq!(stopped["state"], "cancelled");
    up.regrove(&["job", "stop", "endless"]).await.fails(2, &["has ended: cancelled"]);
    up.regrove(&["job", "retry", "nobody"]).await.fails(2, &["nobody"]);
    let again = up.regrove(&["job", "retry", "endless", "--json"]).await.ok().json();
    assert_eq!(again["id"], "endless.retry-2");
    up.job_when("endless.retry-2", "trains", |job| job.shards.len() == 2).await;
    up.regrove(&["job", "retry", "endless.retry-2"]).await.fails(2, &["only a job that failed or was cancelled"]);
    let shown = up.regrove(&["job", "show", "endless"]).await.ok().out;
    assert!(shown.contains("tried again as endless.retry-2") && shown.contains("too long"), "{shown}");
    up.regrove(&["job", "stop", "endless.retry-2", "--wait"]).await.ok();
    let both = up.regrove(&["job", "list", "--state", "cancelled", "--name", "ENDLESS", "--json"]).await.ok().json();
    assert_eq!(both.as_array().unwrap().len(), 2);
    assert!(up.job("endless").await.unwrap().shards.values().all(|shard| shard.trained.is_none()));
}
