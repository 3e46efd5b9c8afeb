//! A registry that is not what it should be.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use axum::body::{Body, to_bytes};
use axum::response::Html;
use http::{Request, StatusCode};
use regrove_events::event::{Artifact, ModelLoaded, ModelRegistered};
use regrove_events::log::serving_stream;
use regrove_events::{CloudEvent, Event, SwitchedBy, http_binding, serving};
use regrove_host::{Emitter, HostArgs, with_defaults};
use regrove_load_model::{Ports, router};
use regrove_mlflow::{Client, MlflowArgs, Record};
use regrove_store::Control;
use serde_json::{Value, json};
use tower::ServiceExt as _;

const NAME: &str = "Paged";

/// The address of a server that answers every request with a web page, as a proxy's login does.
async fn web_pages() -> String {
    let routes = axum::Router::new().fallback(|| async { Html("<!doctype html><title>Log in</title>") });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    format!("http://{address}")
}

struct Stage {
    control: Control,
    router: axum::Router,
    _home: tempfile::TempDir,
}

impl Stage {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let control = Control::embedded(home.path());
        let ports = Ports {
            control: control.clone(),
            // What cannot be loaded is not spoken of: nobody listens.
            emitter: Emitter::new(None),
            record: Record::new(Client::new(&MlflowArgs::for_uri(web_pages().await)).unwrap()),
            model_name: NAME.to_owned(),
        };
        Self { control, router: with_defaults(&HostArgs::default(), router(ports)), _home: home }
    }

    async fn ask(&self, request: Request<Body>) -> (StatusCode, Value) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn event(&self, path: &str, event: &CloudEvent) -> (StatusCode, Value) {
        let (headers, body) = http_binding::to_binary(event).unwrap();
        let mut request = Request::post(path).body(Body::from(body)).unwrap();
        *request.headers_mut() = headers;
        self.ask(request).await
    }

    async fn served(&self) -> (u64, Option<String>) {
        let history = self.control.log.read(&serving_stream(NAME), 0).await.unwrap();
        (history.len() as u64, serving::replay(&history).current.map(|current| current.version))
    }
}

fn artifact() -> Artifact {
    Artifact { sha256: "0".repeat(64), bytes: 1 }
}

fn is_told(answer: &(StatusCode, Value)) {
    let (status, problem) = answer;
    assert_eq!(
        (*status, &problem["type"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("urn:regrove:problem:mlflow-refused"))
    );
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("web page") && detail.contains("MLFLOW_TRACKING_URI"), "{detail}");
}

#[tokio::test]
async fn a_registry_that_answers_with_a_web_page_is_told_as_such_and_changes_nothing() {
    let stage = Stage::new().await;
    for body in [json!({}), json!({"version": 3}), json!({"alias": "champion"})] {
        let request = Request::post("/model/load").header("content-type", "application/json");
        is_told(&stage.ask(request.body(Body::from(body.to_string())).unwrap()).await);
    }
    let registered = ModelRegistered {
        job: "job".to_owned(),
        name: NAME.to_owned(),
        version: "1".to_owned(),
        uri: format!("models:/{NAME}/1"),
        run_id: "0".repeat(32),
        model: artifact(),
        alias: None,
    };
    let at = "2026-11-27T08:00:00Z".parse().unwrap();
    let event = Event::ModelRegistered(registered).first("job/version", "/test", "job", at).unwrap();
    is_told(&stage.event("/", &event).await);
    assert_eq!(stage.served().await, (0, None));

    // What is served by an alias stays.
    let loaded = ModelLoaded {
        alias: Some("champion".to_owned()),
        ..ModelLoaded::plain(NAME, "1", artifact(), SwitchedBy::Request)
    };
    let event = Event::ModelLoaded(loaded).first("1", "/test", NAME, at).unwrap();
    stage.control.log.append(&serving_stream(NAME), 0, &[event]).await.unwrap();
    let tick = CloudEvent::builder("1", "/test", "dev.knative.sources.ping").build().unwrap();
    assert_eq!(stage.event("/tick", &tick).await.0, StatusCode::ACCEPTED);
    assert_eq!(stage.served().await, (1, Some("1".to_owned())));
}
