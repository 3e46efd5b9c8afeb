//! S3, Google Cloud Storage and Azure Blob Storage, with the credentials of the environment.

use std::ops::Range;
use std::sync::Arc;

use futures_util::StreamExt as _;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, ObjectStoreScheme};
use url::Url;

use crate::Error;
use crate::fetch::Pieces;

/// An object of which pieces can be read as long as it stays the same.
pub(crate) struct PinnedObject {
    uri: String,
    store: Arc<dyn ObjectStore>,
    path: Path,
    total: u64,
    tag: String,
}

/// The bucket that a URI names, and the object's path in it.
///
/// # Errors
/// [`Error::Uri`] for what is no bucket; what the client says of the environment's settings.
pub(crate) fn open(url: &Url) -> Result<(Arc<dyn ObjectStore>, Path), Error> {
    let uri = url.to_string();
    let unsupported = |reason: String| Error::Uri { uri: uri.clone(), reason };
    let wrong = |error| settings_error(&uri, error);
    let (scheme, path) = ObjectStoreScheme::parse(url).map_err(|error| unsupported(error.to_string()))?;
    let store: Arc<dyn ObjectStore> = match scheme {
        ObjectStoreScheme::AmazonS3 => {
            Arc::new(AmazonS3Builder::from_env().with_url(url.as_str()).build().map_err(wrong)?)
        }
        ObjectStoreScheme::GoogleCloudStorage => {
            Arc::new(GoogleCloudStorageBuilder::from_env().with_url(url.as_str()).build().map_err(wrong)?)
        }
        ObjectStoreScheme::MicrosoftAzure => {
            Arc::new(MicrosoftAzureBuilder::from_env().with_url(url.as_str()).build().map_err(wrong)?)
        }
        _ => return Err(unsupported("it is no bucket".to_owned())),
    };
    Ok((store, path))
}

impl PinnedObject {
    /// `None` for an object that the bucket does not tell from another one under its name.
    pub(crate) async fn open(url: &Url) -> Result<Option<Self>, Error> {
        let uri = url.to_string();
        let (store, path) = open(url)?;
        let meta = store.head(&path).await.map_err(|error| store_error(&uri, error))?;
        Ok(meta.e_tag.map(|tag| Self { uri, store, path, total: meta.size, tag }))
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Whether the object begins with these bytes.
    pub(crate) async fn starts_with(&self, bytes: &[u8]) -> Result<bool, Error> {
        let length = bytes.len() as u64;
        if self.total < length {
            return Ok(false);
        }
        let mut pieces = self.piece(&(0..length)).await?;
        let mut first = Vec::new();
        while let Some(piece) = pieces.next().await {
            first.extend_from_slice(&piece?);
        }
        Ok(first == bytes)
    }

    /// These bytes of the same object.
    pub(crate) async fn piece(&self, range: &Range<u64>) -> Result<Pieces, Error> {
        let uri = self.uri.clone();
        let options = GetOptions {
            range: Some(GetRange::Bounded(range.clone())),
            if_match: Some(self.tag.clone()),
            ..GetOptions::default()
        };
        let found = self.store.get_opts(&self.path, options).await.map_err(|error| store_error(&uri, error))?;
        // Not every bucket looks at the condition.
        if found.meta.e_tag.as_ref().is_some_and(|tag| *tag != self.tag) || found.meta.size != self.total {
            return Err(Error::Changed { uri });
        }
        Ok(Box::pin(found.into_stream().map(move |piece| piece.map_err(|error| store_error(&uri, error)))))
    }
}

/// Settings that no request can be made with: they stay wrong, however often somebody asks.
fn settings_error(uri: &str, error: object_store::Error) -> Error {
    let reason = match error {
        object_store::Error::Generic { source, .. } => source.to_string(),
        other => other.to_string(),
    };
    Error::BucketSettings { uri: uri.to_owned(), reason }
}

pub(crate) fn store_error(uri: &str, error: object_store::Error) -> Error {
    use object_store::Error as Store;
    let uri = uri.to_owned();
    match error {
        Store::NotFound { .. } => Error::NotFound { uri, reason: "there is no such object".to_owned() },
        Store::PermissionDenied { .. } | Store::Unauthenticated { .. } => {
            Error::Denied { uri, reason: "check the credentials in the environment".to_owned() }
        }
        Store::Precondition { .. } => Error::Changed { uri },
        Store::InvalidPath { source } => Error::Uri { uri, reason: source.to_string() },
        other => Error::Unavailable { uri, reason: other.to_string() },
    }
}
