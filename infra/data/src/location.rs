//! What a data set's URI names.

use std::path::PathBuf;

use url::Url;

use crate::Error;

/// How a data set is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// A file of this machine.
    File,
    /// A web server.
    Http,
    /// S3, Google Cloud Storage or Azure Blob Storage, with the credentials of the environment.
    Bucket,
}

/// Where a data set lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    url: Url,
    scheme: Scheme,
}

impl Location {
    /// Reads a URI.
    ///
    /// # Errors
    /// [`Error::Uri`] for what is none, a scheme that is not supported, a password in the URI.
    pub fn parse(uri: &str) -> Result<Self, Error> {
        let wrong = |reason: String| Error::Uri { uri: uri.to_owned(), reason };
        let url = Url::parse(uri).map_err(|error| wrong(error.to_string()))?;
        let scheme = match url.scheme() {
            "file" => Scheme::File,
            "http" | "https" => Scheme::Http,
            "s3" | "s3a" | "gs" | "az" | "azure" | "abfs" | "abfss" => Scheme::Bucket,
            other => return Err(wrong(format!("scheme `{other}`"))),
        };
        if scheme != Scheme::File && url.host_str().is_none_or(str::is_empty) {
            return Err(wrong("it names no host or bucket".to_owned()));
        }
        // A URI stands in events, logs and MLflow: no place for a secret.
        if url.password().is_some() || (scheme == Scheme::Http && !url.username().is_empty()) {
            return Err(Error::Uri { uri: redacted(&url), reason: "a URI must not hold a password".to_owned() });
        }
        Ok(Self { url, scheme })
    }

    /// The file at a path, as a person names it.
    ///
    /// # Errors
    /// [`Error::Io`] when there is none.
    pub fn file(path: &std::path::Path) -> Result<Self, Error> {
        let path = path.canonicalize().map_err(|source| Error::io(path.display(), source))?;
        let url = Url::from_file_path(&path)
            .map_err(|()| Error::Uri { uri: path.display().to_string(), reason: "the path has no URI".to_owned() })?;
        Ok(Self { url, scheme: Scheme::File })
    }

    /// The URI.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// How it is reached.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The path of a file.
    ///
    /// # Errors
    /// [`Error::Uri`] for what is no file of this machine.
    pub fn path(&self) -> Result<PathBuf, Error> {
        self.url.to_file_path().map_err(|()| Error::Uri {
            uri: self.url.to_string(),
            reason: "the path is not absolute or names another host".to_owned(),
        })
    }
}

fn redacted(url: &Url) -> String {
    format!("{}://…@{}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}
