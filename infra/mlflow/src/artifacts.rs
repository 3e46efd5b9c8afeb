//! Files: up and down through the server's artifact proxy.

use std::path::Path;

use bytes::Bytes;
use reqwest::{Body, Method, header};
use serde::Deserialize;
use tokio::io::AsyncWriteExt;

use crate::client::Client;
use crate::error::Error;
use crate::model_dir::Content;

/// Largest artifact that is read into memory, in bytes.
pub const ARTIFACT_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// The scheme under which a server proxies its artifact store.
const PROXIED_SCHEME: &str = "mlflow-artifacts:";

/// A file or folder below an artifact root.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ArtifactFile {
    /// Path, relative to the listed folder.
    pub path: String,
    /// Whether it is a folder.
    #[serde(default)]
    pub is_dir: bool,
    /// Size in bytes; absent for folders.
    #[serde(default)]
    pub file_size: Option<u64>,
}

#[derive(Deserialize)]
struct Listing {
    #[serde(default)]
    files: Vec<ArtifactFile>,
}

impl Client {
    /// Writes `content` to `name` below the artifact root `root` (`mlflow-artifacts:/…`); replaces what is there.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] for a root that the server does not proxy, or a name that leaves it;
    /// [`Error::LocalFile`] when the file to send cannot be read.
    pub async fn put_artifact(&self, root: &str, name: &str, content: &Content) -> Result<(), Error> {
        let call = format!("PUT artifact {name}");
        let segments = artifact_segments(root, name)?;
        let request = self
            .request(&call, Method::PUT, &prefixed(&segments))?
            .header(header::CONTENT_TYPE, "application/octet-stream");
        let request = match content {
            Content::Bytes(bytes) => request.body(bytes.clone()),
            Content::Path(path) => {
                let local = |source| Error::LocalFile { path: path.clone(), source };
                let file = tokio::fs::File::open(path).await.map_err(local)?;
                let length = file.metadata().await.map_err(local)?.len();
                // Known length: the server's WSGI layer does not take chunked bodies everywhere.
                request.header(header::CONTENT_LENGTH, length).body(Body::from(file))
            }
        };
        let response = self.send(&call, request).await?;
        self.read(&call, response, crate::client::REPLY_BYTES_MAX).await.map(drop)
    }

    /// Reads a file below an artifact root into memory, up to [`ARTIFACT_BYTES_MAX`].
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such file, [`Error::TooLarge`] beyond the limit.
    pub async fn artifact(&self, root: &str, name: &str) -> Result<Bytes, Error> {
        let call = format!("GET artifact {name}");
        let response = self.open_artifact(&call, root, name).await?;
        self.read(&call, response, ARTIFACT_BYTES_MAX).await
    }

    /// Streams a file below an artifact root into a local file, which is created or replaced; gives its size in bytes.
    /// After an error the local file may be incomplete.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such artifact, [`Error::LocalFile`] when the local file cannot be written.
    pub async fn artifact_to_file(&self, root: &str, name: &str, path: &Path) -> Result<u64, Error> {
        let call = format!("GET artifact {name}");
        let local = |source| Error::LocalFile { path: path.to_owned(), source };
        let mut response = self.open_artifact(&call, root, name).await?;
        let mut file = tokio::fs::File::create(path).await.map_err(local)?;
        let mut written = 0;
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(&call, error))? {
            file.write_all(&chunk).await.map_err(local)?;
            written += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        }
        file.flush().await.map_err(local)?;
        Ok(written)
    }

    /// The files and folders directly in `folder` (empty: the root itself) below an artifact root.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] for a root that the server does not proxy.
    pub async fn artifacts(&self, root: &str, folder: &str) -> Result<Vec<ArtifactFile>, Error> {
        const CALL: &str = "GET artifacts";
        let path = artifact_segments(root, folder)?.join("/");
        let request = self.request(CALL, Method::GET, &ARTIFACTS)?.query(&[("path", path)]);
        let response = self.send(CALL, request).await?;
        let bytes = self.read(CALL, response, crate::client::REPLY_BYTES_MAX).await?;
        let listing: Listing =
            serde_json::from_slice(&bytes).map_err(|error| self.not_mlflow(CALL, &error.to_string()))?;
        Ok(listing.files)
    }

    async fn open_artifact(&self, call: &str, root: &str, name: &str) -> Result<reqwest::Response, Error> {
        let segments = artifact_segments(root, name)?;
        let request = self.request(call, Method::GET, &prefixed(&segments))?;
        let missing = |message| Error::NotFound { what: format!("artifact {name}"), message };
        match self.send(call, request).await {
            // The proxy answers a missing file with 404 with or without an error object, older ones with 500.
            Err(Error::NoSuchEndpoint { .. }) => Err(missing("404".to_owned())),
            Err(Error::NotFound { message, .. }) => Err(missing(message)),
            Err(Error::Unavailable { status: 500, message, .. })
                if message.contains("No such file") || message.contains("NoSuchKey") =>
            {
                Err(missing(message))
            }
            other => other,
        }
    }
}

const ARTIFACTS: [&str; 4] = ["api", "2.0", "mlflow-artifacts", "artifacts"];

fn prefixed<'a>(segments: &[&'a str]) -> Vec<&'a str> {
    ARTIFACTS.into_iter().chain(segments.iter().copied()).collect()
}

/// `mlflow-artifacts:/1/models/m-x/artifacts` and `a/b` as the segments below the proxy's root.
fn artifact_segments<'a>(root: &'a str, name: &'a str) -> Result<Vec<&'a str>, Error> {
    let invalid = |value: &str, reason| Error::InvalidValue { field: "artifact", value: value.to_owned(), reason };
    let below = root.strip_prefix(PROXIED_SCHEME).ok_or_else(|| {
        invalid(
            root,
            "the server must proxy its artifacts: start it with --serve-artifacts (artifactRoot.proxiedArtifactStorage in the chart)",
        )
    })?;
    // `mlflow-artifacts://host/path` names a server as well; this client already has one.
    let below = match below.strip_prefix("//") {
        Some(with_host) => with_host.split_once('/').map_or("", |(_, path)| path),
        None => below,
    };
    let segments: Vec<&str> = below.split('/').chain(name.split('/')).filter(|segment| !segment.is_empty()).collect();
    if segments.iter().any(|segment| matches!(*segment, "." | "..")) {
        return Err(invalid(name, "the path must not leave the artifact root"));
    }
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_and_names_become_paths_below_the_proxy() {
        let segments = artifact_segments("mlflow-artifacts:/1/models/m-a/artifacts", "d/MLmodel");
        assert_eq!(segments.unwrap(), ["1", "models", "m-a", "artifacts", "d", "MLmodel"]);
        let with_host = artifact_segments("mlflow-artifacts://host:5000/1/x", "").unwrap();
        assert_eq!(with_host, ["1", "x"]);
    }

    #[test]
    fn a_path_that_leaves_the_root_or_an_unproxied_root_is_refused() {
        assert!(artifact_segments("mlflow-artifacts:/1", "../2").is_err());
        let text = artifact_segments("./mlruns/1", "a").unwrap_err().to_string();
        assert!(text.contains("--serve-artifacts"), "{text}");
    }
}
