//! Reads one CloudEvent from a request, with a bound on its size.

use axum::extract::{FromRequest, Request};
use regrove_events::{CloudEvent, http_binding};

use crate::Problem;
use crate::payload::Payload;
use crate::trace::TraceContext;

/// The CloudEvent that came, in binary or structured mode.
#[derive(Debug, Clone)]
pub struct Received(pub CloudEvent);

impl<S: Send + Sync> FromRequest<S> for Received {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let headers = request.headers().clone();
        let span: Option<TraceContext> = request.extensions().get().copied();
        let Payload(body) = Payload::from_request(request, state).await?;
        let mut event = http_binding::from_http(&headers, body)?;
        if let Some(span) = span {
            // What follows from the event belongs below the span of its delivery.
            event.set_extension("traceparent", span.to_string())?;
        }
        Ok(Self(event))
    }
}
