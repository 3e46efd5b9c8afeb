//! A server that records what it gets and answers each event as scripted.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// Longest wait for an event: several times what its retries take.
const PATIENCE: Duration = Duration::from_mins(2);
/// Time between two attempts at a port that another test still has.
const PORT_PAUSE: Duration = Duration::from_millis(50);

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) at: Instant,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Received {
    /// A header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// `ce-id`, in binary mode as in structured mode.
    fn id(&self) -> String {
        let structured = || serde_json::from_slice::<serde_json::Value>(&self.body).ok();
        match self.header("ce-id") {
            "" => structured().and_then(|event| Some(event["id"].as_str()?.to_owned())).unwrap_or_default(),
            id => id.to_owned(),
        }
    }
}

/// A scripted answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// Only a status.
    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// An event in binary mode.
    pub(crate) fn event(status: u16, id: &str, ty: &str) -> Self {
        let headers = [
            ("ce-specversion", "1.0"),
            ("ce-id", id),
            ("ce-source", "/conformance/subscriber"),
            ("ce-type", ty),
            ("content-type", "application/json"),
        ];
        let headers = headers.map(|(name, value)| (name, value.to_owned())).to_vec();
        Self { status, headers, body: "{\"reply\":true}".to_owned() }
    }
}

#[derive(Debug, Default)]
struct Shared {
    received: Mutex<Vec<Received>>,
    /// By path and event id.
    scripts: Mutex<BTreeMap<(String, String), VecDeque<Answer>>>,
    arrived: Notify,
}

/// The server. What is not scripted is answered with 200 and no body.
#[derive(Debug, Clone)]
pub(crate) struct Subscriber {
    shared: Arc<Shared>,
    pub(crate) address: SocketAddr,
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let received = Received { at: Instant::now(), method, path: uri.path().to_owned(), headers, body };
    let key = (received.path.clone(), received.id());
    let answer = shared.scripts.lock().unwrap().get_mut(&key).and_then(VecDeque::pop_front);
    shared.received.lock().unwrap().push(received);
    shared.arrived.notify_waiters();
    let answer = answer.unwrap_or(Answer::status(200));
    let headers: HeaderMap =
        answer.headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    (StatusCode::from_u16(answer.status).unwrap(), headers, answer.body).into_response()
}

impl Subscriber {
    /// Listens on an address, as soon as no other test does.
    pub(crate) async fn start(address: SocketAddr) -> Self {
        let began = Instant::now();
        let listener = loop {
            match TcpListener::bind(address).await {
                Ok(listener) => break listener,
                Err(error) => assert!(began.elapsed() < PATIENCE, "{address}: {error}"),
            }
            tokio::time::sleep(PORT_PAUSE).await;
        };
        let shared = Arc::<Shared>::default();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { shared, address }
    }

    /// The answers to the next attempts at this event.
    pub(crate) fn script(&self, path: &str, id: &str, answers: impl IntoIterator<Item = Answer>) {
        let key = (path.to_owned(), id.to_owned());
        self.shared.scripts.lock().unwrap().insert(key, answers.into_iter().collect());
    }

    /// All requests to a path with this event.
    pub(crate) fn received(&self, path: &str, id: &str) -> Vec<Received> {
        let received = self.shared.received.lock().unwrap();
        received.iter().filter(|request| request.path == path && request.id() == id).cloned().collect()
    }

    /// Waits for that many requests.
    pub(crate) async fn wait_for(&self, path: &str, id: &str, count: usize) -> Vec<Received> {
        let enough = async {
            loop {
                let arrived = self.shared.arrived.notified();
                let received = self.received(path, id);
                if received.len() >= count {
                    return received;
                }
                arrived.await;
            }
        };
        tokio::time::timeout(PATIENCE, enough)
            .await
            .unwrap_or_else(|_| panic!("{count} × {id} wanted at {path}, got {:?}", self.received(path, id)))
    }
}
