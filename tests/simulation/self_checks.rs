//! What replicas would refuse, `load-model` does not load.

use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode};
use regrove_events::log::{job_stream, serving_stream};
use regrove_events::{CloudEvent, Event};
use regrove_host::{Emitter, HostArgs, with_defaults};
use regrove_load_model::{Ports, router};
use regrove_store::Control;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::request;
use crate::world::{Weather, World};

/// A job's history in which the forest said something else of its example.
fn with_another_output(history: &[CloudEvent]) -> Vec<CloudEvent> {
    let changed = |event: &CloudEvent| {
        let Ok(Event::ModelAggregated(mut aggregated)) = Event::read(event) else { return event.clone() };
        aggregated.output_example.as_mut().unwrap()[1] += 0.5;
        Event::ModelAggregated(aggregated).first(event.id(), "/test", "job-1", event.time().unwrap()).unwrap()
    };
    history.iter().map(changed).collect()
}

/// `load-model` of a world with another log.
fn load_model(world: &World, control: &Control) -> Router {
    let ports = Ports {
        control: control.clone(),
        emitter: Emitter::new(None),
        record: world.record.clone(),
        model_name: "Simulated".to_owned(),
    };
    with_defaults(&HostArgs::default(), router(ports))
}

async fn ask(load_model: &Router, path: &str, wish: &Value) -> (StatusCode, Value) {
    let request = Request::post(path).header("content-type", "application/json");
    let answer = load_model.clone().oneshot(request.body(Body::from(wish.to_string())).unwrap()).await.unwrap();
    let status = answer.status();
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

#[track_caller]
fn is_refused((status, problem): &(StatusCode, Value)) {
    assert_eq!(*status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    assert_eq!(problem["type"], "urn:regrove:problem:self-check-failed", "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    for says in
        ["Simulated version 1 is not served", "of the recorded example as probability of `1`, at training it said"]
    {
        assert!(detail.contains(says), "{detail}");
    }
}

#[tokio::test]
async fn a_version_that_does_not_say_what_it_said_at_training_is_not_loaded() {
    let mut world = World::new().await;
    world.request("job-1", &request());
    world.settle(Weather::Fair).await;
    let history = world.control.log.read(&job_stream("job-1"), 0).await.unwrap();
    let home = tempfile::tempdir().unwrap();
    let control = Control::embedded(home.path());
    control.log.append(&job_stream("job-1"), 0, &with_another_output(&history)).await.unwrap();

    let load_model = load_model(&world, &control);
    is_refused(&ask(&load_model, "/model/load", &json!({"version": 1})).await);
    assert_eq!(control.log.read(&serving_stream("Simulated"), 0).await.unwrap(), [], "the pointer stays");

    // A pointer that moved when nobody looked does not come back to it either.
    let mut loaded = world.serving("Simulated").await.current.unwrap();
    loaded.example.as_mut().unwrap().output[1] += 0.5;
    for artifact in [&loaded.model, loaded.serving.as_ref().unwrap()] {
        control.artifacts.put(world.control.artifacts.get(artifact).await.unwrap()).await.unwrap();
    }
    let at = "2026-11-27T08:00:00Z".parse().unwrap();
    for version in ["1", "2"] {
        loaded.version = version.to_owned();
        let event = Event::ModelLoaded(loaded.clone()).first(version, "/test", "Simulated", at).unwrap();
        let length = control.log.read(&serving_stream("Simulated"), 0).await.unwrap().len();
        control.log.append(&serving_stream("Simulated"), length as u64, &[event]).await.unwrap();
    }
    is_refused(&ask(&load_model, "/model/rollback", &json!({})).await);
    is_refused(&ask(&load_model, "/model/traffic", &json!({"shadow": {"version": 1}})).await);
    assert_eq!(control.log.read(&serving_stream("Simulated"), 0).await.unwrap().len(), 2, "the pointer stays");
}
