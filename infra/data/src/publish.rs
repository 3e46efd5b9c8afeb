//! From a file of this machine to its place next to a data set.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use object_store::buffered::BufWriter;
use tokio::io::AsyncWriteExt as _;

use crate::bucket::{self, store_error};
use crate::{Error, Location, Policy, Scheme};

/// As for any file that a program makes; the process's umask takes away from it.
const MODE: u32 = 0o666;

/// Copies a finished file to a location, where it is whole or not at all. What was there before is replaced.
///
/// # Errors
/// What the policy refuses; [`Error::NotWritable`] for a web server and where access is denied; a place that does not answer.
pub async fn publish(file: &Path, to: &Location, policy: &Policy) -> Result<(), Error> {
    policy.check(to)?;
    match to.scheme() {
        Scheme::File => {
            let (file, to, policy) = (file.to_owned(), to.clone(), policy.clone());
            let work = tokio::task::spawn_blocking(move || to_file(&file, &to, &policy));
            work.await.map_err(|error| Error::io("results", io::Error::other(error)))?
        }
        Scheme::Http => {
            Err(Error::NotWritable { uri: to.url().to_string(), reason: "web servers are only read from".to_owned() })
        }
        Scheme::Bucket => to_bucket(file, to).await,
    }
}

fn to_file(file: &Path, to: &Location, policy: &Policy) -> Result<(), Error> {
    let path = to.path()?;
    let wrong = |source: io::Error| match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotFound => {
            Error::NotWritable { uri: to.url().to_string(), reason: source.to_string() }
        }
        _ => Error::io(path.display(), source),
    };
    let folder = policy.real_path(path.parent().unwrap_or(&path), wrong)?;
    let mut content = File::open(file).map_err(|source| Error::io(file.display(), source))?;
    let mut whole = tempfile::Builder::new();
    let mut whole =
        whole.prefix(".regrove-").permissions(Permissions::from_mode(MODE)).tempfile_in(&folder).map_err(wrong)?;
    io::copy(&mut content, &mut whole).map_err(wrong)?;
    whole.as_file().sync_all().map_err(wrong)?;
    let name = path.file_name().unwrap_or_default();
    whole.persist(folder.join(name)).map(drop).map_err(|error| wrong(error.error))
}

async fn to_bucket(file: &Path, to: &Location) -> Result<(), Error> {
    let uri = to.url().to_string();
    let (store, path) = bucket::open(to.url())?;
    let mut content = tokio::fs::File::open(file).await.map_err(|source| Error::io(file.display(), source))?;
    let mut object = BufWriter::new(store, path);
    let copied = tokio::io::copy(&mut content, &mut object).await;
    let written = match copied {
        Ok(_) => object.shutdown().await,
        Err(error) => {
            // What was uploaded of it costs money until somebody says that it is not wanted.
            object.abort().await.map_err(|error| refused(&uri, error))?;
            Err(error)
        }
    };
    written.map_err(|error| match error.downcast::<object_store::Error>() {
        Ok(error) => refused(&uri, error),
        Err(error) => Error::Unavailable { uri, reason: error.to_string() },
    })
}

/// Why a bucket does not take an object: asking again changes nothing where access is denied.
fn refused(uri: &str, error: object_store::Error) -> Error {
    match store_error(uri, error) {
        Error::NotFound { uri, reason } => Error::NotWritable { uri, reason },
        other => other,
    }
}
