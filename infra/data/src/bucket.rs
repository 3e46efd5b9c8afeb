//! S3, Google Cloud Storage and Azure Blob Storage, with the credentials of the environment.

use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreScheme};
use url::Url;

use crate::Error;

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

/// Settings that no request can be made with: they stay wrong, however often somebody asks.
fn settings_error(uri: &str, error: object_store::Error) -> Error {
    let reason = match error {
        object_store::Error::Generic { source, .. } => source.to_string(),
        other => other.to_string(),
    };
    let reason = format!("the environment's settings for this bucket cannot be used: {reason}");
    Error::NotFound { uri: uri.to_owned(), reason }
}

pub(crate) fn store_error(uri: &str, error: object_store::Error) -> Error {
    use object_store::Error as Store;
    let uri = uri.to_owned();
    match error {
        Store::NotFound { .. } => Error::NotFound { uri, reason: "there is no such object".to_owned() },
        Store::PermissionDenied { .. } | Store::Unauthenticated { .. } => {
            Error::NotFound { uri, reason: "access is denied; check the credentials in the environment".to_owned() }
        }
        Store::InvalidPath { source } => Error::Uri { uri, reason: source.to_string() },
        other => Error::Unavailable { uri, reason: other.to_string() },
    }
}
