//! Who moves a serving pointer and why is in the log, and so is the trace in which they did.

use axum::body::Body;
use http::{Request, StatusCode};
use regrove_events::CloudEvent;
use regrove_events::log::serving_stream;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::request;
use crate::world::{Weather, World};

/// What the last event of the pointer's log says, and the trace that it belongs to.
async fn last(world: &World) -> (String, Value, Option<String>) {
    let event: CloudEvent = world.control.log.read(&serving_stream("Simulated"), 0).await.unwrap().pop().unwrap();
    let trace = event.extension("traceparent").map(ToString::to_string);
    (event.ty().to_owned(), serde_json::from_slice(event.data().unwrap()).unwrap(), trace)
}

#[tokio::test]
async fn every_switch_says_who_and_why_and_stays_in_its_trace() {
    let mut world = World::new().await;
    for job in ["job-1", "job-2"] {
        let mut wish = request();
        wish.params.insert("random_state".to_owned(), json!(job.len() + usize::from(job == "job-2")));
        world.request(job, &wish);
        world.settle(Weather::Fair).await;
    }
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
        assert_eq!(said, ty, "{path}");
        assert_eq!((&data["actor"], &data["reason"]), (&json!("ada"), &json!("the new one is slower")), "{path}");
        assert_eq!(trace, Some(parent), "{path}");
    }
}
