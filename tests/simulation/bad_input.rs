//! What is wrong is said, with the right status, and leaves nothing half done.

use axum::Router;
use axum::body::{Body, to_bytes};
use http::{Request, StatusCode};
use regrove_events::event::{ModelRegistered, TrainRequested};
use regrove_events::{Artifact, CloudEvent, Event, JobState};
use regrove_mlflow::RunStatus;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::request;
use crate::world::{Weather, World, post};

async fn answer(function: &Router, request: Request<Body>) -> (StatusCode, http::HeaderMap, Value) {
    let response = function.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let json = serde_json::from_slice(&body).unwrap_or_else(|_| json!(String::from_utf8_lossy(&body)));
    (parts.status, parts.headers, json)
}

fn raw(path: &str, content_type: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path).header("content-type", content_type).body(body.into()).unwrap()
}

fn assert_problem(given: &(StatusCode, http::HeaderMap, Value), status: u16, kind: &str, says: &str) {
    assert_eq!(given.0.as_u16(), status, "{}", given.2);
    assert_eq!(given.1["content-type"], "application/problem+json");
    assert_eq!(given.2["type"], format!("urn:regrove:problem:{kind}"), "{}", given.2);
    assert_eq!(given.2["status"], status);
    let detail = given.2["detail"].as_str().unwrap();
    assert!(detail.contains(says), "`{detail}` does not say `{says}`");
}

#[tokio::test]
async fn what_is_no_event_of_ours_is_refused_by_every_function() {
    let world = World::new().await;
    for name in ["aggregate", "train-shard", "register", "load-model"] {
        let function = &world.functions[name];
        let structured = "application/cloudevents+json";
        let none = answer(function, raw("/", "application/json", "{}")).await;
        assert_problem(&none, 400, "not-a-cloudevent", "no ce- headers");
        let broken = answer(function, raw("/", structured, "{\"specversion\": ")).await;
        assert_problem(&broken, 400, "not-a-cloudevent", "not a JSON event");
        let unknown = CloudEvent::builder("1", "/test", "io.regrove.no-such-thing").subject("job-1").build().unwrap();
        let (headers, body) = regrove_events::http_binding::to_structured(&unknown);
        let mut event = Request::post("/").body(Body::from(body)).unwrap();
        *event.headers_mut() = headers;
        assert_problem(&answer(function, event).await, 400, "unknown-event-type", "io.regrove.no-such-thing");
        let large = answer(function, raw("/", structured, vec![b' '; (1 << 20) + 1])).await;
        assert_problem(&large, 413, "body-too-large", "REGROVE_BODY_BYTES_MAX");
        let get = answer(function, Request::get("/").body(Body::empty()).unwrap()).await;
        assert_problem(&get, 405, "method-not-allowed", "GET");
    }
}

/// A request that never becomes a job: refused by its schema, recorded as a failure through the dead letters.
#[tokio::test]
async fn a_request_of_the_wrong_shape_fails_its_job_and_leaves_no_run() {
    let mut world = World::new().await;
    let data = json!({"dataset": {"uri": 5}}).to_string();
    let event = CloudEvent::builder("1", "/test", "io.regrove.train-requested")
        .subject("job-1")
        .data("application/json", data)
        .build()
        .unwrap();
    world.emit(event);
    world.settle(Weather::Fair).await;
    let job = world.job("job-1").await;
    assert_eq!(job.state, JobState::Failed);
    let failure = job.failure.unwrap();
    assert_eq!(failure.problem, "invalid-event-data");
    assert!(failure.reason.contains("`dataset.uri`"), "{}", failure.reason);
    // aggregate and register both refused it.
    assert!(world.dead.iter().all(|(_, status, _)| *status == StatusCode::UNPROCESSABLE_ENTITY));
    assert!(world.record.client().experiment_by_name("simulation").await.is_err(), "nothing was registered");
}

#[tokio::test]
async fn a_job_that_cannot_be_trained_fails_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let csv = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        format!("file://{}", path.display())
    };
    let with_data = |uri: String| {
        let mut wish = request();
        wish.dataset.uri = uri;
        wish
    };
    let with_param = |name: &str, value: Value| {
        let mut wish = request();
        wish.params.insert(name.to_owned(), value);
        wish
    };
    let cases: Vec<(TrainRequested, &str, &str)> = vec![
        (with_data("file:///no/such/file.csv".into()), "dataset-not-found", "there is no such file"),
        (with_data("ftp://example.org/x.csv".into()), "dataset-unsupported", "scheme `ftp`"),
        (with_data("nonsense".into()), "dataset-unsupported", "not supported"),
        (with_data("synthetic:make_moons?n=1".into()), "dataset-invalid", "make_moons"),
        (with_data(csv("no-target.csv", "a,b\n1,2\n3,4\n")), "dataset-invalid", "`target`"),
        (with_data(csv("text.csv", "a,target\n1,0\nx,1\n")), "dataset-invalid", "row 2"),
        (with_data(csv("ragged.csv", "a,target\n1,0\n1\n")), "dataset-invalid", "row 2"),
        (with_data(csv("empty.csv", "a,target\n")), "dataset-invalid", "has no rows"),
        (with_data(csv("one-class.csv", "a,target\n1,0\n2,0\n3,0\n")), "one-class", "one class only (`0`)"),
        (with_param("n_estimators", 0.into()), "invalid-parameter", "n_estimators"),
        (with_param("n_estimators", "many".into()), "invalid-parameter", "n_estimators"),
        (with_param("no_such_parameter", 1.into()), "invalid-parameter", "no_such_parameter"),
        (TrainRequested { shards: 0, ..request() }, "invalid-parameter", "`shards` is 0, it must be in 1..=1024"),
        (TrainRequested { shards: 1025, ..request() }, "invalid-parameter", "`shards` is 1025"),
        (TrainRequested { test_size: 1.0, ..request() }, "invalid-parameter", "`test_size` is 1"),
    ];
    let mut world = World::new().await;
    for (number, (wish, kind, says)) in cases.into_iter().enumerate() {
        let id = format!("bad-{number}");
        world.request(&id, &wish);
        world.settle(Weather::Fair).await;
        let job = world.job(&id).await;
        assert_eq!(job.state, JobState::Failed, "{id} {kind}");
        let failure = job.failure.unwrap();
        assert_eq!(failure.problem, kind, "{}", failure.reason);
        assert!(failure.reason.contains(says), "`{}` does not say `{says}`", failure.reason);
        let runs = world.runs(&id).await;
        assert_eq!(runs.len(), 1);
        assert_eq!(runs[0].info.status, RunStatus::Failed);
        assert_eq!(runs[0].tag("regrove.failure"), Some(failure.reason.as_str()));
    }
    assert_eq!(world.versions("Simulated").await, 0);
    assert!(world.dead.is_empty(), "what ends a job is said in an event, not in a dead letter: {:?}", world.dead);
}

#[tokio::test]
async fn a_job_id_is_not_taken_twice_with_other_parameters() {
    let mut world = World::new().await;
    world.request("job-1", &request());
    world.settle(Weather::Fair).await;
    let before = world.job("job-1").await;
    let mut other = request();
    other.params.insert("max_depth".to_owned(), 3.into());
    let second = regrove_events::Event::TrainRequested(other);
    let at = "2026-11-23T09:00:00Z".parse().unwrap();
    world.emit(second.first("another-request", "/test", "job-1", at).unwrap());
    world.settle(Weather::Fair).await;
    assert_eq!(world.job("job-1").await, before);
    assert_eq!(world.dead.len(), 1);
    let (_, status, problem) = &world.dead[0];
    assert_eq!(status.as_u16(), 422);
    assert_eq!(problem["type"], "urn:regrove:problem:job-id-taken");
    assert_eq!(world.runs("job-1").await.len(), 1);
}

#[tokio::test]
async fn predict_says_what_is_wrong_with_a_request() {
    let mut world = World::new().await;
    let json = "application/json";
    let row = |n: usize| vec![1.0; n];
    let body = |features: Value| json!({"features": features}).to_string();

    let early = answer(&world.functions["predict"], raw("/predict", json, body(json!([row(8)])))).await;
    assert_problem(&early, 503, "model-not-loaded", "no model is loaded as `Simulated`");
    assert_eq!(early.1["retry-after"], "1");

    world.request("job-1", &request());
    world.settle(Weather::Fair).await;
    let predict = world.functions["predict"].clone();
    // The switch reaches the replica through the log, within moments.
    loop {
        let (status, ..) = answer(&predict, raw("/predict", json, body(json!([row(8)])))).await;
        if status == StatusCode::OK {
            break;
        }
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        tokio::task::yield_now().await;
    }
    let cases = [
        (json!([row(7)]), 400, "wrong-feature-count", "row 0 has 7 features, the model expects 8"),
        (json!([row(8), row(9)]), 400, "wrong-feature-count", "row 1 has 9 features"),
        (json!([[]]), 400, "wrong-feature-count", "row 0 has 0 features"),
        (json!([]), 400, "no-rows", "there are no rows"),
        (json!([[1e300, 1, 1, 1, 1, 1, 1, 1]]), 400, "number-too-large", "row 0, column `x0`: 1e300 is beyond float32"),
        (json!(row(8)), 422, "invalid-request", "`/features/0` is a number, expected a list of numbers"),
        (json!("abc"), 422, "invalid-request", "`/features` is a string, expected a list of rows"),
        (
            json!([["1", 1, 1, 1, 1, 1, 1, 1]]),
            422,
            "invalid-request",
            "`/features/0/0` is a string, expected a number or null",
        ),
        (json!(null), 422, "invalid-request", "null"),
    ];
    for (features, status, kind, says) in cases {
        let given = answer(&predict, raw("/predict", json, body(features))).await;
        assert_problem(&given, status, kind, says);
        assert!(given.2["pointer"].as_str().unwrap().starts_with("/features"), "{}", given.2);
    }
    for text in ["", "{", "{\"features\": [[NaN, 1, 1, 1, 1, 1, 1, 1]]}", "[1]", "{}", "{\"features\": [[1]]} x"] {
        let given = answer(&predict, raw("/predict", json, text.to_owned())).await;
        assert_problem(&given, 422, "invalid-request", "");
    }
    let form = answer(&predict, raw("/predict", "text/plain", body(json!([row(8)])))).await;
    assert_problem(&form, 422, "invalid-request", "Content-Type");
    let get = answer(&predict, Request::get("/predict").body(Body::empty()).unwrap()).await;
    assert_problem(&get, 405, "method-not-allowed", "GET");
    let elsewhere = answer(&predict, Request::get("/nothing").body(Body::empty()).unwrap()).await;
    assert_problem(&elsewhere, 404, "no-such-path", "/nothing");
    // A missing value is no mistake: it goes the way that scikit-learn sends it.
    let missing = answer(&predict, raw("/predict", json, body(json!([[null, 1, 1, 1, 1, 1, 1, 1]])))).await;
    assert_eq!(missing.0, StatusCode::OK, "{}", missing.2);
}

#[tokio::test]
async fn load_model_says_what_is_wrong_with_a_request() {
    let mut world = World::new().await;
    world.request("job-1", &request());
    world.settle(Weather::Fair).await;
    let load = world.functions["load-model"].clone();
    let ask = |body: Value| raw("/model/load", "application/json", body.to_string());
    let cases = [
        (json!({"name": "Nobody"}), 404, "model-not-found"),
        (json!({"version": 7}), 404, "model-not-found"),
        (json!({"alias": "nobody"}), 404, "model-not-found"),
    ];
    // A broker would ask again for what is not found.
    let registered = ModelRegistered {
        job: "job-1".to_owned(),
        name: "Nobody".to_owned(),
        version: "7".to_owned(),
        uri: "models:/Nobody/7".to_owned(),
        run_id: "0".repeat(32),
        model: Artifact { sha256: "0".repeat(64), bytes: 1 },
        alias: None,
    };
    let at = "2026-11-28T08:00:00Z".parse().unwrap();
    let event = Event::ModelRegistered(registered).first("nobody/7", "/test", "job-1", at).unwrap();
    assert_eq!(post(&load, "/", &event).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
    for (body, status, kind) in cases {
        assert_problem(&answer(&load, ask(body)).await, status, kind, "");
    }
    let shapes = [
        ("load", json!({"version": "x"}), "/version", "whole number or `latest`"),
        ("load", json!({"version": [1]}), "/version", "whole number or `latest`"),
        ("load", json!({"version": 1, "alias": "champion"}), "", "exclude each other"),
        ("load", json!([1]), "", "expected an object"),
        ("load", json!({"name": "a/b"}), "/name", "none of them `/`, `:`"),
        (
            "load",
            json!({"verison": 2}),
            "/verison",
            "unknown field `verison`, expected one of `name`, `version`, `alias`",
        ),
        (
            "rollback",
            json!({"reson": "x"}),
            "/reson",
            "unknown field `reson`, expected one of `name`, `actor`, `reason`",
        ),
        ("rollback", json!({"reason": "x".repeat(1001)}), "/reason", "1000 characters"),
        ("traffic", json!({"canary": {"version": 1, "percent": 101}}), "/canary/percent", "1 to 100"),
        ("traffic", json!({"canary": {"version": 1, "percent": "all"}}), "/canary/percent", "expected u8"),
        ("traffic", json!({"shadow": {"version": "one"}}), "/shadow/version", "whole number"),
        ("traffic", json!({"canaries": []}), "/canaries", "unknown field"),
    ];
    for (what, body, pointer, says) in shapes {
        let path = format!("/model/{what}");
        let refused = answer(&load, raw(&path, "application/json", body.to_string())).await;
        assert_problem(&refused, 422, "invalid-request", says);
        assert_eq!(refused.2["pointer"], pointer, "{body}");
    }
    // What a page of another site can make a browser send.
    for other in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        for path in ["/model/load", "/model/rollback", "/model/traffic"] {
            let refused = answer(&load, raw(path, other, "{}".to_owned())).await;
            assert_problem(&refused, 415, "unsupported-media-type", "application/json");
        }
    }
    for body in [json!({}), json!({"version": "1"}), json!({"alias": "champion"}), json!({"version": "latest"})] {
        let (status, _, reply) = answer(&load, ask(body)).await;
        assert_eq!(status, StatusCode::OK, "{reply}");
        assert_eq!(reply["model_loaded"], true);
        assert_eq!(reply["model_info"]["version"], "1");
        assert_eq!(reply["model_info"]["name"], "Simulated");
        assert_eq!(reply["model_info"]["stage"], "None");
        assert!(reply["model_info"]["creation_timestamp"].is_i64());
        assert!(reply["mlflow_uri"].as_str().unwrap().starts_with("http://127.0.0.1"));
    }
    let (status, _, info) =
        answer(&world.functions["predict"], Request::get("/model/info").body(Body::empty()).unwrap()).await;
    assert_eq!((status, &info["model_info"]["version"]), (StatusCode::OK, &json!("1")));
}

/// A shard request that no shard of the job matches is ignored, not trained.
#[tokio::test]
async fn a_stray_shard_request_does_nothing() {
    let world = World::new().await;
    let stray = regrove_events::CloudEvent::builder("x", "/test", "io.regrove.shard-requested")
        .subject("job-1")
        .data(
            "application/json",
            json!({"shard": 0, "of": 1, "trees": {"from": 0, "to": 1}, "params": {}, "test_size": 0, "attempt": 1,
                "dataset": {"name": "x", "uri": "x", "target": "t", "frame": {"sha256": "0".repeat(64), "bytes": 1},
                    "n_samples": 1, "feature_names": ["a"], "classes": [0, 1]}})
            .to_string(),
        )
        .build()
        .unwrap();
    let response = post(&world.functions["train-shard"], "/", &stray).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    assert_eq!(world.control.log.head().await.unwrap(), 0);
}
