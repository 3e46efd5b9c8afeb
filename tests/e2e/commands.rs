//! The commands that look at what runs and ask for more, on both kinds of store.

use regrove_test_support::RedisServer;
use regrove_test_support::programs::workspace;
use serde_json::{Value, json};

use crate::jobs::{DEFAULT_MODEL, one_to_twenty};
use crate::polling::until;
use crate::up::{Up, UpOptions};

const DATA: &str = "synthetic:make_classification?n_samples=400&n_features=20&random_state=3";

#[tokio::test(flavor = "multi_thread")]
async fn on_the_embedded_stores() {
    let up = Up::start(UpOptions::default());
    all(&up).await;
    without_a_runtime(up).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_redis() {
    let redis = RedisServer::start().unwrap();
    all(&Up::start(UpOptions { redis: Some(redis.url()), ..UpOptions::default() })).await;
    // What cannot be reached is named, without its password.
    let mut command = crate::regrove::command(&std::env::temp_dir());
    command.args(["job", "list"]).env("REDIS_URL", "redis://:s3cret@127.0.0.1:1/0");
    let said = crate::regrove::run(command).await;
    said.fails(1, &["127.0.0.1:1"]);
    assert!(!said.err.contains("s3cret"), "{said:?}");
}

async fn all(up: &Up) {
    let none = up.regrove(&["job", "list", "--json"]).await.ok().json();
    assert_eq!(none, json!([]));
    train(up).await;
    refused(up).await;
    look_at_jobs(up).await;
    tail(up).await;
    models(up).await;
    traffic(up).await;
    predict(up).await;
}

/// Two versions of the default model and one of another; the exit code says how a job ended.
async fn train(up: &Up) {
    for (id, state) in [("first", "1"), ("second", "2")] {
        let set = format!("random_state={state}");
        let arguments =
            ["train", "--data", DATA, "--set", "n_estimators=12", "--set", &set, "--id", id, "--wait", "--json"];
        let said = up.regrove(&arguments).await.ok();
        let job = said.json();
        assert_eq!((&job["id"], &job["state"]), (&json!(id), &json!("succeeded")));
        assert_eq!(job["model"]["uri"], format!("models:/{DEFAULT_MODEL}/{state}"));
        assert!(said.err.contains("shard 2/2"), "progress is said on standard error: {said:?}");
        up.served(DEFAULT_MODEL, state).await;
    }
    let csv = workspace().join("examples/breast_cancer.csv");
    let arguments = ["train", "--data", csv.to_str().unwrap(), "--model", "Cancer", "--set", "n_estimators=10"];
    let asked = up.regrove(&[&arguments[..], &["--id", "third", "--shards", "3"]].concat()).await.ok();
    assert_eq!(asked.out.lines().next(), Some("third"));
    assert_eq!(up.job_end("third").await.state.as_str(), "succeeded");
    up.served("Cancer", "1").await;
    // The same request again is no other job.
    let before = up.control().log.head().await.unwrap();
    let arguments = ["train", "--data", DATA, "--set", "n_estimators=12", "--set", "random_state=1"];
    let again = up.regrove(&[&arguments[..], &["--id", "first", "--wait", "--json"]].concat()).await.ok();
    assert_eq!(again.json()["model"]["version"], "1");
    up.served(DEFAULT_MODEL, "2").await;
    assert!(up.control().log.head().await.unwrap() <= before + 2, "the job ran again");
}

async fn refused(up: &Up) {
    let train = async |arguments: &[&str]| up.regrove(&[&["train"][..], arguments].concat()).await;
    train(&["--data", "no-such.csv"]).await.fails(2, &["--data no-such.csv"]);
    train(&[]).await.fails(2, &["--data"]);
    train(&["--data", DATA, "--shards", "many"]).await.fails(2, &["--shards"]);
    train(&["--data", DATA, "--shards", "0"]).await.fails(2, &["--shards"]);
    train(&["--data", DATA, "--set", "n_estimators"]).await.fails(2, &["NAME=VALUE"]);
    train(&["--data", DATA, "--id", "a/b"]).await.fails(2, &["--id", "a/b"]);
    train(&["--data", DATA, "--set", "n_estimators=3", "--id", "first"]).await.fails(2, &["first", "other parameters"]);
    let jobs = up.regrove(&["job", "list", "--json"]).await.ok().json();
    assert_eq!(jobs.as_array().unwrap().len(), 3, "what is refused at once is no job: {jobs}");

    let file = up.folder().join("cells.csv");
    std::fs::write(&file, "a,b,target\n1,2,0\n3,oops,1\n").unwrap();
    let cells = train(&["--data", file.to_str().unwrap(), "--id", "cells", "--wait"]).await;
    cells.fails(1, &["row 2", "`b`", "oops"]);
    assert!(cells.out.contains("cells failed"), "{cells:?}");
    train(&["--data", DATA, "--set", "n_estimators=0", "--id", "none", "--wait"]).await.fails(1, &["n_estimators"]);
    train(&["--data", "ftp://example.org/x.csv", "--id", "ftp", "--wait"]).await.fails(1, &["scheme `ftp`"]);
}

async fn look_at_jobs(up: &Up) {
    let jobs = up.regrove(&["job", "list", "--json"]).await.ok().json();
    let ids: Vec<&str> = jobs.as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["ftp", "none", "cells", "third", "second", "first"], "newest first");
    let succeeded = up.regrove(&["job", "list", "--state", "succeeded", "--json"]).await.ok().json();
    assert_eq!(succeeded.as_array().unwrap().len(), 3);
    let table = up.regrove(&["job", "list"]).await.ok().out;
    assert_eq!(table.lines().count(), 7, "{table}");
    let line = table.lines().find(|line| line.starts_with("third")).unwrap();
    for word in ["succeeded", "breast_cancer", "3/3", "models:/Cancer/1"] {
        assert!(line.contains(word), "{table}");
    }
    let shown = up.regrove(&["job", "show", "third", "--json"]).await.ok().json();
    assert_eq!((&shown["id"], &shown["state"]), (&json!("third"), &json!("succeeded")));
    assert_eq!(shown["data"]["n_samples"], 569);
    assert_eq!(shown["shard_list"].as_array().unwrap().len(), 3);
    assert!(shown["seconds"]["queued_to_registered"].as_f64().is_some_and(|seconds| seconds > 0.0), "{shown}");
    let text = up.regrove(&["job", "show", "cells"]).await.ok().out;
    assert!(text.contains("failed") && text.contains("row 2"), "{text}");
    up.regrove(&["job", "show", "nobody"]).await.fails(2, &["nobody", "regrove job list"]);
    up.regrove(&["job", "stop", "third"]).await.fails(2, &["has ended"]);
}

async fn tail(up: &Up) {
    let all = up.regrove(&["event", "tail", "--json"]).await.ok().json_lines();
    let positions: Vec<u64> = all.iter().map(|entry| entry["position"].as_u64().unwrap()).collect();
    assert!(positions.is_sorted_by(|left, right| left < right), "{positions:?}");
    let one = up.regrove(&["event", "tail", "--subject", "third", "--json"]).await.ok().json_lines();
    let types: Vec<&str> = one.iter().map(|entry| entry["event"]["type"].as_str().unwrap()).collect();
    let count = |name: &str| types.iter().filter(|ty| **ty == format!("io.regrove.{name}")).count();
    assert_eq!(types[0], "io.regrove.train-requested");
    assert_eq!((count("shard-requested"), count("shard-trained")), (3, 3), "{types:?}");
    assert_eq!((count("model-aggregated"), count("model-registered")), (1, 1), "{types:?}");
    assert_eq!(types.last(), Some(&"io.regrove.model-registered"));
    // Every fact but the first names the event that caused it.
    let ids: Vec<&Value> = one.iter().map(|entry| &entry["event"]["id"]).collect();
    for entry in &one[1..] {
        assert!(ids.contains(&&entry["event"]["causationid"]), "{entry}");
    }
    let text = up.regrove(&["event", "tail", "--subject", "third"]).await.ok().out;
    assert_eq!(text.lines().count(), one.len());
    let event = ["event", "emit", "--type", "io.regrove.train-requested", "--data", "{"];
    up.regrove(&event).await.fails(2, &["--data is not JSON"]);
}

async fn models(up: &Up) {
    up.served("Cancer", "1").await;
    let listed = up.regrove(&["model", "list", "--json"]).await.ok().json();
    let served: Vec<(&str, &str)> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|model| (model["name"].as_str().unwrap(), model["version"].as_str().unwrap()))
        .collect();
    assert_eq!(served, [("Cancer", "1"), (DEFAULT_MODEL, "2")]);
    up.regrove(&["model", "load", DEFAULT_MODEL, "--version", "1"]).await.ok();
    up.served(DEFAULT_MODEL, "1").await;
    let shown = up.regrove(&["model", "show", DEFAULT_MODEL, "--json"]).await.ok().json();
    assert_eq!(shown["current"]["version"], "1");
    let versions: Vec<&str> =
        shown["switches"].as_array().unwrap().iter().map(|switch| switch["version"].as_str().unwrap()).collect();
    assert_eq!(versions, ["1", "2", "1"]);
    let unknown = up.regrove(&["model", "load", DEFAULT_MODEL, "--version", "99"]).await;
    unknown.fails(1, &["404", "99"]);
    let both = ["model", "load", DEFAULT_MODEL, "--version", "1", "--alias", "champion"];
    up.regrove(&both).await.fails(2, &["--alias"]);
    let text = up.regrove(&["model", "show", "Nobody"]).await.ok().out;
    assert!(text.contains("nothing is served"), "{text}");
}

/// A canary answers its share, a shadow is only compared, and both end with one command.
async fn traffic(up: &Up) {
    let rows = json!([one_to_twenty()]);
    let asked = async || up.predict(None, &rows).await.json["model_version"].as_str().map(str::to_owned);
    let canary = ["model", "traffic", DEFAULT_MODEL, "--canary", "2", "--percent", "50"];
    let said = up.regrove(&[&canary[..], &["--actor", "ada", "--reason", "half and half"]].concat()).await.ok();
    assert!(said.out.contains("version 2 answers 50 %"), "{said:?}");
    for version in ["1", "2"] {
        let answers = async || asked().await.filter(|answered| answered == version);
        until(&format!("version {version} answers its half"), answers).await;
    }
    up.regrove(&["model", "traffic", DEFAULT_MODEL, "--shadow", "2"]).await.ok();
    let compared = format!("regrove_shadow_compared_total{{model=\"{DEFAULT_MODEL}\",version=\"2\",");
    until("the shadow is asked what the served version was asked", async || {
        asked().await?;
        up.metrics("predict").await.contains(&compared).then_some(())
    })
    .await;
    assert_eq!(asked().await.as_deref(), Some("1"), "its answers are given to nobody");
    let shown = up.regrove(&["model", "show", DEFAULT_MODEL, "--json"]).await.ok().json();
    assert_eq!((&shown["beside"]["canary"], &shown["beside"]["shadow"]["version"]), (&Value::Null, &json!("2")));
    let first = shown["switches"].as_array().unwrap().iter().find(|switch| switch["by"] == "canary 2 50 %").unwrap();
    assert_eq!((&first["actor"], &first["reason"]), (&json!("ada"), &json!("half and half")));
    let alone = up.regrove(&["model", "traffic", DEFAULT_MODEL]).await.ok();
    assert!(alone.out.contains("answers alone"), "{alone:?}");
    up.regrove(&["model", "traffic", DEFAULT_MODEL, "--canary", "2"]).await.fails(2, &["--percent"]);
    up.regrove(&["model", "traffic", DEFAULT_MODEL, "--shadow", "99"]).await.fails(1, &["404", "99"]);
}

async fn predict(up: &Up) {
    let rows = json!([one_to_twenty()]).to_string();
    let answer = up.regrove(&["predict", "--features", &rows, "--json"]).await.ok().json();
    assert_eq!(answer["model_version"], "1");
    assert_eq!(answer["probabilities"].as_array().unwrap().len(), 1);
    assert_eq!(answer["probabilities"], up.predict(None, &json!([one_to_twenty()])).await.json["probabilities"]);
    let text = up.regrove(&["predict", "--features", &rows]).await.ok().out;
    assert!(text.contains("model version 1"), "{text}");

    let table = std::fs::read_to_string(workspace().join("examples/breast_cancer.csv")).unwrap();
    let lines: Vec<&str> = table.lines().take(4).map(|line| line.rsplit_once(',').unwrap().0).collect();
    let file = up.folder().join("rows.csv");
    std::fs::write(&file, lines.join("\n")).unwrap();
    let file = file.to_str().unwrap();
    let answer = up.regrove(&["predict", "--data", file, "--model", "Cancer", "--json"]).await.ok().json();
    assert_eq!(answer["predictions"], json!([0, 0, 0]), "the first rows are malignant");

    up.regrove(&["predict"]).await.fails(2, &["--features"]);
    up.regrove(&["predict", "--features", "[[1,"]).await.fails(2, &["--features"]);
    up.regrove(&["predict", "--features", "[[1, 2]]"]).await.fails(1, &["400", "2 features", "20"]);
    up.regrove(&["predict", "--data", "no-such.csv"]).await.fails(2, &["no-such.csv"]);
    up.regrove(&["predict", "--features", &rows, "--model", "Nobody"]).await.fails(1, &["503", "no model is loaded"]);
}

/// What needs the runtime says how to start one; what does not works.
async fn without_a_runtime(up: Up) {
    let mut up = up;
    up.kill();
    up.regrove(&["job", "list"]).await.ok();
    let nowhere = ["--gateway", "http://127.0.0.1:1", "--broker", "http://127.0.0.1:1/regrove/default"];
    let train = ["train", "--data", DATA, "--id", "late"];
    up.regrove(&[&train[..], &nowhere[..]].concat()).await.fails(1, &["127.0.0.1:1", "regrove up"]);
    let predict = ["predict", "--features", "[[1]]"];
    up.regrove(&[&predict[..], &nowhere[..]].concat()).await.fails(1, &["127.0.0.1:1", "regrove up"]);
    up.regrove(&["up", "--gateway-port", "x"]).await.fails(2, &["--gateway-port"]);
    up.regrove(&["up", "--file", "no-such-folder"]).await.fails(2, &["no-such-folder"]);
    up.regrove(&["frobnicate"]).await.fails(2, &["frobnicate"]);
}

/// Two runtimes in one home would deliver everything twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_home_has_one_runtime_and_a_port_one_listener() {
    let up = Up::start(UpOptions::default());
    let free = ["--ingress-port", "0", "--record-port", "0"];
    let second = up.regrove(&[&["up", "--gateway-port", "0"][..], &free[..]].concat()).await;
    second.fails(1, &["another runtime", "--home"]);
    let elsewhere = up.folder().join("elsewhere");
    let port = up.gateway().rsplit(':').next().unwrap();
    let arguments = ["up", "--home", elsewhere.to_str().unwrap(), "--gateway-port", port];
    up.regrove(&[&arguments[..], &free[..]].concat()).await.fails(1, &["already taken", "--gateway-port"]);
}
