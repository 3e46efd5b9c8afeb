//! JSON bodies of a type.

use axum::extract::{FromRequest, Request};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use regrove_events::json;
use serde::de::DeserializeOwned;

use crate::{Payload, Problem};

/// A JSON body; an empty one stands for nothing said, `{}`.
///
/// Other content types are refused: a form of a web page could send them to this machine without its user's knowing, JSON it
/// could not.
#[derive(Debug, Clone)]
pub struct JsonBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let Payload(bytes) = Payload::from_request(request, state).await?;
        if !bytes.is_empty() && kind != "application/json" {
            let detail = format!("Content-Type is `{kind}`, expected application/json");
            let refused = Problem::new("unsupported-media-type", StatusCode::UNSUPPORTED_MEDIA_TYPE, detail);
            return Err(refused.header(&CONTENT_TYPE));
        }
        let text = if bytes.trim_ascii().is_empty() { b"{}".as_slice() } else { &bytes };
        Ok(Self(json::read(text)?))
    }
}
