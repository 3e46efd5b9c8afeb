//! From a data set's URI to a frame: read, checked, hashed.

use std::fs::File;
use std::path::{Path, PathBuf};

use regrove_events::event::{DatasetRequest, JobFailed};
use regrove_forest::datasets::Synthetic;
use regrove_forest::{Frame, FrameLimits};
use url::Url;

/// What synthetic data sets' URIs start with.
pub const SYNTHETIC: &str = "synthetic:";

/// Why a data set cannot be learned from. Ends the job: asking again would give the same answer.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The URI is none, or of a scheme that is not supported.
    #[error("data set `{uri}` is not supported: {reason}; use `file:///…` or `synthetic:make_classification?…`")]
    Uri {
        /// The URI.
        uri: String,
        /// Why not.
        reason: String,
    },
    /// The file is not there, or may not be read.
    #[error("data set `{path}` cannot be read: {reason}")]
    Unreadable {
        /// The path.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// The path leaves the folders that are allowed.
    #[error("data set `{path}` lies outside the allowed folder `{root}` (REGROVE_DATA_ROOT)")]
    Outside {
        /// The path.
        path: String,
        /// The folder.
        root: String,
    },
    /// What is there cannot be learned from.
    #[error("data set `{uri}`: {source}")]
    Content {
        /// The URI.
        uri: String,
        /// What is wrong, with row and column.
        #[source]
        source: regrove_forest::Error,
    },
    /// The synthetic set's parameters are wrong.
    #[error("data set `{uri}`: {reason}")]
    Synthetic {
        /// The URI.
        uri: String,
        /// What is wrong.
        reason: String,
    },
}

impl Refused {
    /// The problem's kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Uri { .. } => "dataset-unsupported",
            Self::Unreadable { .. } => "dataset-not-found",
            Self::Outside { .. } => "dataset-not-allowed",
            Self::Content { .. } | Self::Synthetic { .. } => "dataset-invalid",
        }
    }

    /// As the end of a job.
    pub fn into_failure(self) -> JobFailed {
        JobFailed { step: "aggregate".to_owned(), problem: self.kind().to_owned(), reason: self.to_string() }
    }
}

/// Reads a data set. Blocking: files may be large.
///
/// `root`, when given, is the only folder that files may be read from.
///
/// # Errors
/// [`Refused`].
pub fn read(request: &DatasetRequest, root: Option<&Path>) -> Result<Frame, Refused> {
    let uri = &request.uri;
    if let Some(call) = uri.strip_prefix(SYNTHETIC) {
        let wrong = |reason: String| Refused::Synthetic { uri: uri.clone(), reason };
        let synthetic = Synthetic::parse(call).map_err(|error| wrong(error.to_string()))?;
        return synthetic.frame().map_err(|error| wrong(error.to_string()));
    }
    let path = file_path(uri)?;
    let unreadable = |error: std::io::Error| Refused::Unreadable {
        path: path.display().to_string(),
        reason: match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
            _ => error.to_string(),
        },
    };
    let real = path.canonicalize().map_err(unreadable)?;
    if let Some(root) = root {
        let allowed = root.canonicalize().map_err(unreadable)?;
        if !real.starts_with(&allowed) {
            return Err(Refused::Outside { path: path.display().to_string(), root: root.display().to_string() });
        }
    }
    let file = File::open(&real).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(unreadable(std::io::Error::other("it is not a regular file")));
    }
    Frame::from_csv(file, &request.target, &FrameLimits::default())
        .map_err(|source| Refused::Content { uri: uri.clone(), source })
}

fn file_path(uri: &str) -> Result<PathBuf, Refused> {
    let wrong = |reason: &str| Refused::Uri { uri: uri.to_owned(), reason: reason.to_owned() };
    let url = Url::parse(uri).map_err(|error| wrong(&error.to_string()))?;
    if url.scheme() != "file" {
        return Err(wrong(&format!("scheme `{}`", url.scheme())));
    }
    url.to_file_path().map_err(|()| wrong("the path is not absolute or names another host"))
}

/// What people call a data set: the name asked for, or the last part of its URI.
pub fn name(request: &DatasetRequest) -> String {
    if let Some(name) = &request.name {
        return name.clone();
    }
    let tail = request.uri.strip_prefix(SYNTHETIC).unwrap_or(&request.uri);
    let path = tail.split('?').next().unwrap_or(tail);
    let file = path.rsplit('/').next().unwrap_or(path);
    file.strip_suffix(".csv").unwrap_or(file).to_owned()
}
