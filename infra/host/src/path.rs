//! Parts of the path.

use axum::extract::{FromRequestParts, Path as Parsed};
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::Problem;

/// The parts of the path that the route names, as [`axum::extract::Path`] has them; what it refuses is a problem.
#[derive(Debug, Clone, Copy)]
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Parsed::from_request_parts(parts, state).await {
            Ok(Parsed(named)) => Ok(Self(named)),
            Err(refused) => {
                let detail = format!("the path `{}`: {}", parts.uri.path(), refused.body_text());
                Err(Problem::new("no-such-path", refused.status(), detail))
            }
        }
    }
}
