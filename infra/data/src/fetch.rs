//! From a location to a file of this machine.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use object_store::ObjectStoreExt as _;
use tempfile::NamedTempFile;
use url::Url;

use crate::bucket::{PinnedObject, open as open_bucket, store_error};
use crate::pieces::{MAGIC, Remote, fetch_pieces};
use crate::web::{First, Web};
use crate::{Error, Limits, Location, Policy, Progress, Scheme, Stage};

/// Which columns will be read. What lies elsewhere and is Parquet is fetched without the others.
#[derive(Debug, Clone, Copy)]
pub enum Columns<'a> {
    /// Every one.
    All,
    /// All but these.
    Except(&'a [String]),
    /// These.
    Only(&'a [String]),
}

impl Columns<'_> {
    pub(crate) fn hold(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Except(names) => names.iter().all(|other| other != name),
            Self::Only(names) => names.iter().any(|other| other == name),
        }
    }
}

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

    /// How many of its bytes are here: all of them, or those of a Parquet file that are wanted.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn spooled(file: NamedTempFile, bytes: u64) -> Self {
        Self { path: file.path().to_owned(), bytes, _spooled: Some(file) }
    }
}

/// Brings a data set here. What is not a file of this machine is written to a file in `spool`, piece by piece.
///
/// Of what is Parquet and ends in `.parquet` only the footer and the wanted columns are fetched, if the server gives pieces
/// and says that they are of the same object.
///
/// # Errors
/// What the policy refuses, a place that does not answer or has nothing, more bytes than allowed; [`Error::Changed`] for an
/// object that was replaced meanwhile.
pub async fn fetch(
    location: &Location,
    policy: &Policy,
    limits: &Limits,
    spool: &Path,
    columns: &Columns<'_>,
    progress: &dyn Progress,
) -> Result<Local, Error> {
    policy.check(location)?;
    let url = location.url();
    let found = match location.scheme() {
        Scheme::File => return file(location, policy, limits),
        Scheme::Http => on_web(location, policy).await?,
        Scheme::Bucket => in_bucket(location).await?,
    };
    match found {
        Found::Pieces(remote) => fetch_pieces(&remote, url.as_str(), columns, limits, spool, progress).await,
        Found::Whole(total, pieces) => spooled(url, total, pieces, limits, spool, progress).await,
    }
}

/// What lies elsewhere.
enum Found {
    /// Parquet, of which pieces can be asked for.
    Pieces(Remote),
    /// Anything: all of it, and its length if that is known.
    Whole(Option<u64>, Pieces),
}

async fn on_web(location: &Location, policy: &Policy) -> Result<Found, Error> {
    let web = Web::new(location.url(), policy)?;
    if location.names_parquet() {
        match web.first(MAGIC.len() as u64).await? {
            First::Piece(bytes, pinned) if bytes == MAGIC => return Ok(Found::Pieces(Remote::Web(pinned))),
            First::Whole(total, pieces) => return Ok(Found::Whole(total, pieces)),
            First::Piece(..) | First::Unsaid => {}
        }
    }
    let (total, pieces) = web.whole().await?;
    Ok(Found::Whole(total, pieces))
}

async fn in_bucket(location: &Location) -> Result<Found, Error> {
    if location.names_parquet()
        && let Some(pinned) = PinnedObject::open(location.url()).await?
        && pinned.starts_with(MAGIC).await?
    {
        return Ok(Found::Pieces(Remote::Bucket(pinned)));
    }
    let (total, pieces) = bucket(location.url()).await?;
    Ok(Found::Whole(Some(total), pieces))
}

fn file(location: &Location, policy: &Policy, limits: &Limits) -> Result<Local, Error> {
    let path = location.path()?;
    let missing = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => {
            Error::NotFound { uri: path.display().to_string(), reason: "there is no such file".to_owned() }
        }
        _ => Error::NotFound { uri: path.display().to_string(), reason: source.to_string() },
    };
    let real = policy.real_path(&path, missing)?;
    let metadata = real.metadata().map_err(missing)?;
    if !metadata.is_file() {
        return Err(missing(std::io::Error::other("it is not a regular file")));
    }
    limits.check_bytes(metadata.len())?;
    Ok(Local { path: real, bytes: metadata.len(), _spooled: None })
}

/// Bytes as they come.
pub(crate) type Pieces = std::pin::Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>;

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
    Ok(Local::spooled(file, bytes))
}
