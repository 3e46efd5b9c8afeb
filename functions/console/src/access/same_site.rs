//! Orders come from our own pages or from programs, never from another site's page (CSRF).
//!
//! Two checks, each enough alone: what the browser says of the page that sends (`Sec-Fetch-Site`, `Origin`), and for
//! forms a value that stands both in a cookie and in the form, which another site can neither read nor set.

use std::convert::Infallible;

use axum::extract::{Form, FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use http::header::{HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use regrove_host::Problem;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::session::named_cookie;

/// Name of the cookie.
const COOKIE_NAME: &str = "regrove_form";
/// Name of the hidden field in every form.
pub(crate) const CSRF_FIELD: &str = "form_key";

/// The value that forms carry: the one that the browser has, or a new one to be set.
#[derive(Debug, Clone)]
pub(crate) struct Csrf {
    /// The value.
    pub(crate) key: String,
    /// `Set-Cookie`, when the browser has none yet.
    pub(crate) set_cookie: Option<String>,
}

impl Csrf {
    fn of(headers: &HeaderMap) -> Self {
        if let Some(key) = named_cookie(headers, COOKIE_NAME).filter(|key| is_key(key)) {
            return Self { key: key.to_owned(), set_cookie: None };
        }
        let key = Uuid::new_v4().simple().to_string();
        let set_cookie = format!("{COOKIE_NAME}={key}; Path=/; HttpOnly; SameSite=Strict");
        Self { key, set_cookie: Some(set_cookie) }
    }
}

impl<S: Sync> FromRequestParts<S> for Csrf {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

fn is_key(key: &str) -> bool {
    key.len() == 32 && key.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Fields of a form, one of which is [`CSRF_FIELD`].
pub(crate) trait Keyed {
    /// What the form carries as its key.
    fn form_key(&self) -> Option<&str>;
}

impl Keyed for Vec<(String, String)> {
    fn form_key(&self) -> Option<&str> {
        self.iter().find(|(name, _)| name == CSRF_FIELD).map(|(_, value)| value.as_str())
    }
}

/// The fields of a form that was made for the browser that sends it. Any other form is refused, with 403.
#[derive(Debug)]
pub(crate) struct OwnForm<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Keyed> FromRequest<S> for OwnForm<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let headers = request.headers().clone();
        let Form(fields) = Form::<T>::from_request(request, state).await.map_err(IntoResponse::into_response)?;
        check_form(&headers, fields.form_key()).map_err(IntoResponse::into_response)?;
        Ok(Self(fields))
    }
}

/// Whether a form was made for the browser that sends it.
///
/// # Errors
/// 403 when it was not.
fn check_form(headers: &HeaderMap, field: Option<&str>) -> Result<(), Problem> {
    let cookie = named_cookie(headers, COOKIE_NAME).filter(|key| is_key(key));
    if cookie.is_some() && cookie == field {
        return Ok(());
    }
    let detail = "the form does not carry this browser's key; load the page again and send it from there";
    Err(Problem::new("cross-site-request", StatusCode::FORBIDDEN, detail))
}

/// Whether an order comes from where it may come.
///
/// # Errors
/// 403 when a browser says that another site's page sends it.
pub(crate) fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).map(|value: &http::HeaderValue| value.to_str().unwrap_or("?"));
    let refuse = |what: String| {
        let detail = format!("{what}: orders are taken from this site's pages and from programs only");
        Err(Problem::new("cross-site-request", StatusCode::FORBIDDEN, detail))
    };
    if let Some(site) = headers.get("sec-fetch-site").map(|value| value.to_str().unwrap_or("?"))
        && site != "same-origin"
        && site != "none"
    {
        return refuse(format!("Sec-Fetch-Site is `{site}`"));
    }
    if let Some(origin) = text(ORIGIN) {
        let host = text(HOST).unwrap_or_default();
        let same = origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host));
        if !same {
            return refuse(format!("Origin is `{origin}`, Host is `{host}`"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn headers(given: &[(&'static str, &str)]) -> HeaderMap {
        given.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn what_another_site_sends_is_refused() {
        let host = ("host", "localhost:8265");
        for (given, taken) in [
            (vec![host], true),
            (vec![host, ("origin", "http://localhost:8265")], true),
            (vec![host, ("sec-fetch-site", "same-origin"), ("origin", "http://localhost:8265")], true),
            (vec![host, ("sec-fetch-site", "none")], true),
            (vec![host, ("origin", "http://evil.example")], false),
            (vec![host, ("origin", "http://localhost:3000")], false),
            (vec![host, ("origin", "null")], false),
            (vec![host, ("sec-fetch-site", "cross-site")], false),
            (vec![host, ("sec-fetch-site", "same-site")], false),
            (vec![host, ("sec-fetch-site", "cross-site"), ("origin", "http://localhost:8265")], false),
        ] {
            assert_eq!(check_origin(&headers(&given)).is_ok(), taken, "{given:?}");
        }
    }

    #[test]
    fn a_form_needs_the_key_that_its_browser_has() {
        let new = Csrf::of(&HeaderMap::new());
        let cookie = format!("{COOKIE_NAME}={}", new.key);
        let with = headers(&[("cookie", &format!("a=b; {cookie}"))]);
        assert!(new.set_cookie.unwrap().contains("HttpOnly; SameSite=Strict"));
        let again = Csrf::of(&with);
        assert_eq!((again.key.as_str(), again.set_cookie.is_none()), (new.key.as_str(), true));
        assert!(check_form(&with, Some(&new.key)).is_ok());
        assert!(check_form(&with, Some(&"0".repeat(32))).is_err());
        assert!(check_form(&with, None).is_err());
        assert!(check_form(&HeaderMap::new(), None).is_err());
        assert!(check_form(&HeaderMap::new(), Some(&new.key)).is_err());
        let empty = headers(&[("cookie", &format!("{COOKIE_NAME}="))]);
        assert!(check_form(&empty, Some("")).is_err());
    }
}
