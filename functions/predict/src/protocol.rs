//! The protocols that clients speak. All of them read into the same rows and write from the same answer.

pub mod events;
pub mod oip;
pub mod reference;
pub mod scoring;
pub(crate) mod tensor;
mod write;

use axum::Router;
use axum::middleware::map_response;
use axum::response::Response;
use regrove_host::{Problem, catch_panics, method_not_allowed};

/// The router whose refusals are said as a protocol has them, whoever refuses: what is around a handler too, which knows of no
/// protocol. They stay problems, with members added.
pub(crate) fn speaking(router: Router, speak: fn(Problem) -> Problem) -> Router {
    catch_panics(router.method_not_allowed_fallback(method_not_allowed))
        .layer(map_response(move |response: Response| async move { Problem::restated(response, speak) }))
}
