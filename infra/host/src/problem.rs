//! RFC 9457 problems: the one way in which a function says no.

use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};
use regrove_events::json::Misfit;
use regrove_events::{Invalid, Unreadable, log, with_causes};
use serde_json::{Map, Value, json};

/// A refusal as `application/problem+json`. `docs/problems.md` has a heading for each kind.
///
/// The status is also the order to the broker: 404, 408, 409, 429 and 5xx are tried again, everything else goes to the
/// dead letters.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// The last part of the `type` URI, such as `wrong-feature-count`.
    pub kind: &'static str,
    /// HTTP status.
    pub status: StatusCode,
    /// What went wrong here and how to mend it.
    pub detail: String,
    /// When to come again, if that makes sense.
    pub retry_after: Option<Duration>,
    /// Further members of the problem.
    pub members: Map<String, Value>,
}

impl Problem {
    /// A problem of a kind with its status and detail.
    pub fn new(kind: &'static str, status: StatusCode, detail: impl Into<String>) -> Self {
        Self { kind, status, detail: detail.into(), retry_after: None, members: Map::new() }
    }

    /// Adds a member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Adds `Retry-After`, in whole seconds, at least 1.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Something that is needed does not answer: the broker tries again.
    pub fn unavailable(what: &str, error: &dyn std::error::Error) -> Self {
        Self::new("dependency-unavailable", StatusCode::SERVICE_UNAVAILABLE, format!("{what}: {}", with_causes(error)))
            .retry_after(Duration::from_secs(1))
    }

    /// A defect of ours.
    pub fn internal(error: &dyn std::error::Error) -> Self {
        Self::new("internal-error", StatusCode::INTERNAL_SERVER_ERROR, with_causes(error))
    }

    /// The same problem under another status.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The same problem as the answer to an event. A broker takes 404 for what may be there later and asks again; what is not
    /// there is not there for good.
    #[must_use]
    pub fn for_broker(self) -> Self {
        if self.status == StatusCode::NOT_FOUND { self.status(StatusCode::UNPROCESSABLE_ENTITY) } else { self }
    }

    /// The same problem about a header of the request.
    #[must_use]
    pub fn header(self, name: &HeaderName) -> Self {
        self.with("header", name.as_str())
    }

    /// A response in whose body a problem is said in another way: for protocols that have members of their own for what went
    /// wrong. A response without a problem stays as it is.
    pub fn restated(mut response: Response, say: impl FnOnce(Self) -> Self) -> Response {
        if let Some(problem) = response.extensions_mut().remove::<Self>() {
            let problem = say(problem);
            *response.status_mut() = problem.status;
            *response.body_mut() = Json(problem.to_json()).into_response().into_body();
            response.headers_mut().remove(CONTENT_LENGTH);
            response.extensions_mut().insert(problem);
        }
        response
    }

    fn to_json(&self) -> Value {
        let mut json = json!({
            "type": format!("urn:regrove:problem:{}", self.kind),
            "title": self.title(),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Value::Object(members) = &mut json {
            members.extend(self.members.clone());
        }
        json
    }

    /// Says in the log that a request was refused.
    pub(crate) fn log(&self) {
        if self.status.is_server_error() {
            tracing::warn!(problem = self.kind, status = self.status.as_u16(), detail = %self.detail, "refused");
        } else {
            tracing::info!(problem = self.kind, status = self.status.as_u16(), detail = %self.detail, "refused");
        }
    }

    /// The title of the kind: its words.
    pub fn title(&self) -> String {
        let mut words = self.kind.replace('-', " ");
        if let Some(first) = words.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        words
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.to_json())).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(wait) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        // For whoever says it in another way, and for the log.
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Invalid> for Problem {
    fn from(error: Invalid) -> Self {
        Self::new("not-a-cloudevent", StatusCode::BAD_REQUEST, error.to_string())
    }
}

impl From<Unreadable> for Problem {
    fn from(error: Unreadable) -> Self {
        let (kind, status) = match &error {
            Unreadable::UnknownType(_) => ("unknown-event-type", StatusCode::BAD_REQUEST),
            _ => ("invalid-event-data", StatusCode::UNPROCESSABLE_ENTITY),
        };
        let problem = Self::new(kind, status, error.to_string());
        // As in an event in structured mode.
        match error {
            Unreadable::Data { misfit, .. } => problem.with("pointer", format!("/data{}", misfit.pointer)),
            _ => problem,
        }
    }
}

impl From<Misfit> for Problem {
    fn from(misfit: Misfit) -> Self {
        Self::new("invalid-request", StatusCode::UNPROCESSABLE_ENTITY, misfit.to_string())
            .with("pointer", misfit.pointer)
    }
}

impl From<log::Error> for Problem {
    fn from(error: log::Error) -> Self {
        match &error {
            log::Error::Conflict { .. } | log::Error::Contended { .. } => {
                Self::new("job-kept-changing", StatusCode::CONFLICT, error.to_string())
            }
            log::Error::Corrupt { .. } => Self::internal(&error),
            _ => Self::unavailable("the control store", &error),
        }
    }
}

impl From<regrove_mlflow::Error> for Problem {
    fn from(error: regrove_mlflow::Error) -> Self {
        if error.is_retryable() {
            return Self::unavailable("MLflow", &error);
        }
        if error.is_not_found() {
            return Self::new("model-not-found", StatusCode::NOT_FOUND, error.to_string());
        }
        // Wrong credentials or hosts are mended by people, and then the event must still be there: the dead letters
        // keep it.
        Self::new("mlflow-refused", StatusCode::UNPROCESSABLE_ENTITY, with_causes(&error))
    }
}

impl From<regrove_store::artifact::Error> for Problem {
    fn from(error: regrove_store::artifact::Error) -> Self {
        use regrove_store::artifact::Error;
        match &error {
            Error::File { .. } | Error::Store { .. } => Self::unavailable("the artifact store", &error),
            // Gone, damaged or too large: asking again gives the same answer.
            _ => Self::new("artifact-unusable", StatusCode::UNPROCESSABLE_ENTITY, error.to_string()),
        }
    }
}

impl From<regrove_store::lease::Error> for Problem {
    fn from(error: regrove_store::lease::Error) -> Self {
        Self::unavailable("the lease", &error)
    }
}
