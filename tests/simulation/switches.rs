//! Who moves a serving pointer and why is in the log, and so is the trace in which they did.

use axum::body::Body;
use http::{Request, StatusCode};
use regrove_events::CloudEvent;
use regrove_events::log::serving_stream;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::world::World;

/// What the last event of the pointer's log says, and the trace that it belongs to.
async fn last(world: &World) -> (CloudEvent, Value, Option<String>) {
    let event: CloudEvent = world.control.log.read(&serving_stream("Simulated"), 0).await.unwrap().pop().unwrap();
    let trace = event.extension("traceparent").map(ToString::to_string);
    let data = serde_json::from_slice(event.data().unwrap()).unwrap();
    (event, data, trace)
}

/// Two versions.
async fn world() -> World {
    let mut world = World::new().await;
    world.train("job-1", 5).await;
    world.train("job-2", 6).await;
    world
}

#[tokio::test]
async fn every_switch_says_who_and_why_and_stays_in_its_trace() {
    let world = world().await;
    let who = |mut body: Value| {
        body["actor"] = json!("ada");
        body["reason"] = json!("the new one is slower");
        body
    };
    for (at, (path, body, ty)) in [
        ("/model/load", json!({"version": 1}), "io.regrove.model-loaded"),
        ("/model/traffic", json!({"canary": {"version": 2, "percent": 5}}), "io.regrove.traffic-changed"),
        ("/model/rollback", json!({}), "io.regrove.model-loaded"),
    ]
    .into_iter()
    .enumerate()
    {
        let parent = format!("00-4bf92f3577b34da6a3ce929d0e0e473{at}-00f067aa0ba902b7-01");
        let request = Request::post(path).header("content-type", "application/json").header("traceparent", &parent);
        let request = request.body(Body::from(who(body).to_string())).unwrap();
        let answer = world.functions["load-model"].clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let (said, data, trace) = last(&world).await;
        assert_eq!(said.ty(), ty, "{path}");
        assert_eq!((&data["actor"], &data["reason"]), (&json!("ada"), &json!("the new one is slower")), "{path}");
        assert_eq!(trace, Some(parent), "{path}");
    }
}

/// Every order is a cause of its own: asking for the same again is not the same, nor is going back to it.
#[tokio::test]
async fn causes_can_be_told_apart_and_say_what_was_asked() {
    let world = world().await;
    let mut causes = Vec::new();
    for (path, body, reason) in [
        ("load", json!({"version": 1}), "asked for version 1"),
        ("load", json!({}), "asked for the latest version"),
        ("load", json!({"version": 1}), "asked for version 1"),
        ("load", json!({"alias": "champion"}), "asked for the alias `champion`"),
        ("rollback", json!({}), "asked for the version before"),
        ("traffic", json!({"canary": {"version": 2, "percent": 5}}), "asked for a canary"),
        ("traffic", json!({}), "asked for the served version alone"),
    ] {
        let (status, answer) = world.ask(&format!("/model/{path}"), &body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let (said, data, _) = last(&world).await;
        assert_eq!(data["reason"], reason);
        let cause = said.extension("causationid").unwrap().to_string();
        assert!(cause.starts_with(&format!("Simulated/{path}/")), "{cause}");
        assert!(!causes.contains(&cause), "{cause} twice");
        causes.push(cause);
    }
}
