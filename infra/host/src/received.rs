//! Reads one CloudEvent from a request, with a bound on its size.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use http::StatusCode;
use regrove_events::{CloudEvent, http_binding};

use crate::Problem;

/// The CloudEvent that came, in binary or structured mode.
#[derive(Debug, Clone)]
pub struct Received(pub CloudEvent);

impl<S: Send + Sync> FromRequest<S> for Received {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let headers = request.headers().clone();
        let body = Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
                "body-too-large",
                StatusCode::PAYLOAD_TOO_LARGE,
                "the body is over this function's limit (REGROVE_BODY_BYTES_MAX)",
            ),
            _ => Problem::new("body-unreadable", StatusCode::BAD_REQUEST, rejection.body_text()),
        })?;
        Ok(Self(http_binding::from_http(&headers, body)?))
    }
}
