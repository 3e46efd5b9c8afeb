//! A function's interface for its clients: OpenAPI 3.1 at `/openapi.json`, a page to read and try it at `/docs`.
//!
//! The document comes from the function's code (`utoipa`). The page is one file of ours without scripts or styles from
//! elsewhere, so it works offline.

mod events;
mod models;
mod refusals;

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use utoipa::openapi::OpenApi;

pub use self::events::{EventHeaders, ModelRegistered, PredictCompleted, PredictRequested, StructuredEvent};
pub use self::models::Registered;
pub use self::refusals::{Bounds, ProblemBody, ProblemPlace, Refused, may_refuse, operations};

/// Path of the document.
pub const DOCUMENT_PATH: &str = "/openapi.json";
/// Path of the page.
pub const PAGE_PATH: &str = "/docs";

/// The page asks this origin only.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// The two routes. `document` is called at each request for the document, so that a start does not pay for it.
pub fn routes<S: Clone + Send + Sync + 'static>(document: fn() -> OpenApi) -> Router<S> {
    Router::new()
        .route(DOCUMENT_PATH, get(move || async move { show(document) }))
        .route(PAGE_PATH, get(|| async { page() }))
}

fn show(document: fn() -> OpenApi) -> Result<impl IntoResponse, crate::Problem> {
    let text = document().to_json().map_err(|error| crate::Problem::internal(&error))?;
    Ok(([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-cache")], text))
}

fn page() -> impl IntoResponse {
    let headers =
        [(CONTENT_TYPE, "text/html; charset=utf-8"), (CACHE_CONTROL, "no-cache"), (CONTENT_SECURITY_POLICY, POLICY)];
    (headers, include_str!("openapi/docs.html"))
}
