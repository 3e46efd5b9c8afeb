//! A subscriber that records what it gets and answers as scripted.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tokio::sync::Notify;

use crate::stage::PATIENCE;

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// A scripted answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) body: &'static str,
}

#[derive(Debug, Default)]
struct Shared {
    received: Mutex<Vec<Received>>,
    script: Mutex<VecDeque<Script>>,
    arrived: Notify,
}

/// The server. Once the script is at its end it answers 200 without a body.
#[derive(Debug, Clone)]
pub(crate) struct Sink {
    shared: Arc<Shared>,
    pub(crate) url: String,
}

async fn answer(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let headers = headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let received = Received { path: uri.path().to_owned(), headers, body: String::from_utf8_lossy(&body).into_owned() };
    shared.received.lock().unwrap().push(received);
    shared.arrived.notify_one();
    let script = shared.script.lock().unwrap().pop_front().unwrap_or(Script { status: 200, ..Script::default() });
    let headers: HeaderMap =
        script.headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    (StatusCode::from_u16(script.status).unwrap(), headers, script.body).into_response()
}

impl Sink {
    pub(crate) async fn start(script: &[Script]) -> Self {
        let shared = Arc::new(Shared { script: Mutex::new(script.to_vec().into()), ..Shared::default() });
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { shared, url }
    }

    pub(crate) async fn answering(statuses: &[u16]) -> Self {
        let script: Vec<Script> = statuses
            .iter()
            .map(|status| Script { status: *status, body: if *status == 200 { "" } else { "no" }, ..Script::default() })
            .collect();
        Self::start(&script).await
    }

    /// Ends the script: from now on it answers 200.
    pub(crate) fn answer_well(&self) {
        self.shared.script.lock().unwrap().clear();
    }

    /// Adds an answer to the script.
    pub(crate) fn answer_next(&self, answer: Script) {
        self.shared.script.lock().unwrap().push_back(answer);
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// Waits until `count` requests have come.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Received> {
        self.wait_until(&format!("{count} requests"), |received| received.len() >= count).await
    }

    /// Waits until an event has come.
    pub(crate) async fn wait_for_event(&self, id: &str) -> Vec<Received> {
        self.wait_until(id, |received| received.iter().any(|request| request.header("ce-id") == id)).await
    }

    async fn wait_until(&self, wanted: &str, enough: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let looked = async {
            loop {
                let received = self.received();
                if enough(&received) {
                    return received;
                }
                self.shared.arrived.notified().await;
            }
        };
        tokio::time::timeout(PATIENCE, looked)
            .await
            .unwrap_or_else(|_| panic!("{wanted} wanted, got {:?}", self.received()))
    }
}
