//! What can be asked about a running runtime: state, history, deliveries, dead letters, logs, metrics.
//!
//! It is reached at the ingress's address below [`BASE`], which can be no namespace. Only this machine may ask, and no
//! page that some site shows in a browser on it. `docs/runtime-api.md` describes it for its users.

mod events;
mod logs;
mod problem;
mod state;
mod stream;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use http::{Method, Request, Response, StatusCode, header};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use self::problem::Problem;
use crate::broker::Broker;
use crate::http_server::Answer;
use crate::serving::body::Body;
use crate::serving::forward::Client;
use crate::view::View;

/// What all paths begin with.
pub(crate) const BASE: &str = "/-";

/// What the handlers work with.
#[derive(Debug, Clone)]
struct Desk {
    view: Arc<View>,
    /// Ends answers that would go on for ever.
    stop: CancellationToken,
}

fn router(desk: Desk) -> Router {
    let routes = Router::new()
        .route("/status", get(state::status))
        .route("/history", get(state::history))
        .route("/cold-starts", get(state::cold_starts))
        .route("/metrics", get(state::metrics))
        .route("/events", get(events::list))
        .route("/deliveries", get(events::deliveries))
        .route("/dead-letters", get(events::dead_letters))
        .route("/dead-letters/redrive", post(events::redrive))
        .route("/dead-letters/discard", post(events::discard))
        .route("/replays", post(events::replay))
        .route("/logs", get(logs::list))
        .route("/watch", get(logs::watch))
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "docs/runtime-api.md lists what can be asked") });
    Router::new().nest(BASE, routes).with_state(desk)
}

/// The ingress's address: events for brokers, and questions about the runtime.
#[derive(Debug)]
pub(crate) struct Door {
    broker: Arc<Broker>,
    questions: Router,
}

impl Door {
    pub(crate) fn new(view: Arc<View>, stop: CancellationToken) -> Self {
        Self { broker: Arc::clone(&view.eventing.broker), questions: router(Desk { view, stop }) }
    }
}

impl Answer for Door {
    async fn answer(self: Arc<Self>, request: Request<Body>) -> Response<Body> {
        let path = request.uri().path();
        if !path.strip_prefix(BASE).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            return Arc::clone(&self.broker).answer(request).await;
        }
        let answered = match refused(&request) {
            Some(problem) => axum::response::IntoResponse::into_response(problem),
            None => match self.questions.clone().oneshot(request.map(axum::body::Body::new)).await {
                Ok(response) => response,
                Err(never) => match never {},
            },
        };
        answered.map(|body| Body::Own(std::sync::Mutex::new(body)))
    }
}

/// Why somebody may not ask.
fn refused(request: &Request<Body>) -> Option<Problem> {
    let local = request.extensions().get::<Client>().is_some_and(|client| client.0.to_canonical().is_loopback());
    if !local {
        return Some(Problem::new(StatusCode::FORBIDDEN, "only this machine may ask about the runtime"));
    }
    let text = |name| request.headers().get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let host = text(header::HOST).or_else(|| request.uri().authority().map(http::uri::Authority::as_str));
    // A name that somebody made resolve to this machine: a page of that name could read the answer.
    if !host.is_some_and(is_own_name) {
        return Some(Problem::new(StatusCode::FORBIDDEN, "ask at localhost or at an address, not at another name"));
    }
    if request.method() != Method::GET && request.headers().contains_key(header::ORIGIN) {
        return Some(Problem::new(StatusCode::FORBIDDEN, "pages in a browser may not change anything here"));
    }
    None
}

fn is_own_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::is_own_name;

    #[test]
    fn own_names_are_localhost_and_addresses() {
        for host in ["localhost", "LOCALHOST:8081", "a.localhost:1", "127.0.0.1:8081", "[::1]:8081", "10.0.0.1"] {
            assert!(is_own_name(host), "{host}");
        }
        for host in ["", "example.com", "localhost.example.com:80", "127.0.0.1.example.com"] {
            assert!(!is_own_name(host), "{host}");
        }
    }
}
