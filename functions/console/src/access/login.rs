//! The login page: takes the token once and gives the browser a cookie.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use regrove_host::{Problem, now};
use serde::Deserialize;

use super::same_site::{self, Csrf, Keyed, OwnForm};
use super::session::Sessions;
use crate::Ports;
use crate::page;

pub(crate) fn routes() -> Router<Arc<Ports>> {
    Router::new().route("/login", get(ask).post(log_in)).route("/logout", post(log_out))
}

/// Where the browser is sent to log in; from there it comes back to `wanted`.
pub(super) fn address(wanted: &Uri) -> String {
    let wanted = wanted.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    format!("/login?next={}", utf8_percent_encode(wanted, NON_ALPHANUMERIC))
}

#[derive(Debug, Default, Deserialize)]
struct Wanted {
    #[serde(default)]
    next: String,
}

#[derive(Debug, Deserialize)]
struct Login {
    #[serde(default)]
    token: String,
    #[serde(default)]
    next: String,
    form_key: Option<String>,
}

impl Keyed for Login {
    fn form_key(&self) -> Option<&str> {
        self.form_key.as_deref()
    }
}

/// A path of this site, whatever was asked for: `//host` and `/\host` are other sites' addresses.
fn own_path(next: &str) -> &str {
    let own = next.starts_with('/') && !next[1..].starts_with(['/', '\\']) && !next.contains(|c: char| c.is_control());
    if own { next } else { "/" }
}

async fn ask(State(ports): State<Arc<Ports>>, Query(wanted): Query<Wanted>, csrf: Csrf) -> Response {
    if ports.sessions.is_none() {
        return Redirect::to("/").into_response();
    }
    page::login(&csrf, own_path(&wanted.next), None)
}

async fn log_in(
    State(ports): State<Arc<Ports>>,
    headers: HeaderMap,
    csrf: Csrf,
    OwnForm(login): OwnForm<Login>,
) -> Result<Response, Problem> {
    same_site::check_origin(&headers)?;
    let next = own_path(&login.next);
    let Some(sessions) = &ports.sessions else { return Ok(Redirect::to(next).into_response()) };
    if !sessions.is_token(login.token.trim()) {
        let mut response = page::login(&csrf, next, Some("That is not the token."));
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        return Ok(response);
    }
    Ok(with_cookie(Redirect::to(next), &sessions.set_cookie(now())))
}

async fn log_out(headers: HeaderMap, _: OwnForm<Login>) -> Result<Response, Problem> {
    same_site::check_origin(&headers)?;
    Ok(with_cookie(Redirect::to("/login"), &Sessions::clear_cookie()))
}

fn with_cookie(redirect: Redirect, cookie: &str) -> Response {
    let mut response = redirect.into_response();
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_login_the_browser_stays_on_this_site() {
        for (next, path) in [
            ("/jobs?state=failed", "/jobs?state=failed"),
            ("", "/"),
            ("https://evil.example", "/"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("/a\nb", "/"),
        ] {
            assert_eq!(own_path(next), path);
        }
        let wanted: Uri = "/jobs?state=failed&name=a".parse().unwrap();
        assert_eq!(address(&wanted), "/login?next=%2Fjobs%3Fstate%3Dfailed%26name%3Da");
    }
}
