//! What every function answers alike where it has no answer of its own. The host adds it; a function that has to say it in its
//! protocol's words adds it before.

use axum::Router;
use axum::response::IntoResponse as _;
use http::{Method, StatusCode, Uri};
use tower_http::catch_panic::CatchPanicLayer;

use crate::Problem;

/// For paths that lead nowhere.
pub async fn no_such_path(uri: Uri) -> Problem {
    // Not 404 for `/`: a broker would try again for ever what can never succeed.
    let status = if uri.path() == "/" { StatusCode::BAD_REQUEST } else { StatusCode::NOT_FOUND };
    Problem::new("no-such-path", status, format!("there is nothing at `{}`", uri.path()))
}

/// For methods that a path does not answer.
pub async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    let detail = format!("`{}` does not answer {method}", uri.path());
    Problem::new("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED, detail)
}

/// The same router, whose panics are problems.
pub fn catch_panics(router: Router) -> Router {
    router.layer(CatchPanicLayer::custom(|_| {
        let detail = "the function panicked; its log has the message";
        Problem::new("internal-error", StatusCode::INTERNAL_SERVER_ERROR, detail).into_response()
    }))
}
