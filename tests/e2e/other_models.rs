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
    let programs = ["Sklearn", "Xgboost", "Lightgbm"];
    let is_first = |name: &&String| programs.iter().any(|program| name.starts_with(program)) && !name.ends_with(" 2");
    let names: Vec<&String> = said.keys().filter(is_first).collect();
    assert_eq!(names.len(), 16, "{names:?}");
    for name in names {
        let loaded = load(&up, json!({"name": name, "version": 1})).await;
        assert_eq!(loaded.status, StatusCode::OK, "{name}: {loaded:?}");
        up.served(name, "1").await;
        let rows = if name.ends_with("Holes") { &logged["holes"] } else { &logged["rows"] };
        says_the_same(name, &up.predict(Some(name), rows).await, &said[name]);
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

    let several = load(&up, json!({"name": "SeveralTargets"})).await;
    assert_eq!(several.status, StatusCode::UNPROCESSABLE_ENTITY, "{several:?}");
    assert_eq!(several.json["type"], "urn:regrove:problem:model-unsupported");
    assert!(several.json["detail"].as_str().unwrap().contains("TreeEnsembleRegressor gives 2 numbers"), "{several:?}");

    any_name_of_mlflow_is_served(&up, &logged).await;
    an_alias_is_followed(&up, &mlflow, &logged).await;
}

/// A name that MLflow takes and paths do not, through everything that has a name in its path.
async fn any_name_of_mlflow_is_served(up: &Up, logged: &Value) {
    let (name, path) = ("my model (v2)", "my%20model%20%28v2%29");
    up.regrove(&["model", "load", name, "--actor", "ada", "--reason", "passed review"]).await.ok();
    up.served(name, "1").await;
    says_the_same(name, &up.predict(Some(name), &logged["rows"]).await, &logged["said"][name]);
    let row = &logged["rows"][0];
    let tensor = json!({"name": "input", "shape": [1, 5], "datatype": "FP32", "data": row});
    let body = json!({"inputs": [tensor]});
    for infer in [format!("/v2/models/{path}/infer"), format!("/v2/models/{path}/versions/1/infer")] {
        let answer = up.call("predict", Method::POST, &infer, Some(&body)).await;
        assert_eq!((answer.status, &answer.json["model_name"]), (StatusCode::OK, &json!(name)), "{answer:?}");
    }
    let predicted =
        up.regrove(&["predict", "--features", &json!([row]).to_string(), "--model", name, "--json"]).await.ok().json();
    assert_eq!(predicted["model_version"], "1", "{predicted}");
    let shown = up.regrove(&["model", "show", name, "--json"]).await.ok().json();
    let switch = &shown["switches"][0];
    assert_eq!((&switch["actor"], &switch["reason"]), (&json!("ada"), &json!("passed review")), "{shown}");
    for (nobodys, says) in [("a:b", "none of them `/`, `:`"), ("a/b", "none of them `/`, `:`")] {
        let refused = load(up, json!({"name": nobodys})).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{refused:?}");
        assert!(refused.json["detail"].as_str().unwrap().contains(says), "{refused:?}");
    }
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
    assert!(shown["switches"][4]["actor"].is_string(), "whoever runs the command: {shown}");
    let reasons: Vec<_> = shown["switches"].as_array().unwrap().iter().map(|one| one["reason"].clone()).collect();
    assert_eq!(reasons[1], "the best one");
    assert_eq!(reasons[2], "alias moved: `champion` was version 1 and is 2");
}
