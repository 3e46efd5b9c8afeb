//! From an event to a prediction, over HTTP only, as somebody without our command does it.

use http::{Method, StatusCode};
use rand_mt::Mt;
use regrove_events::JobState;
use regrove_mlflow::{Run, RunStatus};
use regrove_test_support::{MlflowServer, RedisServer};
use serde_json::{Value, json};

use crate::jobs::{DEFAULT_MODEL, REFERENCE_DATA, REFERENCE_PROBABILITIES, one_to_twenty, reference, small};
use crate::polling::until;
use crate::up::{Answer, Up, UpOptions};
use crate::{python, record};

/// Rows that Python and `/predict` are asked about.
const ROWS: usize = 200;
/// How far their probabilities may be apart: ONNX holds float32.
const TOLERANCE: f64 = 1e-6;

#[track_caller]
fn assert_problem(answer: &Answer, status: StatusCode, kind: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.headers["content-type"], "application/problem+json", "{answer:?}");
    assert_eq!(answer.json["type"], format!("urn:regrove:problem:{kind}"), "{answer:?}");
}

#[track_caller]
fn assert_keys(value: &Value, keys: &[&str]) {
    let object = value.as_object().unwrap_or_else(|| panic!("{value}"));
    for key in keys {
        assert!(object.contains_key(*key), "`{key}` is missing: {value}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_in_http_go_in_and_predictions_come_out() {
    let up = Up::start(UpOptions::default());
    let row = json!([one_to_twenty()]);
    let early = up.predict(None, &row).await;
    assert_problem(&early, StatusCode::SERVICE_UNAVAILABLE, "model-not-loaded");
    assert_eq!(early.headers["retry-after"], "1");
    let none = up.call("load-model", Method::POST, "/model/load", Some(&json!({}))).await;
    assert_problem(&none, StatusCode::NOT_FOUND, "model-not-found");

    binary_mode(&up).await;
    up.served(DEFAULT_MODEL, "1").await;
    let answer = up.predict(None, &row).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_keys(&answer.json, &["predictions", "probabilities", "model_version", "timestamp"]);
    assert_eq!(answer.json["predictions"], json!([1]));
    assert_eq!(answer.json["probabilities"], json!([REFERENCE_PROBABILITIES]));
    assert_eq!(answer.json["model_version"], "1");

    structured_mode(&up).await;
    up.served("Structured", "1").await;
    reference_shapes(&up).await;
    same_answers_from_python(&up, DEFAULT_MODEL).await;
}

/// `curl -H 'ce-…'`: what is not plain ASCII in a header is percent-encoded.
async fn binary_mode(up: &Up) {
    let wish = serde_json::to_string(&reference(DEFAULT_MODEL)).unwrap();
    let headers = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "r%C3%A9f%C3%A9rence%201"),
        ("ce-source", "/e2e/%C3%BCber"),
        ("ce-type", "io.regrove.train-requested"),
        ("ce-subject", "by-headers"),
        ("ce-note", "Euro%20%E2%82%AC%20%F0%9F%98%80%20100%25"),
        ("ce-traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ];
    let accepted = up.post_event(&headers, wish).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED, "{accepted:?}");
    let job = up.job_end("by-headers").await;
    assert_eq!(job.state, JobState::Succeeded, "{:?}", job.failure);

    let tail = up.regrove(&["event", "tail", "--subject", "by-headers", "--json"]).await.ok().json_lines();
    let first = &tail[0]["event"];
    assert_eq!(first["id"], "référence 1");
    assert_eq!(first["source"], "/e2e/über");
    assert_eq!(first["note"], "Euro € 😀 100%");
    // The whole job belongs to the caller's trace.
    for entry in &tail {
        let trace = entry["event"]["traceparent"].as_str().unwrap_or_default();
        assert!(trace.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{entry}");
    }
}

/// `curl -H 'content-type: application/cloudevents+json'`: the event is the body.
async fn structured_mode(up: &Up) {
    let event = json!({
        "specversion": "1.0",
        "id": "structured 1 – €",
        "source": "/e2e",
        "type": "io.regrove.train-requested",
        "subject": "by-body",
        "datacontenttype": "application/json",
        "data": small("Structured", 1),
    });
    let headers = [("content-type", "application/cloudevents+json; charset=utf-8")];
    let accepted = up.post_event(&headers, event.to_string()).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED, "{accepted:?}");
    let job = up.job_end("by-body").await;
    assert_eq!(job.state, JobState::Succeeded, "{:?}", job.failure);
    assert_eq!(job.request_id.as_deref(), Some("structured 1 – €"));
    // What is no event is refused at the door.
    for (headers, body) in [
        (&[("content-type", "application/json")][..], "{}"),
        (&[("content-type", "application/cloudevents+json")][..], "{\"specversion\": \"1.0\""),
    ] {
        let refused = up.post_event(headers, body).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{body}");
    }
}

/// The answers of the reference stack, member by member.
async fn reference_shapes(up: &Up) {
    let load = async |body: Value| up.call("load-model", Method::POST, "/model/load", Some(&body)).await;
    for body in [json!({}), json!({"name": DEFAULT_MODEL, "version": "1"}), json!({"version": 1})] {
        let answer = load(body).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_keys(&answer.json, &["model_loaded", "model_info", "mlflow_uri", "timestamp"]);
        let info = &answer.json["model_info"];
        assert_keys(info, &["name", "version", "stage", "description", "creation_timestamp"]);
        assert_eq!((&info["name"], &info["version"]), (&json!(DEFAULT_MODEL), &json!("1")));
        assert_eq!(answer.json["mlflow_uri"], up.tracking_uri());
    }
    assert_problem(&load(json!({"version": 99})).await, StatusCode::NOT_FOUND, "model-not-found");
    assert_problem(&load(json!({"alias": "nobody"})).await, StatusCode::NOT_FOUND, "model-not-found");
    assert_problem(&load(json!({"name": "Nobody"})).await, StatusCode::NOT_FOUND, "model-not-found");

    let info = up.call("predict", Method::GET, "/model/info", None).await;
    assert_eq!(info.status, StatusCode::OK, "{info:?}");
    assert_eq!(info.json["model_loaded"], true);
    assert_keys(&info.json["model_info"], &["name", "version", "stage", "description", "creation_timestamp"]);

    for row in [vec![1.0; 19], vec![1.0; 21]] {
        let answer = up.predict(None, &json!([row])).await;
        assert_problem(&answer, StatusCode::BAD_REQUEST, "wrong-feature-count");
    }
    assert_problem(&up.predict(None, &json!([])).await, StatusCode::BAD_REQUEST, "no-rows");
    let nobody = up.predict(Some("Nobody"), &json!([one_to_twenty()])).await;
    assert_problem(&nobody, StatusCode::SERVICE_UNAVAILABLE, "model-not-loaded");
    // Functions that only brokers call cannot be reached from outside.
    assert_eq!(up.call("aggregate", Method::POST, "/", None).await.status, StatusCode::NOT_FOUND);
}

/// `mlflow.pyfunc.load_model("models:/…/1").predict(df)` and our `/predict` say the same.
async fn same_answers_from_python(up: &Up, model: &str) {
    let mut luck = Mt::new(7);
    let rows: Vec<Vec<f64>> = (0..ROWS)
        .map(|_| (0..20).map(|_| f64::from(luck.next_u32()) / f64::from(u32::MAX) * 12.0 - 6.0).collect())
        .collect();
    let file = up.folder().join("rows.json");
    std::fs::write(&file, serde_json::to_string(&rows).unwrap()).unwrap();
    let ours = up.predict(Some(model), &json!(rows)).await.json;
    let uri = format!("models:/{model}/1");
    let theirs = python::run("load_and_predict.py", &[&up.tracking_uri(), &uri, file.to_str().unwrap()]).await;
    assert_eq!(theirs["modules"], json!([]), "the script has something of ours");
    assert_eq!(theirs["classes"], json!(["0", "1"]));
    assert_eq!(theirs["labels"], ours["predictions"]);
    assert_eq!(ours["predictions"].as_array().unwrap().len(), ROWS);
    let distinct: std::collections::BTreeSet<i64> =
        ours["predictions"].as_array().unwrap().iter().map(|label| label.as_i64().unwrap()).collect();
    assert_eq!(distinct.len(), 2, "rows of one class show little");
    let numbers = |value: &Value| -> Vec<Vec<f64>> { serde_json::from_value(value["probabilities"].clone()).unwrap() };
    for (row, (left, right)) in numbers(&ours).iter().zip(numbers(&theirs)).enumerate() {
        assert_eq!(left.len(), right.len());
        for (left, right) in left.iter().zip(right) {
            assert!((left - right).abs() <= TOLERANCE, "row {row}: {left} and {right}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_redis_and_a_real_mlflow_keep_what_the_reference_job_says() {
    let redis = RedisServer::start().unwrap();
    let mlflow = MlflowServer::start().unwrap();
    let up = Up::start(UpOptions { redis: Some(redis.url()), mlflow: Some(mlflow.uri()), ..UpOptions::default() });
    let mut wish = reference(DEFAULT_MODEL);
    wish.model.alias = Some("champion".to_owned());
    up.request("reference", &wish).await;
    let job = up.job_end("reference").await;
    assert_eq!(job.state, JobState::Succeeded, "{:?}", job.failure);
    let registered = job.registered.unwrap();
    up.served(DEFAULT_MODEL, "1").await;

    let runs = record::runs(&mlflow.uri(), "reference").await;
    assert_eq!(runs.len(), 1);
    let run = &runs[0];
    assert_eq!(run.info.run_id, registered.run_id);
    assert_eq!(run.info.status, RunStatus::Finished);
    check_run(run, &job.dataset.unwrap().frame.sha256);
    let versions = record::versions(&mlflow.uri(), DEFAULT_MODEL).await;
    assert_eq!(versions.len(), 1);
    assert_eq!((versions[0].version, &versions[0].run_id), (1, &run.info.run_id));
    assert_eq!(versions[0].tag("regrove.sha256"), Some(registered.model.sha256.as_str()));
    let champion = record::client(&mlflow.uri()).version_by_alias(DEFAULT_MODEL, "champion").await.unwrap();
    assert_eq!(champion.version, 1);
    let loaded = up.call("load-model", Method::POST, "/model/load", Some(&json!({"alias": "champion"}))).await;
    assert_eq!(loaded.json["mlflow_uri"], mlflow.uri(), "{loaded:?}");

    let answer = up.predict(None, &json!([one_to_twenty()])).await;
    assert_eq!(answer.json["probabilities"], json!([REFERENCE_PROBABILITIES]), "{answer:?}");
    same_answers_from_python(&up, DEFAULT_MODEL).await;
    // The embedded stores are not touched when others are configured.
    assert!(!up.home().join("control.db").exists() && !up.home().join("record").exists());
}

fn check_run(run: &Run, frame_sha256: &str) {
    let params = [
        ("width", "75"),
        ("height", "30"),
        ("steps", "200"),
        ("n_estimators", "75"),
        ("max_depth", "30"),
        ("max_features", "0.7"),
        ("n_samples", "2500"),
        ("model_type", "RandomForestClassifier"),
        ("random_state", "42"),
        ("criterion", "gini"),
    ];
    for (name, value) in params {
        assert_eq!(run.param(name), Some(value), "{name}: {:?}", run.data.params);
    }
    let loss = 1.0 / (0.1 + 75.0 * 199.0 / 100.0) + 30.0 * 0.1;
    let logged = run.metric("final_loss").unwrap();
    assert!((logged - loss).abs() < 1e-12, "final_loss {logged}, expected {loss}");
    assert_eq!(run.metric("accuracy"), Some(1.0));
    for name in ["holdout_accuracy", "oob_accuracy"] {
        let value = run.metric(name).unwrap_or_else(|| panic!("{name}: {:?}", run.data.metrics));
        assert!((0.85..1.0).contains(&value), "{name} {value}");
    }
    assert_eq!(run.metric("shards_trained"), Some(4.0));
    assert_eq!(run.metric("trees_trained"), Some(75.0));
    assert_eq!(run.inputs.dataset_inputs.len(), 1, "{:?}", run.inputs);
    let dataset = &run.inputs.dataset_inputs[0].dataset;
    assert_eq!(dataset.name, "make_classification");
    assert!(!dataset.digest.is_empty() && frame_sha256.starts_with(&dataset.digest), "{}", dataset.digest);
    assert!(dataset.source.contains(REFERENCE_DATA), "{}", dataset.source);
    assert_eq!(run.outputs.model_outputs.len(), 1, "{:?}", run.outputs);
}

/// A failure is said where a person looks for it: in the job, and in MLflow.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_cannot_be_says_why_and_registers_nothing() {
    let up = Up::start(UpOptions::default());
    let file = up.folder().join("bad cells.csv");
    std::fs::write(&file, "a,b,target\n1,2,0\n3,oops,1\n5,6,0\n").unwrap();
    let mut wish = small("Never", 1);
    wish.dataset.uri = format!("file://{}", file.display()).replace(' ', "%20");
    up.request("hopeless", &wish).await;
    let job = up.job_end("hopeless").await;
    assert_eq!(job.state, JobState::Failed);
    let failure = job.failure.unwrap();
    for word in ["row 2", "`b`", "oops"] {
        assert!(failure.reason.contains(word), "{}", failure.reason);
    }
    let uri = up.tracking_uri();
    let run = until("the run has failed", async || {
        let runs = record::runs(&uri, "hopeless").await;
        runs.into_iter().find(|run| run.info.status == RunStatus::Failed)
    })
    .await;
    assert_eq!(run.tag("regrove.failure"), Some(failure.reason.as_str()));
    assert!(record::versions(&uri, "Never").await.is_empty());

    // What is no train request at all ends in a dead letter that fails its job.
    let headers = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/e2e"),
        ("ce-type", "io.regrove.train-requested"),
        ("ce-subject", "shapeless"),
    ];
    up.post_event(&headers, "{\"dataset\": 5}").await;
    let job = up.job_end("shapeless").await;
    assert_eq!(job.failure.unwrap().problem, "invalid-event-data");
    let large = up.post_event(&headers, vec![b' '; (1 << 20) + 1]).await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    // The loop goes on afterwards.
    up.request("fine", &small("Fine", 1)).await;
    assert_eq!(up.job_end("fine").await.state, JobState::Succeeded);
}

/// A job's id belongs to its first request. What comes later under it is kept as a dead letter, with the reason.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_taken_is_a_dead_letter() {
    let up = Up::start(UpOptions::default());
    up.request("taken", &small("Taken", 1)).await;
    let before = up.job_end("taken").await;
    up.request("taken", &small("Taken", 2)).await;
    let dead = async |count: usize| {
        until("the dead letter", async || {
            let letters = up.regrove(&["event", "dead", "--json"]).await.ok().json();
            let letters = letters.as_array().unwrap().clone();
            (up.reported("event-dead", None).len() == count && letters.len() == 1).then(|| letters[0].clone())
        })
        .await
    };
    let letter = dead(1).await;
    assert_eq!((&letter["trigger"], &letter["code"]), (&json!("regrove/aggregate"), &json!(422)));
    assert_eq!(letter["event"]["id"], "taken/request");
    assert!(letter["event"]["data"]["params"]["random_state"] == 2, "{letter}");
    // Sent again it fares no better, and is not lost either.
    let number = letter["id"].to_string();
    assert_eq!(up.regrove(&["event", "redrive", &number, "--json"]).await.ok().json()["redriven"], 1);
    let again = dead(2).await;
    assert!(again["id"].as_i64() > letter["id"].as_i64(), "{again}");
    assert_eq!(again["event"], letter["event"]);
    assert_eq!(up.job("taken").await.unwrap(), before);
    assert_eq!(record::versions(&up.tracking_uri(), "Taken").await.len(), 1);
}
