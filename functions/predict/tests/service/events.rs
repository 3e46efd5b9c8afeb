//! CloudEvents.

use axum::body::Body;
use http::{Request, StatusCode};
use regrove_events::{CloudEvent, Event, http_binding};
use serde_json::{Value, json};

use crate::stage::{Kind, NAME, Reply, Stage, outputs};

async fn send(stage: &Stage, data: &Value) -> Reply {
    let event = CloudEvent::builder("17", "/me", "io.regrove.predict-requested").subject(NAME);
    let event = event.extension("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let event = event.data("application/json", data.to_string()).build().unwrap();
    let (headers, body) = http_binding::to_binary(&event).unwrap();
    let mut request = Request::post("/").body(Body::from(body)).unwrap();
    *request.headers_mut() = headers;
    stage.ask(request).await
}

#[tokio::test]
async fn a_wish_is_answered_with_what_came_of_it() {
    let (stage, model) = Stage::of(Kind::Numbers).await;
    let reply = send(&stage, &json!({"columns": ["c", "a", "b"], "features": [[3.25, 1.5, null]]})).await;
    assert_eq!(reply.status, StatusCode::OK);
    let event = http_binding::from_http(&reply.headers, reply.body.into()).unwrap();
    assert_eq!(
        (event.ty(), event.id(), event.subject()),
        ("io.regrove.predict-completed", "/me#17/predictions", Some(NAME))
    );
    assert_eq!(event.extension("causationid").unwrap().to_string(), "17");
    assert!(event.extension("traceparent").is_some());
    let Event::PredictCompleted(completed) = Event::read(&event).unwrap() else { panic!("another event") };
    let expected = outputs(&model, &[[1.5, f32::NAN, 3.25]]);
    assert_eq!((completed.n_rows, completed.version.as_str()), (1, "1"));
    assert_eq!(completed.probabilities.unwrap().concat(), expected);
}

#[tokio::test]
async fn wishes_that_cannot_be_answered_are_refused_for_good() {
    let (stage, _) = Stage::of(Kind::Numbers).await;
    for (data, status, kind) in [
        (json!({"features": [[1, 2]]}), 400, "wrong-feature-count"),
        (json!({"features": []}), 400, "no-rows"),
        (json!({}), 422, "invalid-request"),
        (json!({"features": [["x"]]}), 422, "invalid-event-data"),
        (json!({"features": [[1, 2, 3]], "columns": ["a", "b", "b"]}), 400, "wrong-columns"),
    ] {
        send(&stage, &data).await.is_problem(status, kind, "");
    }
}
