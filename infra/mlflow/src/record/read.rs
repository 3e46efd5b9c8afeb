//! Reading models back: by newest version, number or alias.

use std::path::Path;

use bytes::Bytes;

use super::Record;
use crate::artifacts::ArtifactFile;
use crate::error::Error;
use crate::filter;
use crate::wire::ModelVersion;

/// Which version of a registered model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// The highest number.
    Latest,
    /// This number.
    Version(u64),
    /// The one that an alias names.
    Alias(String),
}

impl Record {
    /// The version that the selector names.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the model, version or alias does not exist, or the model has no version.
    pub async fn resolve(&self, name: &str, selector: &Selector) -> Result<ModelVersion, Error> {
        match selector {
            Selector::Version(version) => self.client.model_version(name, *version).await,
            Selector::Alias(alias) => self.client.version_by_alias(name, alias).await,
            Selector::Latest => {
                let filter = format!("name = {}", filter::literal("registered model", name)?);
                let found = self.client.search_model_versions(&filter, "version_number DESC", 1).await?;
                found.into_iter().next().ok_or_else(|| Error::NotFound {
                    what: format!("a version of model {name}"),
                    message: "the registered model does not exist or has no version".to_owned(),
                })
            }
        }
    }

    /// A file of a version, in memory.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a file that the version does not have, [`Error::TooLarge`] beyond
    /// [`ARTIFACT_BYTES_MAX`](crate::ARTIFACT_BYTES_MAX).
    pub async fn download(&self, version: &ModelVersion, file: &str) -> Result<Bytes, Error> {
        let root = self.artifact_root(version).await?;
        self.client.artifact(&root, file).await
    }

    /// A file of a version, streamed into a local file; gives its size in bytes.
    ///
    /// # Errors
    /// As for [`Client::artifact_to_file`](crate::Client::artifact_to_file).
    pub async fn download_to(&self, version: &ModelVersion, file: &str, path: &Path) -> Result<u64, Error> {
        let root = self.artifact_root(version).await?;
        self.client.artifact_to_file(&root, file, path).await
    }

    /// The files and folders directly in `folder` (empty: the top) of a version.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown version.
    pub async fn files(&self, version: &ModelVersion, folder: &str) -> Result<Vec<ArtifactFile>, Error> {
        let root = self.artifact_root(version).await?;
        self.client.artifacts(&root, folder).await
    }

    /// Where the files of a version are, as `mlflow-artifacts:/…`.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown version.
    pub async fn artifact_root(&self, version: &ModelVersion) -> Result<String, Error> {
        let uri = self.client.download_uri(&version.name, version.version).await?;
        // Some servers answer with the logged model instead of its place.
        match uri.strip_prefix("models:/") {
            Some(model_id) => Ok(self.client.logged_model(model_id).await?.artifact_uri),
            None => Ok(uri),
        }
    }
}
