//! A function's interface for its clients: OpenAPI 3.1 at `/openapi.json`, a page to read and try it at `/docs`.
//!
//! The document comes from the function's code (`utoipa`). The page is one file of ours without scripts or styles from
//! elsewhere, so it works offline.

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use utoipa::Modify;
use utoipa::openapi::{OpenApi, Ref};

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

/// Says of every request with a body, besides what its handler says, that it may be refused with these statuses: limits hold
/// for all of them alike. The document has the response `Refused`.
#[derive(Debug, Clone, Copy)]
pub struct Bounds(pub &'static [u16]);

impl Modify for Bounds {
    fn modify(&self, document: &mut OpenApi) {
        let operations = document.paths.paths.values_mut().filter_map(|path| path.post.as_mut());
        for operation in operations.filter(|operation| operation.request_body.is_some()) {
            for status in self.0 {
                let refused = || Ref::from_response_name("Refused").into();
                operation.responses.responses.entry(status.to_string()).or_insert_with(refused);
            }
        }
    }
}

/// A problem as clients see it; see `docs/problems.md`.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
#[schema(title = "Problem")]
pub struct ProblemBody {
    /// `urn:regrove:problem:KIND`.
    #[serde(rename = "type")]
    #[schema(example = "urn:regrove:problem:wrong-feature-count")]
    pub kind: String,
    /// The kind in words.
    #[schema(example = "Wrong feature count")]
    pub title: String,
    /// HTTP status.
    #[schema(example = 400)]
    pub status: u16,
    /// What went wrong here and how to mend it.
    #[schema(example = "row 0 has 2 features, the model expects 20")]
    pub detail: String,
    /// Place in the body, as a JSON Pointer.
    #[schema(example = "/features/0")]
    pub pointer: Option<String>,
    /// The header that is wrong, where it is not the body.
    #[schema(example = "content-type")]
    pub header: Option<String>,
    /// Byte of a body that is no JSON.
    pub byte: Option<usize>,
    /// What was expected there.
    #[schema(example = "20 numbers")]
    pub expected: Option<String>,
    /// Row, from 0.
    pub row: Option<usize>,
    /// The column's name.
    pub column: Option<String>,
    /// All that is wrong with the body, the first of it above too.
    pub errors: Option<Vec<ProblemPlace>>,
}

/// What is wrong at one place of a body.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct ProblemPlace {
    /// What is wrong and how to mend it.
    pub detail: String,
    /// Place in the body, as a JSON Pointer.
    pub pointer: String,
    /// What was expected there.
    pub expected: String,
    /// Row, from 0.
    pub row: Option<usize>,
    /// The column's name.
    pub column: Option<String>,
}
