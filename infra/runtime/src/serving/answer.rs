//! Short answers of the runtime itself.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use super::body::Body;

/// An answer in plain text, as Knative's own proxies give them.
pub(crate) fn plain(status: StatusCode, text: impl Into<String>) -> Response<Body> {
    let mut text: String = text.into();
    if !text.is_empty() {
        text.push('\n');
    }
    let mut response = Response::new(Body::from(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
