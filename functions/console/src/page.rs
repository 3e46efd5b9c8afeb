//! Pages: made on the server, readable without scripts, kept up to date by a small one.

mod compare;
mod dead_letters;
mod event;
mod events;
mod functions;
mod job;
mod jobs;
mod layout;
mod model;
mod models;
mod new_job;
mod orders;
mod overview;
mod parts;
mod sweep;

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode, Uri};
use regrove_host::Problem;

use crate::Ports;

pub(crate) use layout::{login, problem};

const STYLE: &str = include_str!("../assets/console.css");
const SCRIPT: &str = include_str!("../assets/console.js");
const ICON: &str = include_str!("../assets/icon.svg");

/// How long browsers keep what never changes under its address, which names its content.
const KEEP: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// The style sheet, the script and the icon.
pub(crate) fn asset_routes() -> Router<Arc<Ports>> {
    let asset = |kind: &'static str, text: &'static str| {
        get(move || async move { ([(CONTENT_TYPE, HeaderValue::from_static(kind)), (CACHE_CONTROL, KEEP)], text) })
    };
    Router::new()
        .route("/assets/console.css", asset("text/css; charset=utf-8", STYLE))
        .route("/assets/console.js", asset("text/javascript; charset=utf-8", SCRIPT))
        .route("/assets/icon.svg", asset("image/svg+xml", ICON))
}

/// A page under its path and, as JSON, under its path with `.json`.
fn twin(path: &str, methods: axum::routing::MethodRouter<Arc<Ports>>) -> Router<Arc<Ports>> {
    Router::new().route(path, methods.clone()).route(&format!("{path}.json"), methods)
}

pub(crate) fn routes() -> Router<Arc<Ports>> {
    Router::new()
        .route("/", get(overview::show))
        .route("/overview.json", get(overview::show))
        .merge(twin("/jobs", get(jobs::list).post(orders::submit)))
        .merge(twin("/jobs/new", get(new_job::ask)))
        .merge(twin("/jobs/compare", get(compare::show)))
        .route("/jobs/{id}", get(job::show))
        .route("/jobs/{id}/stop", post(orders::stop))
        .route("/jobs/{id}/retry", post(orders::retry))
        .route("/jobs/{id}/replay", post(orders::replay))
        .route("/sweeps/{id}", get(sweep::show))
        .merge(twin("/events", get(events::list)))
        .route("/events/{*place}", get(event::show))
        .merge(twin("/dead-letters", get(dead_letters::list).post(dead_letters::settle)))
        .merge(twin("/functions", get(functions::list)))
        .route("/functions/{name}", get(functions::show))
        .merge(twin("/models", get(models::list)))
        .route("/models/{name}", get(model::show))
        .route("/models/{name}/load", post(orders::load))
        .route("/models/{name}/traffic", post(orders::traffic))
        .merge(twin("/models/{name}/predict", post(model::predict)))
        .route("/{*rest}", any(nothing_here))
}

async fn nothing_here(uri: Uri) -> Response {
    Problem::new("no-such-path", StatusCode::NOT_FOUND, format!("there is nothing at `{}`", uri.path())).into_response()
}

/// Seconds in words, for charts.
pub(crate) fn words(seconds: f64) -> String {
    parts::seconds(seconds)
}
