//! From a location to a file of this machine.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use object_store::ObjectStoreExt as _;
use reqwest::StatusCode;
use reqwest::redirect::{Attempt, Policy as Redirects};
use tempfile::NamedTempFile;
use url::Url;

use crate::bucket::{open as open_bucket, store_error};
use crate::resolver::{Private, Resolver};
use crate::{Error, Limits, Location, Policy, Progress, Scheme, Stage};

/// How long a server may take to answer, and between two pieces of the answer.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Redirects that are followed.
const REDIRECTS_MAX: usize = 5;

/// A data set as a file of this machine; one that was fetched is gone when this is dropped.
#[derive(Debug)]
pub struct Local {
    path: PathBuf,
    bytes: u64,
    _spooled: Option<NamedTempFile>,
}

impl Local {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Brings a data set here. What is not a file of this machine is written to a file in `spool`, piece by piece.
///
/// # Errors
/// What the policy refuses, a place that does not answer or has nothing, more bytes than allowed.
pub async fn fetch(
    location: &Location,
    policy: &Policy,
    limits: &Limits,
    spool: &Path,
    progress: &dyn Progress,
) -> Result<Local, Error> {
    policy.check(location)?;
    match location.scheme() {
        Scheme::File => file(location, policy, limits),
        Scheme::Http => {
            let (total, pieces) = http(location.url(), policy).await?;
            spooled(location.url(), total, pieces, limits, spool, progress).await
        }
        Scheme::Bucket => {
            let (total, pieces) = bucket(location.url()).await?;
            spooled(location.url(), Some(total), pieces, limits, spool, progress).await
        }
    }
}

fn file(location: &Location, policy: &Policy, limits: &Limits) -> Result<Local, Error> {
    let path = location.path()?;
    let missing = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => {
            Error::NotFound { uri: path.display().to_string(), reason: "there is no such file".to_owned() }
        }
        _ => Error::NotFound { uri: path.display().to_string(), reason: source.to_string() },
    };
    let real = path.canonicalize().map_err(missing)?;
    policy.check_file(&real)?;
    let metadata = real.metadata().map_err(missing)?;
    if !metadata.is_file() {
        return Err(missing(std::io::Error::other("it is not a regular file")));
    }
    limits.check_bytes(metadata.len())?;
    Ok(Local { path: real, bytes: metadata.len(), _spooled: None })
}

type Pieces = std::pin::Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>;

async fn http(url: &Url, policy: &Policy) -> Result<(Option<u64>, Pieces), Error> {
    let uri = url.to_string();
    let redirect_policy = policy.clone();
    let client = reqwest::Client::builder()
        .connect_timeout(SILENCE_MAX)
        .read_timeout(SILENCE_MAX)
        .no_proxy()
        .redirect(Redirects::custom(move |attempt| redirect(&redirect_policy, attempt)))
        .dns_resolver(Arc::new(Resolver { policy: policy.clone() }))
        .build()
        .map_err(|error| web_error(&uri, &error))?;
    let response = client.get(url.clone()).send().await.map_err(|error| web_error(&uri, &error))?;
    let status = response.status();
    if status.is_redirection() {
        // The client follows web addresses only, and asks for permission before it does.
        let to = response.headers().get(reqwest::header::LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
        let reason = format!("it redirects to {to}, and a redirect may only lead to a web server");
        return Err(Error::NotAllowed { uri, reason });
    }
    if !status.is_success() {
        let reason = format!("the server answered {status}");
        let passing =
            status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
        return Err(if passing { Error::Unavailable { uri, reason } } else { Error::NotFound { uri, reason } });
    }
    let total = response.content_length();
    let pieces = response.bytes_stream().map(move |piece| piece.map_err(|error| web_error(&uri, &error)));
    Ok((total, Box::pin(pieces)))
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

async fn bucket(url: &Url) -> Result<(u64, Pieces), Error> {
    let uri = url.to_string();
    let (store, path) = open_bucket(url)?;
    let found = store.get(&path).await.map_err(|error| store_error(&uri, error))?;
    let total = found.meta.size;
    let pieces = found.into_stream().map(move |piece| piece.map_err(|error| store_error(&uri, error)));
    Ok((total, Box::pin(pieces)))
}

async fn spooled(
    url: &Url,
    total: Option<u64>,
    mut pieces: Pieces,
    limits: &Limits,
    spool: &Path,
    progress: &dyn Progress,
) -> Result<Local, Error> {
    limits.check_bytes(total.unwrap_or(0))?;
    let wrong = |source| Error::io(spool.display(), source);
    std::fs::create_dir_all(spool).map_err(wrong)?;
    let mut file = NamedTempFile::new_in(spool).map_err(wrong)?;
    let mut bytes = 0;
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        bytes += piece.len() as u64;
        limits.check_bytes(bytes)?;
        file.write_all(&piece).map_err(wrong)?;
        progress.advance(Stage::Fetch, bytes, total);
    }
    if let Some(total) = total.filter(|total| *total != bytes) {
        let reason = format!("it broke off after {bytes} of {total} bytes");
        return Err(Error::Unavailable { uri: url.to_string(), reason });
    }
    file.flush().map_err(wrong)?;
    Ok(Local { path: file.path().to_owned(), bytes, _spooled: Some(file) })
}
