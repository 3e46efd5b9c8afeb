//! Models of scikit-learn, XGBoost and LightGBM: from their own programs, through a real MLflow, to a prediction.

use http::{Method, StatusCode};
use regrove_test_support::MlflowServer;
use serde_json::{Value, json};

use crate::up::{Answer, Up, UpOptions};
use crate::{python, record};

/// How far our numbers may be from ONNX Runtime's, which are float32: of probabilities; of values relative to their size.
const TOLERANCE: f64 = 1e-6;
/// The model that has two versions and an alias.
const FOLLOWED: &str = "SklearnClassifier";

async fn load(up: &Up, body: Value) -> Answer {
    up.call("load-model", Method::POST, "/model/load", Some(&body)).await
}

#[track_caller]
fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        number => vec![number.as_f64().unwrap_or_else(|| panic!("{number} is no number"))],
    }
}

#[track_caller]
fn close(name: &str, ours: &Value, theirs: &Value) {
    let (ours, theirs) = (numbers(ours), numbers(theirs));
    assert_eq!(ours.len(), theirs.len(), "{name}");
    for (at, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert!((ours - theirs).abs() <= TOLERANCE * theirs.abs().max(1.0), "{name}, number {at}: {ours} and {theirs}");
    }
}

#[track_caller]
fn says_the_same(name: &str, ours: &Answer, theirs: &Value) {
    assert_eq!(ours.status, StatusCode::OK, "{name}: {ours:?}");
    if theirs["probabilities"].is_null() {
        assert_eq!(ours.json["probabilities"], Value::Null, "{name}: a regressor");
        close(name, &ours.json["predictions"], &theirs["predictions"]);
        return;
    }
    assert_eq!(ours.json["predictions"], theirs["predictions"], "{name}");
    close(name, &ours.json["probabilities"], &theirs["probabilities"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn models_of_other_programs_predict_as_onnx_runtime_does() {
    let mlflow = MlflowServer::start().unwrap();
    let up = Up::start(UpOptions { mlflow: Some(mlflow.uri()), ..UpOptions::default() });
    let logged = python::run("log_other_models.py", &[&mlflow.uri()]).await;
    let said = logged["said"].as_object().unwrap();
    let programs = ["Sklearn", "Xgboost", "Lightgbm"]
        .map(|program| ["Classifier", "Regressor"].map(|kind| format!("{program}{kind}")));
    for name in programs.as_flattened() {
        let loaded = load(&up, json!({"name": name, "version": 1})).await;
        assert_eq!(loaded.status, StatusCode::OK, "{name}: {loaded:?}");
        up.served(name, "1").await;
        says_the_same(name, &up.predict(Some(name), &logged["rows"]).await, &said[name]);
    }
    // Names that MLflow's signature has restore the order.
    let backwards = |list: &Value| list.as_array().unwrap().iter().rev().cloned().collect::<Vec<_>>();
    let rows: Vec<_> = logged["rows"].as_array().unwrap().iter().map(backwards).collect();
    let body = json!({"columns": backwards(&logged["columns"]), "features": rows});
    let answer = up.call("predict", Method::POST, "/models/XgboostClassifier/predict", Some(&body)).await;
    says_the_same("XgboostClassifier by name", &answer, &said["XgboostClassifier"]);

    let linear = load(&up, json!({"name": "Linear"})).await;
    assert_eq!(linear.status, StatusCode::UNPROCESSABLE_ENTITY, "{linear:?}");
    assert_eq!(linear.json["type"], "urn:regrove:problem:model-unsupported");
    assert!(linear.json["detail"].as_str().unwrap().contains("ai.onnx.ml.LinearClassifier"), "{linear:?}");

    an_alias_is_followed(&up, &mlflow, &logged).await;
}

/// What the ping source sends once a minute.
async fn tick(up: &Up, number: u32) {
    let id = format!("tick {number}").replace(' ', "%20");
    let headers =
        [("ce-specversion", "1.0"), ("ce-id", &*id), ("ce-source", "/e2e"), ("ce-type", "dev.knative.sources.ping")];
    let answer = up.post_to("load-model", "/tick", &headers).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
}

async fn an_alias_is_followed(up: &Up, mlflow: &MlflowServer, logged: &Value) {
    let client = record::client(&mlflow.uri());
    let loaded = load(up, json!({"name": FOLLOWED, "alias": "@champion", "reason": "the best one"})).await;
    assert_eq!(loaded.json["model_info"]["version"], "1", "the alias names it, not the newest: {loaded:?}");
    tick(up, 1).await;
    client.set_alias(FOLLOWED, "champion", 2).await.unwrap();
    tick(up, 2).await;
    up.served(FOLLOWED, "2").await;
    says_the_same(
        "the new champion",
        &up.predict(Some(FOLLOWED), &logged["rows"]).await,
        &logged["said"]["SklearnClassifier 2"],
    );
    // Back again, as people do who regret.
    client.set_alias(FOLLOWED, "champion", 1).await.unwrap();
    tick(up, 3).await;
    up.served(FOLLOWED, "1").await;
    // A rollback stays, wherever the alias is; so does a version asked for by its number.
    up.regrove(&["model", "rollback", FOLLOWED, "--reason", "scores are down"]).await.ok();
    up.served(FOLLOWED, "2").await;
    tick(up, 4).await;
    up.served(FOLLOWED, "2").await;
    let shown = up.regrove(&["model", "show", FOLLOWED, "--json"]).await.ok().json();
    let moves: Vec<_> = shown["switches"].as_array().unwrap().iter().map(|one| (&one["version"], &one["by"])).collect();
    let expected = json!([["1", "request"], ["1", "request"], ["2", "alias"], ["1", "alias"], ["2", "rollback"]]);
    assert_eq!(json!(moves), expected, "{shown}");
    let reasons: Vec<_> = shown["switches"].as_array().unwrap().iter().map(|one| one["reason"].clone()).collect();
    assert_eq!(reasons[1], "the best one");
    assert_eq!(reasons[2], "alias moved: `champion` was version 1 and is 2");
}
