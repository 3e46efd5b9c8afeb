//! JSON out, without a tree of values between.

use std::io::Write as _;

use axum::response::{IntoResponse as _, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use regrove_forest::Label;
use serde::Serialize;

/// A JSON text that is being written.
#[derive(Debug, Default)]
pub(super) struct Json(Vec<u8>);

impl Json {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// Text as it is.
    pub(super) fn raw(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// A string, number or list of them.
    pub(super) fn value(&mut self, value: &(impl Serialize + ?Sized)) -> &mut Self {
        // Plain values into memory: there is no way to fail.
        serde_json::to_writer(&mut self.0, value).unwrap_or_default();
        self
    }

    pub(super) fn number(&mut self, number: usize) -> &mut Self {
        write!(self.0, "{number}").unwrap_or_default();
        self
    }

    pub(super) fn label(&mut self, label: &Label) -> &mut Self {
        match label {
            Label::Bool(truth) => self.value(truth),
            Label::Int(number) => self.value(number),
            Label::Float(number) => self.value(number),
            Label::Str(text) => self.value(text),
        }
    }

    /// `[a,b,…]` with each item written by `each`.
    pub(super) fn list<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut each: impl for<'j> FnMut(&'j mut Self, T) -> &'j mut Self,
    ) -> &mut Self {
        self.raw("[");
        for (at, item) in items.into_iter().enumerate() {
            if at > 0 {
                self.raw(",");
            }
            each(self, item);
        }
        self.raw("]")
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn respond(self) -> Response {
        ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], self.0).into_response()
    }
}
