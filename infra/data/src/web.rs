//! Web servers: whole objects, and pieces of those that stay the same meanwhile.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::header::{CONTENT_RANGE, ETAG, HeaderValue, IF_MATCH, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE};
use reqwest::redirect::{Attempt, Policy as Redirects};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use url::Url;

use crate::fetch::Pieces;
use crate::resolver::{Private, Resolver};
use crate::{Error, Location, Policy, Scheme};

/// How long a server may take to answer, and between two pieces of the answer.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Redirects that are followed.
const REDIRECTS_MAX: usize = 5;

/// An object on a web server.
#[derive(Debug, Clone)]
pub(crate) struct Web {
    client: Client,
    url: Url,
}

/// An object of which a server gives pieces, as long as it stays the same.
#[derive(Debug)]
pub(crate) struct Pinned {
    web: Web,
    total: u64,
    same: Same,
}

/// How a server is told which object is meant, by its strong `ETag` or else by its time (RFC 9110, 13.1).
#[derive(Debug)]
enum Same {
    Tag(HeaderValue),
    Time(HeaderValue),
}

/// What came of asking for the first bytes.
pub(crate) enum First {
    /// The bytes. More of the same object can be asked for.
    Piece(Vec<u8>, Pinned),
    /// The server sends everything whatever it is asked for.
    Whole(Option<u64>, Pieces),
    /// It gives pieces, but does not say of what: everything has to be asked for anew.
    Unsaid,
}

impl Web {
    pub(crate) fn new(url: &Url, policy: &Policy) -> Result<Self, Error> {
        let redirects = policy.clone();
        let client = Client::builder()
            .connect_timeout(SILENCE_MAX)
            .read_timeout(SILENCE_MAX)
            .no_proxy()
            .redirect(Redirects::custom(move |attempt| redirect(&redirects, attempt)))
            .dns_resolver(Arc::new(Resolver { policy: policy.clone() }))
            .build()
            .map_err(|error| web_error(url.as_str(), &error))?;
        Ok(Self { client, url: url.clone() })
    }

    /// The whole object, and its length if the server says it.
    pub(crate) async fn whole(&self) -> Result<(Option<u64>, Pieces), Error> {
        let response = self.sent(self.client.get(self.url.clone())).await?;
        let response = self.checked(response)?;
        Ok((response.content_length(), self.pieces(response)))
    }

    /// The first `length` bytes, or everything from a server that does not give pieces.
    pub(crate) async fn first(&self, length: u64) -> Result<First, Error> {
        let asked = self.client.get(self.url.clone()).header(RANGE, format!("bytes=0-{}", length - 1));
        let response = self.sent(asked).await?;
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            return Ok(First::Unsaid);
        }
        let response = self.checked(response)?;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return Ok(First::Whole(response.content_length(), self.pieces(response)));
        }
        let (Some((0, end, total)), Some(same)) = (content_range(&response), same(&response)) else {
            return Ok(First::Unsaid);
        };
        let mut bytes = Vec::new();
        let mut pieces = self.pieces(response);
        while let Some(piece) = pieces.next().await {
            bytes.extend_from_slice(&piece?);
            if bytes.len() as u64 > length {
                break;
            }
        }
        if bytes.len() as u64 != end.saturating_add(1) || end >= length {
            return Ok(First::Unsaid);
        }
        Ok(First::Piece(bytes, Pinned { web: self.clone(), total, same }))
    }

    async fn sent(&self, request: RequestBuilder) -> Result<Response, Error> {
        request.send().await.map_err(|error| web_error(self.url.as_str(), &error))
    }

    /// The answer, unless it is a refusal.
    fn checked(&self, response: Response) -> Result<Response, Error> {
        let (uri, status) = (self.url.to_string(), response.status());
        if status.is_redirection() {
            // The client follows web addresses only, and asks for permission before it does.
            let to = response.headers().get(reqwest::header::LOCATION);
            let to = to.and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
            let reason = format!("it redirects to {to}, and a redirect may only lead to a web server");
            return Err(Error::NotAllowed { uri, reason });
        }
        if status.is_success() {
            return Ok(response);
        }
        let reason = format!("the server answered {status}");
        Err(match status {
            StatusCode::PRECONDITION_FAILED => Error::Changed { uri },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::Denied { uri, reason },
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Error::Unavailable { uri, reason },
            status if status.is_server_error() => Error::Unavailable { uri, reason },
            _ => Error::NotFound { uri, reason },
        })
    }

    fn pieces(&self, response: Response) -> Pieces {
        let uri = self.url.to_string();
        Box::pin(response.bytes_stream().map(move |piece| piece.map_err(|error| web_error(&uri, &error))))
    }
}

impl Pinned {
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// These bytes of the same object.
    pub(crate) async fn piece(&self, range: &Range<u64>) -> Result<Pieces, Error> {
        let uri = || self.web.url.to_string();
        let last = range.end.saturating_sub(1);
        let asked = self.web.client.get(self.web.url.clone()).header(RANGE, format!("bytes={}-{last}", range.start));
        let asked = match &self.same {
            Same::Tag(tag) => asked.header(IF_MATCH, tag),
            Same::Time(time) => asked.header(IF_UNMODIFIED_SINCE, time),
        };
        let response = self.web.checked(self.web.sent(asked).await?)?;
        // Not every server looks at the condition: what it sends must be of the same object, too.
        let other = match (&self.same, same(&response)) {
            (Same::Tag(tag), Some(Same::Tag(sent))) => *tag != sent,
            (Same::Time(time), Some(Same::Time(sent))) => *time != sent,
            _ => false,
        };
        match content_range(&response) {
            _ if other => Err(Error::Changed { uri: uri() }),
            Some((start, end, total)) if (start, end) == (range.start, last) => {
                if total == self.total {
                    Ok(self.web.pieces(response))
                } else {
                    Err(Error::Changed { uri: uri() })
                }
            }
            _ => {
                let reason = format!("the server was asked for bytes {}-{last} and answered others", range.start);
                Err(Error::Unavailable { uri: uri(), reason })
            }
        }
    }
}

/// `bytes 0-99/1234` as first and last byte and length; `None` where it is not said, or the length is not.
fn content_range(response: &Response) -> Option<(u64, u64, u64)> {
    let text = response.headers().get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
    let (range, total) = text.split_once('/')?;
    let (start, end) = range.split_once('-')?;
    Some((start.trim().parse().ok()?, end.trim().parse().ok()?, total.trim().parse().ok()?))
}

/// A weak tag stands for objects that are not the same byte for byte.
fn same(response: &Response) -> Option<Same> {
    let header = |name| response.headers().get(name).cloned();
    let tag = header(ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""));
    tag.map(Same::Tag).or_else(|| header(LAST_MODIFIED).map(Same::Time))
}
/// Why a redirect is not followed.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
struct NotFollowed {
    to: String,
    reason: String,
}

fn redirect(policy: &Policy, attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let to = attempt.url().to_string();
    if attempt.previous().len() > REDIRECTS_MAX {
        return attempt.error(NotFollowed { to, reason: format!("more than {REDIRECTS_MAX} redirects") });
    }
    let checked = Location::parse(&to).and_then(|location| {
        if location.scheme() != Scheme::Http {
            return Err(Error::NotAllowed {
                uri: to.clone(),
                reason: "a redirect may only lead to a web server".to_owned(),
            });
        }
        policy.check(&location)
    });
    match checked {
        Ok(()) => attempt.follow(),
        Err(error) => attempt.error(NotFollowed { to, reason: error.to_string() }),
    }
}

/// An error of the client, or one of ours that it carries.
fn web_error(uri: &str, error: &reqwest::Error) -> Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut reason = String::new();
    while let Some(inner) = cause {
        if let Some(refused) = inner.downcast_ref::<NotFollowed>() {
            return Error::NotAllowed {
                uri: uri.to_owned(),
                reason: format!("it redirects to {}: {refused}", refused.to),
            };
        }
        if let Some(refused) = inner.downcast_ref::<Private>() {
            return Error::NotAllowed { uri: uri.to_owned(), reason: refused.to_string() };
        }
        reason = inner.to_string();
        cause = inner.source();
    }
    // The client refuses schemes that it does not know before it asks for permission.
    if error.is_redirect() {
        return Error::NotAllowed { uri: uri.to_owned(), reason: format!("its redirect cannot be followed: {reason}") };
    }
    Error::Unavailable { uri: uri.to_owned(), reason }
}
