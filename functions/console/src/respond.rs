//! One view, two forms: a page for people, JSON for programs.

use std::convert::Infallible;

use axum::Json;
use axum::body::to_bytes;
use axum::extract::{FromRequestParts, Query, Request};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse as _, Response};
use http::header::{ACCEPT, CONTENT_TYPE, SET_COOKIE, VARY};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Uri};
use maud::Markup;
use regrove_host::Problem;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::access::{Csrf, session_cookie};
use crate::{action, page};

/// Largest problem that is turned into a page, in bytes.
const PROBLEM_BYTES_MAX: usize = 64 << 10;

/// Name of the query's part that says what an order led to.
pub(crate) const NOTICE: &str = "notice";

/// In which form an answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// A page.
    Html,
    /// JSON.
    Json,
}

impl Format {
    /// JSON under `/api` and for paths that end in `.json`; elsewhere what `Accept` names first, a page when it names
    /// neither.
    pub(crate) fn of(headers: &HeaderMap, uri: &Uri) -> Self {
        if uri.path().starts_with("/api/") || without_ending(uri.path()).is_some() {
            return Self::Json;
        }
        let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kinds = accept.split(',').map(|range| range.split(';').next().unwrap_or_default().trim());
        for kind in kinds {
            match kind {
                "text/html" | "application/xhtml+xml" => return Self::Html,
                "application/json" | "application/problem+json" => return Self::Json,
                _ => {}
            }
        }
        Self::Html
    }
}

/// What a page's answer depends on besides its address.
#[derive(Debug, Clone)]
pub(crate) struct Wants {
    pub(crate) format: Format,
    pub(crate) csrf: Csrf,
    /// Path and query, as the browser shows them.
    pub(crate) here: String,
    /// Whether the browser has logged in.
    pub(crate) logged_in: bool,
}

impl<S: Sync> FromRequestParts<S> for Wants {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let here = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
        let csrf = Csrf::from_request_parts(parts, state).await?;
        let logged_in = session_cookie(&parts.headers).is_some();
        Ok(Self { format: Format::of(&parts.headers, &parts.uri), csrf, here, logged_in })
    }
}

impl Wants {
    /// The view as it is wanted.
    pub(crate) fn answer<V: Serialize>(&self, view: &V, html: impl FnOnce(&V) -> Markup) -> Response {
        let mut response = match self.format {
            Format::Json => Json(view).into_response(),
            Format::Html => page_response(html(view), &self.csrf),
        };
        response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
        response
    }

    /// A path's last part without the ending that asks for JSON.
    pub(crate) fn name<'a>(&self, last: &'a str) -> &'a str {
        let path = self.here.split('?').next().unwrap_or_default();
        without_ending(path).and_then(|_| without_ending(last)).unwrap_or(last)
    }
}

/// A path without the ending that asks for JSON, if it has it.
fn without_ending(path: &str) -> Option<&str> {
    path.strip_suffix(".json")
}

/// The query of a request.
#[derive(Debug)]
pub(crate) struct Params<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(given) = Query::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| action::invalid(&rejection.body_text()))?;
        // Forms send their empty fields too; the notice is for the page alone.
        let pairs = given.into_iter().filter(|(name, value)| !value.is_empty() && name != NOTICE);
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        let uri = Uri::builder()
            .path_and_query(format!("/?{query}"))
            .build()
            .map_err(|error| action::invalid(&error.to_string()))?;
        match Query::try_from_uri(&uri) {
            Ok(Query(params)) => Ok(Self(params)),
            Err(rejection) => Err(action::invalid(&format!("query: {}", rejection.body_text()))),
        }
    }
}

/// A page, with the cookie that its forms need.
pub(crate) fn page_response(markup: Markup, csrf: &Csrf) -> Response {
    let mut response = Html(markup.into_string()).into_response();
    if let Some(cookie) = csrf.set_cookie.as_deref().and_then(|cookie| HeaderValue::from_str(cookie).ok()) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

/// Shows a problem as a page to whoever wants pages.
pub(crate) async fn problems_as_pages(request: Request, next: Next) -> Response {
    let wants = Format::of(request.headers(), request.uri());
    let asked = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let page = wants == Format::Html && asked.contains("text/html");
    let response = next.run(request).await;
    let problem = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "application/problem+json");
    if !page || !problem {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let bytes = to_bytes(body, PROBLEM_BYTES_MAX).await.unwrap_or_default();
    let problem: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    parts.headers.remove(http::header::CONTENT_LENGTH);
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    Response::from_parts(parts, page::problem(&problem).into_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_follows_the_path_and_then_accept() {
        for (path, accept, format) in [
            ("/jobs", "text/html,application/xhtml+xml,*/*;q=0.8", Format::Html),
            ("/jobs", "*/*", Format::Html),
            ("/jobs", "", Format::Html),
            ("/jobs", "application/json", Format::Json),
            ("/jobs", "application/json, text/html", Format::Json),
            ("/jobs.json?state=failed", "text/html", Format::Json),
            ("/jobs/a", "text/html;q=0.9", Format::Html),
            ("/api/jobs", "text/html", Format::Json),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
            assert_eq!(Format::of(&headers, &path.parse().unwrap()), format, "{path} {accept}");
        }
    }
}
