//! `predict` answers from the models that the serving pointers name.
//!
//! | protocol | requests |
//! | --- | --- |
//! | the reference stack's | `POST /predict`, `GET /model/info`; `POST /models/{name}/predict`, `GET /models/{name}/info` |
//! | Open Inference Protocol 2 | `/v2`, `/v2/health/…`, `/v2/models/{name}[/versions/{version}][/ready`, `/infer]` |
//! | MLflow's scoring | `POST /invocations`, `GET /ping`, `/health`, `/version` |
//! | CloudEvents | `POST /` with `predict-requested`, answered with `predict-completed` |
//!
//! All of them take one path: bytes are read straight into float32 rows that fit the model ([`bodies`]), the model answers
//! ([`answer`]), the answer is written.

pub mod answer;
pub mod bodies;
mod dataset;
mod frame;
mod json;
mod log;
pub mod models;
mod openapi;
pub mod protocol;
mod refusal;
pub mod rows;
mod shadow;
mod signature;
#[cfg(test)]
mod testing;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use http::HeaderMap;
use regrove_host::Gate;
use utoipa::OpenApi as _;

use crate::answer::Answering;
pub use crate::dataset::DataAccess;
pub use crate::log::{NotARate, PredictionLog, Rate};
use crate::models::Models;
use crate::protocol::{events, oip, reference, scoring};
pub use crate::signature::Signature;

/// Header by which requests keep their version while a canary runs.
pub const SESSION_HEADER: &str = "regrove-session";

/// What this function reaches for.
#[derive(Debug)]
pub struct Ports {
    /// The models in service.
    pub models: Models,
    /// The model that requests without a name mean.
    pub model_name: String,
    /// What is taken on at once.
    pub gate: Gate,
    /// Where drawn predictions go.
    pub log: PredictionLog,
    /// Which data sets are read for events that name one.
    pub data: DataAccess,
}

/// The function's state.
#[derive(Debug)]
pub(crate) struct Service {
    answering: Answering,
    model_name: String,
    data: DataAccess,
}

impl Service {
    /// What a request's session is called, if it has one.
    fn session(headers: &HeaderMap) -> Option<&[u8]> {
        headers.get(SESSION_HEADER).map(http::HeaderValue::as_bytes)
    }
}

/// OpenAPI 3.1 of this function, made from the code.
pub fn openapi() -> utoipa::openapi::OpenApi {
    openapi::Document::openapi()
}

/// The function as a service.
pub fn router(ports: Ports) -> Router {
    let Ports { models, model_name, gate, log, data } = ports;
    let guard = gate.clone();
    let service = Arc::new(Service { answering: Answering { models, gate, log }, model_name, data });
    // A broker has a deadline of its own, and a data set may take long.
    let hearing = Router::new().route("/", post(events::receive)).with_state(Arc::clone(&service));
    let reference = Router::new()
        .route("/predict", post(reference::predict))
        .route("/models/{name}/predict", post(reference::predict_named))
        .with_state(Arc::clone(&service));
    let scoring = Router::new().route("/invocations", post(scoring::invocations)).with_state(Arc::clone(&service));
    let inference = Router::new()
        .route("/v2/models/{name}/infer", post(oip::infer))
        .route("/v2/models/{name}/versions/{version}/infer", post(oip::infer_version))
        .with_state(Arc::clone(&service));
    // What tells about models is not turned away under load: it is what watches the load.
    let telling = Router::new()
        .route("/model/info", get(reference::info))
        .route("/models/{name}/info", get(reference::info_named))
        .route("/ping", get(scoring::ping))
        .route("/health", get(scoring::health))
        .route("/version", get(scoring::version))
        .with_state(Arc::clone(&service));
    let inference = guard.guard(inference).merge(oip::telling().with_state(service));
    guard
        .guard(reference)
        .merge(protocol::speaking(guard.guard(scoring), scoring::speak))
        .merge(protocol::speaking(inference, oip::speak))
        .merge(guard.admit(hearing))
        .merge(telling)
        .merge(regrove_host::openapi::routes(openapi))
}
