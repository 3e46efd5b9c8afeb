//! Who may look and who may order.
//!
//! With a token, everything but the login page, the style sheet and the API's description asks for it: as
//! `Authorization: Bearer`, or as the cookie that the login page sets. Without one, only this machine gets an answer.
//! Orders are taken from this site's own pages and from programs, never from another site's pages.

mod login;
mod same_site;
mod session;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};
use http::header::{AUTHORIZATION, CACHE_CONTROL, HOST, HeaderName, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use regrove_host::Problem;

pub(crate) use login::routes;
pub(crate) use same_site::{CSRF_FIELD, Csrf, Keyed, OwnForm};
pub(crate) use session::{Sessions, cookie as session_cookie, hex};

use crate::Ports;
use crate::respond::Format;

/// Shortest token that is taken.
pub const TOKEN_CHARS_MIN: usize = 16;

/// A secret that neither `Debug` nor `--help` shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("[redacted]")
    }
}

impl std::str::FromStr for Token {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() || (text.len() >= TOKEN_CHARS_MIN && text.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("a token has at least {TOKEN_CHARS_MIN} characters, all of them visible ASCII"))
    }
}

/// Who may come in.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Access")]
pub struct AccessArgs {
    /// Token that every page and every call needs; without one, only this machine gets an answer
    #[arg(id = "console_token", long = "token", env = "REGROVE_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub token: Option<Token>,
}

impl AccessArgs {
    /// What checks the token; an empty one is none.
    pub(crate) fn sessions(&self) -> Option<Sessions> {
        self.token.as_ref().filter(|token| !token.0.is_empty()).map(|token| Sessions::new(&token.0))
    }
}

/// Lets through who may come in, and orders from where they may come.
pub(crate) async fn guard(State(ports): State<Arc<Ports>>, request: Request, next: Next) -> Response {
    if let Err(refused) = admit(&ports, &request) {
        let page = Format::of(request.headers(), request.uri()) == Format::Html && request.method() == Method::GET;
        if page && ports.sessions.is_some() {
            return Redirect::to(&login::address(request.uri())).into_response();
        }
        let mut response = refused.into_response();
        if response.status() == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"regrove\""));
        }
        return response;
    }
    if changes(request.method())
        && let Err(refused) = same_site::check_origin(request.headers())
    {
        return refused.into_response();
    }
    next.run(request).await
}

fn changes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn admit(ports: &Ports, request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let Some(sessions) = &ports.sessions else {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        return if is_local(headers, peer) { Ok(()) } else { Err(not_local()) };
    };
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    match bearer {
        Some(token) if sessions.is_token(token) => Ok(()),
        Some(_) => Err(Problem::new("wrong-token", StatusCode::UNAUTHORIZED, "the bearer token is not REGROVE_TOKEN")),
        None if session_cookie(headers).is_some_and(|cookie| sessions.is_open(cookie, regrove_host::now())) => Ok(()),
        None => {
            let detail = "send `Authorization: Bearer TOKEN` with the console's REGROVE_TOKEN, or log in at /login";
            Err(Problem::new("token-required", StatusCode::UNAUTHORIZED, detail))
        }
    }
}

fn not_local() -> Problem {
    let detail = "the console has no token, so it answers this machine only; set REGROVE_TOKEN to open it to others";
    Problem::new("token-required", StatusCode::UNAUTHORIZED, detail)
}

/// Whether a request comes from this machine: from a loopback address through loopback proxies only, and for a name of
/// this machine, so that a page elsewhere cannot point its own name here (DNS rebinding).
fn is_local(headers: &HeaderMap, peer: Option<IpAddr>) -> bool {
    let forwarded = headers.get_all("x-forwarded-for").iter().all(|value| {
        let loopback = |hop: &str| hop.trim().parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        value.to_str().is_ok_and(|hops| hops.split(',').all(loopback))
    });
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    peer.is_some_and(|peer| peer.to_canonical().is_loopback()) && forwarded && is_local_name(host)
}

fn is_local_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What pages may load and send: only what is ours, and nothing that stands in the page itself.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Sets the headers that keep browsers strict.
pub(crate) async fn harden(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let fixed = [
        ("content-security-policy", CONTENT_SECURITY_POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ];
    let headers = response.headers_mut();
    for (name, value) in fixed {
        // The page of the API has a policy of its own: its script stands in it.
        headers.entry(HeaderName::from_static(name)).or_insert(HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(given: &[(&'static str, &str)]) -> HeaderMap {
        given.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn without_a_token_only_this_machine_comes_in() {
        let here: Option<IpAddr> = Some("127.0.0.1".parse().unwrap());
        let there: Option<IpAddr> = Some("10.0.0.7".parse().unwrap());
        for (given, peer, local) in [
            (vec![("host", "localhost:8265")], here, true),
            (vec![("host", "127.0.0.1:8265")], here, true),
            (vec![("host", "[::1]:8265")], Some("::1".parse().unwrap()), true),
            (vec![("host", "console.regrove.localhost:8000"), ("x-forwarded-for", "127.0.0.1")], here, true),
            (vec![("host", "localhost")], Some("::ffff:127.0.0.1".parse().unwrap()), true),
            (vec![("host", "localhost")], there, false),
            (vec![("host", "localhost")], None, false),
            (vec![("host", "evil.example")], here, false),
            (vec![("host", "localhost.evil.example")], here, false),
            (vec![], here, false),
            (vec![("host", "localhost"), ("x-forwarded-for", "10.0.0.7")], here, false),
            (vec![("host", "localhost"), ("x-forwarded-for", "127.0.0.1, 10.0.0.7")], here, false),
            (vec![("host", "localhost"), ("x-forwarded-for", "10.0.0.7, 127.0.0.1")], here, false),
        ] {
            assert_eq!(is_local(&headers(&given), peer), local, "{given:?} from {peer:?}");
        }
    }

    #[test]
    fn a_token_is_long_and_never_shown() {
        assert!("short".parse::<Token>().unwrap_err().contains("16"));
        assert!("with a space in it".parse::<Token>().is_err());
        let args = AccessArgs { token: Some("0123456789abcdef".parse().unwrap()) };
        assert!(!format!("{args:?}").contains("0123"));
        assert!(args.sessions().is_some());
        assert!(AccessArgs { token: Some("".parse().unwrap()) }.sessions().is_none(), "empty is none");
    }
}
