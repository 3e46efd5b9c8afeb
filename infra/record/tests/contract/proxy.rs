//! A proxy before a tracking server that breaks what a test wants broken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

/// What the proxy does to the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Request number `k` (from 0) and all later ones do not reach the server: a process killed before the call.
    DeadFrom(usize),
    /// Request number `k` reaches the server, but its answer and all later requests are lost: killed after the call.
    DeafFrom(usize),
    /// The server has no logged models, as MLflow 2.x.
    WithoutLoggedModels,
    /// Everything passes.
    Open,
}

struct Shared {
    target: String,
    rule: Rule,
    seen: AtomicUsize,
    http: reqwest::Client,
}

/// A running proxy; stops when dropped.
pub(crate) struct Proxy {
    uri: String,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(target: &str, rule: Rule) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let shared = Arc::new(Shared { target: target.to_owned(), rule, seen: AtomicUsize::new(0), http });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(pass).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { uri, shared, task }
    }

    pub(crate) fn uri(&self) -> &str {
        &self.uri
    }

    /// How many requests came.
    pub(crate) fn seen(&self) -> usize {
        self.shared.seen.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response {
    let place = shared.seen.fetch_add(1, Ordering::SeqCst);
    let path = request.uri().path_and_query().unwrap().to_string();
    let newer = path.contains("/logged-models") || path.contains("/runs/outputs");
    match shared.rule {
        Rule::DeadFrom(k) if place >= k => return away(),
        Rule::DeafFrom(k) if place > k => return away(),
        Rule::WithoutLoggedModels if newer => {
            return (StatusCode::NOT_FOUND, Html("<h1>Not Found</h1>")).into_response();
        }
        _ => {}
    }
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    let mut headers = parts.headers;
    headers.remove("host");
    headers.remove("transfer-encoding");
    let answer = shared
        .http
        .request(parts.method, format!("{}{path}", shared.target))
        .headers(headers)
        .body(bytes)
        .send()
        .await
        .unwrap();
    let status = answer.status();
    let kind = answer.headers().get("content-type").cloned();
    let bytes = answer.bytes().await.unwrap();
    if shared.rule == Rule::DeafFrom(place) {
        return away();
    }
    let mut response = (status, bytes).into_response();
    if let Some(kind) = kind {
        response.headers_mut().insert("content-type", kind);
    }
    response
}

fn away() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "away").into_response()
}
