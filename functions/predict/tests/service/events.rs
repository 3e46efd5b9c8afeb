//! CloudEvents.

use axum::body::Body;
use http::{Request, StatusCode};
use regrove_events::{CloudEvent, CloudEventBuilder, Event, http_binding};
use serde_json::{Value, json};

use crate::stage::{Kind, NAME, Reply, Stage, outputs};

fn event(data: &Value) -> CloudEventBuilder {
    CloudEvent::builder("17", "/me", "io.regrove.predict-requested")
        .subject(NAME)
        .extension("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        .data("application/json", data.to_string())
}

pub(crate) async fn send(stage: &Stage, data: &Value) -> Reply {
    send_event(stage, event(data)).await
}

async fn send_event(stage: &Stage, event: CloudEventBuilder) -> Reply {
    let (headers, body) = http_binding::to_binary(&event.build().unwrap()).unwrap();
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
        (json!([[[1, 2, 3]]]), 422, "invalid-event-data"),
        (json!({"dataset": ["file:x.csv"]}), 422, "invalid-event-data"),
        (json!({"features": [["x"]]}), 422, "invalid-request"),
        (json!({"features": "x"}), 422, "invalid-event-data"),
        (json!({"features": [[1, 2, 3]], "columns": ["a", "b", "b"]}), 400, "wrong-columns"),
        (json!({"features": [[1, 2, 3]], "version": "9"}), 422, "version-not-loaded"),
        (json!({"features": [[1, 2, 3]], "dataset": {"uri": "file:x.csv"}}), 422, "invalid-request"),
        (json!({"dataset": {"uri": "nonsense"}}), 422, "dataset-unsupported"),
        (json!({"dataset": {"uri": "file:///nowhere/x.csv"}}), 422, "dataset-not-allowed"),
    ] {
        send(&stage, &data).await.is_problem(status, kind, "");
    }
    let plain = event(&json!({"features": [[1, 2, 3]]}));
    send_event(&stage, plain.clone().subject("a/b")).await.is_problem(422, "invalid-event-data", "a/b");
    let other = CloudEvent::builder("17", "/me", "com.example.unknown").subject(NAME).data("application/json", "{}");
    send_event(&stage, other).await.is_problem(400, "unknown-event-type", "com.example.unknown");
    for (path_only, status) in [(Request::post("/"), 400), (Request::get("/"), 405), (Request::put("/"), 405)] {
        let reply = stage.ask(path_only.body(Body::from("{}")).unwrap()).await;
        assert_eq!(reply.status.as_u16(), status, "{reply:?}");
    }
    // That a model is not loaded yet is the one thing that waiting mends.
    let absent = send_event(&stage, plain.subject("Absent")).await;
    absent.is_problem(503, "model-not-loaded", "no model is loaded as `Absent`");
}

/// Every fault has its own row and the place that its sender knows it by.
#[tokio::test]
async fn faults_name_the_rows_and_cells_as_they_were_sent() {
    let (stage, _) = Stage::of(Kind::Numbers).await;
    let places = |problem: &Value| -> Vec<(String, Value, Value)> {
        let place = |error: &Value| {
            (error["pointer"].as_str().unwrap().to_owned(), error["row"].clone(), error["column"].clone())
        };
        problem["errors"].as_array().unwrap().iter().map(place).collect()
    };
    let features = json!([[1], [1e39, 2, 3], [1, 2, 3, 4], [1, 2, 1e39]]);
    let problem = send(&stage, &json!({"features": features})).await;
    let problem = problem.is_problem(400, "wrong-feature-count", "row 0 has 1 features, the model expects 3");
    assert_eq!(
        places(&problem),
        [
            ("/data/features/0".to_owned(), json!(0), Value::Null),
            ("/data/features/1/0".to_owned(), json!(1), json!("a")),
            ("/data/features/2".to_owned(), json!(2), Value::Null),
            ("/data/features/3/2".to_owned(), json!(3), json!("c")),
        ]
    );
    let reversed =
        json!({"columns": ["c", "z", "b", "a"], "features": [[1, 1e39, 3, 4], [1e39, 2, 3, 1e39], [1, 2, 3]]});
    let problem = send(&stage, &reversed).await.is_problem(400, "number-too-large", "row 1, column `c`");
    assert_eq!(
        places(&problem),
        [
            ("/data/features/1/0".to_owned(), json!(1), json!("c")),
            ("/data/features/1/3".to_owned(), json!(1), json!("a")),
            ("/data/features/2".to_owned(), json!(2), Value::Null),
        ]
    );
    assert!(problem["errors"][2]["detail"].as_str().unwrap().contains("`columns` names 4"), "{problem}");
}
