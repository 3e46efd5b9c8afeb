//! Models are called as MLflow lets them be called.

use axum::body::Body;
use http::{Request, StatusCode};
use regrove_events::{CloudEvent, http_binding};
use serde_json::json;

use crate::stage::{Kind, Reply, Stage, model, pause};

const NAME: &str = "my model (v2) é?";
const PATH: &str = "my%20model%20(v2)%20%C3%A9%3F";

async fn send(stage: &Stage, name: &str) -> Reply {
    let event = CloudEvent::builder("17", "/me", "io.regrove.predict-requested").subject(name);
    let event = event.data("application/json", json!({"features": [[1.5, -2.0, 3.25]]}).to_string()).build().unwrap();
    let (headers, body) = http_binding::to_binary(&event).unwrap();
    let mut request = Request::post("/").body(Body::from(body)).unwrap();
    *request.headers_mut() = headers;
    stage.ask(request).await
}

#[tokio::test]
async fn a_name_of_mlflow_is_asked_for_by_every_protocol() {
    let stage = Stage::empty();
    stage.load(NAME, "1", model(Kind::Numbers, 1).0, None).await;
    let rows = json!({"features": [[1.5, -2.0, 3.25]]});
    let reply = stage.json(&format!("/models/{PATH}/predict"), &rows).await;
    assert_eq!(reply.json()["model_version"], "1", "{reply:?}");
    assert_eq!(stage.get(&format!("/models/{PATH}/info")).await.json()["model_info"]["name"], NAME);
    for path in [format!("/v2/models/{PATH}"), format!("/v2/models/{PATH}/versions/1")] {
        assert_eq!(stage.get(&path).await.json()["name"], NAME, "{path}");
        let tensor = json!({"name": "input", "shape": [1, 3], "datatype": "FP32", "data": [1.5, -2.0, 3.25]});
        let reply = stage.json(&format!("{path}/infer"), &json!({"inputs": [tensor]})).await;
        assert_eq!(reply.json()["model_name"], NAME, "{reply:?}");
    }
    let reply = send(&stage, NAME).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let event = http_binding::from_http(&reply.headers, reply.body.into()).unwrap();
    assert_eq!(event.subject(), Some(NAME));
    // News of it are followed as those of any other.
    stage.load(NAME, "2", model(Kind::Numbers, 2).0, None).await;
    while stage.json(&format!("/models/{PATH}/predict"), &rows).await.json()["model_version"] != "2" {
        pause().await;
    }
}

#[tokio::test]
async fn what_mlflow_does_not_take_names_no_model() {
    let (stage, _) = Stage::of(Kind::Numbers).await;
    let rows = json!({"features": [[1.5, -2.0, 3.25]]});
    for path in ["a%2Fb", "a%3Ab", "a%0Ab"] {
        stage.json(&format!("/models/{path}/predict"), &rows).await.is_problem(
            404,
            "model-not-found",
            "cannot name a model",
        );
    }
    send(&stage, "a/b").await.is_problem(422, "invalid-event-data", "cannot name a model");
}
