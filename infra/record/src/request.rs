//! Reading requests: JSON bodies as MLflow takes them, required parameters, numbers that may be texts, pages.

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::header;
use axum::http::request::Parts;
use serde::de::{self, DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::Refusal;

/// Largest JSON body, in bytes. A full batch of 1000 metrics has about 100 kB.
pub const JSON_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What every handler answers.
pub(crate) type Answer = Result<axum::Json<Value>, Refusal>;

/// The empty answer.
pub(crate) fn done() -> axum::Json<Value> {
    axum::Json(Value::Object(Map::new()))
}

/// A JSON body.
pub(crate) struct Input<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Input<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request<Body>, _state: &S) -> Result<Self, Refusal> {
        let json = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split(';').next())
            .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
        // A browser sends other types to foreign hosts without asking: this is also what keeps web pages out.
        if !json {
            return Err(Refusal::invalid("Bad Request. Content-Type must be one of ['application/json']."));
        }
        let bytes = to_bytes(request.into_body(), JSON_BYTES_MAX)
            .await
            .map_err(|_| Refusal::too_large(format!("the body is incomplete or bigger than {JSON_BYTES_MAX} bytes")))?;
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(text)
            .map(Self)
            .map_err(|error| Refusal::invalid(format!("the body cannot be read as JSON for this call: {error}")))
    }
}

/// The parameters of a query.
pub(crate) struct Ask<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Ask<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(Self(value)),
            Err(error) => Err(Refusal::invalid(error.body_text())),
        }
    }
}

/// A parameter that must be there and not be empty.
pub(crate) fn required(name: &str, value: Option<String>) -> Result<String, Refusal> {
    value.filter(|text| !text.is_empty()).ok_or_else(|| Refusal::missing_parameter(name))
}

/// A key and a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pair {
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) value: String,
}

/// A whole number that may be a text, as protobuf's JSON allows.
pub(crate) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let value = Option::<Value>::deserialize(deserializer)?;
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Ok(Some(whole)),
            #[expect(clippy::cast_possible_truncation, reason = "checked to be a whole number of small size")]
            (None, Some(float)) if float.fract().abs() < f64::EPSILON && float.abs() < 9e15 => Ok(Some(float as i64)),
            _ => Err(de::Error::custom(format!("{number} is not a whole number"))),
        },
        Some(Value::String(text)) => text.parse().map(Some).map_err(de::Error::custom),
        Some(other) => Err(de::Error::custom(format!("{other} is not a whole number"))),
    }
}

/// A number that may be a text: `NaN` and `Infinity` travel like that.
pub(crate) fn float<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    match Option::<Value>::deserialize(deserializer)? {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => Ok(number.as_f64()),
        Some(Value::String(text)) => text.parse().map(Some).map_err(de::Error::custom),
        Some(other) => Err(de::Error::custom(format!("{other} is not a number"))),
    }
}

/// An identity that may be a number or a text.
pub(crate) fn identity<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match Option::<Value>::deserialize(deserializer)? {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(de::Error::custom(format!("{other} is not an id"))),
    }
}

/// Which part of a result is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page {
    pub(crate) limit: i64,
    pub(crate) offset: i64,
}

impl Page {
    /// `size` up to `maximum`, `default` when absent; the token is the offset.
    pub(crate) fn new(size: Option<i64>, default: i64, maximum: i64, token: Option<&str>) -> Result<Self, Refusal> {
        let limit = size.unwrap_or(default);
        if !(1..=maximum).contains(&limit) {
            return Err(Refusal::invalid(format!(
                "Invalid value {limit} for parameter 'max_results' supplied. It must be between 1 and {maximum}"
            )));
        }
        let offset = match token.filter(|token| !token.is_empty()) {
            None => 0,
            Some(token) => token
                .parse()
                .ok()
                .filter(|offset| *offset >= 0)
                .ok_or_else(|| Refusal::invalid(format!("Invalid page token '{token}'")))?,
        };
        Ok(Self { limit, offset })
    }

    /// How many rows to ask the database for: one more tells whether there is a next page.
    pub(crate) fn rows(self) -> i64 {
        self.limit.saturating_add(1)
    }

    /// `{name: items, next_page_token}`, cut to the page; what is empty is left out.
    pub(crate) fn answer(self, name: &str, mut items: Vec<Value>) -> Value {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let mut fields = Map::new();
        put_items(&mut fields, name, items);
        if more {
            fields.insert("next_page_token".to_owned(), (self.offset + self.limit).to_string().into());
        }
        Value::Object(fields)
    }
}

/// Adds a list unless it is empty: protobuf's JSON leaves empty lists out.
pub(crate) fn put_items(fields: &mut Map<String, Value>, name: &str, items: Vec<Value>) {
    if !items.is_empty() {
        fields.insert(name.to_owned(), Value::Array(items));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Numbers {
        #[serde(default, deserialize_with = "whole")]
        whole: Option<i64>,
        #[serde(default, deserialize_with = "float")]
        float: Option<f64>,
    }

    #[test]
    fn numbers_may_be_texts() {
        let read = |json: &str| serde_json::from_str::<Numbers>(json);
        assert_eq!(read(r#"{"whole":"12"}"#).unwrap().whole, Some(12));
        assert_eq!(read(r#"{"whole":12.0}"#).unwrap().whole, Some(12));
        assert_eq!(read("{}").unwrap().whole, None);
        assert!(read(r#"{"whole":1.5}"#).is_err());
        assert!(read(r#"{"float":"NaN"}"#).unwrap().float.unwrap().is_nan());
        assert!(read(r#"{"float":[]}"#).is_err());
    }

    #[test]
    fn a_page_tells_where_the_next_one_starts() {
        let page = Page::new(Some(2), 10, 100, Some("4")).unwrap();
        let answer = page.answer("runs", vec![1.into(), 2.into(), 3.into()]);
        assert_eq!(answer, serde_json::json!({"runs": [1, 2], "next_page_token": "6"}));
        assert_eq!(page.answer("runs", vec![]), serde_json::json!({}));
        assert!(Page::new(Some(0), 10, 100, None).is_err());
        assert!(Page::new(Some(101), 10, 100, None).is_err());
        assert!(Page::new(None, 10, 100, Some("-1")).is_err());
    }
}
