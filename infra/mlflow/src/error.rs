//! What can go wrong when talking to MLflow, sorted by what the caller should do about it.

use std::path::PathBuf;
use std::time::Duration;

/// Why an MLflow call did not give what was asked.
///
/// [`Error::is_retryable`] separates "try again later" from "will never work like this".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting cannot be used.
    #[error("{setting}: {reason}")]
    Configuration {
        /// Name of the environment variable.
        setting: &'static str,
        /// What is wrong and what to write instead.
        reason: String,
    },
    /// No connection, or it broke before the answer was complete.
    #[error("MLflow at {uri} cannot be reached for {call}: {source}")]
    Unreachable {
        /// Tracking URI, without credentials.
        uri: String,
        /// Which call.
        call: String,
        /// What the HTTP client said.
        #[source]
        source: reqwest::Error,
    },
    /// No complete answer within the request timeout.
    #[error("MLflow at {uri} did not answer {call} within {after:?} (REGROVE_MLFLOW_TIMEOUT_SECONDS)")]
    Timeout {
        /// Tracking URI, without credentials.
        uri: String,
        /// Which call.
        call: String,
        /// The request timeout.
        after: Duration,
    },
    /// The server answered that it cannot serve now: 5xx or 429.
    #[error("MLflow is unavailable for {call}: {status} {message}")]
    Unavailable {
        /// Which call.
        call: String,
        /// HTTP status, 429 or 500 ..= 599.
        status: u16,
        /// What the server said.
        message: String,
    },
    /// The run that an operation wrote to was deleted meanwhile: another process won the race for this job.
    /// Repeating the whole operation finds the winner.
    #[error("run {run_id} is deleted, another one stands for its job: {message}")]
    RunDeleted {
        /// The deleted run.
        run_id: String,
        /// What the server said.
        message: String,
    },
    /// Another process wrote the same thing at the same moment, and the server's database let only one of them through.
    #[error("somebody else wrote the same at the same moment in {call}: {message}")]
    Contended {
        /// Which call.
        call: String,
        /// What the server said.
        message: String,
    },
    /// The named experiment, run, model, version, alias or artifact does not exist.
    #[error("{what} does not exist in MLflow: {message}")]
    NotFound {
        /// What was asked for.
        what: String,
        /// What the server said.
        message: String,
    },
    /// The server has no such endpoint (404 without MLflow's error object): an older MLflow, or a wrong path in the URI.
    #[error("MLflow has no endpoint for {call}: is MLFLOW_TRACKING_URI complete, is the server at least 2.22?")]
    NoSuchEndpoint {
        /// Which call.
        call: String,
    },
    /// The name is taken.
    #[error("already exists in MLflow: {message}")]
    AlreadyExists {
        /// What the server said.
        message: String,
    },
    /// The server understood the request and refuses it; repeating it cannot help.
    #[error("MLflow refused {call}: {status} {error_code}: {message}")]
    Refused {
        /// Which call.
        call: String,
        /// HTTP status.
        status: u16,
        /// MLflow's error code, for example `INVALID_PARAMETER_VALUE`.
        error_code: String,
        /// What the server said.
        message: String,
    },
    /// Credentials are missing, wrong, or not allowed to do this (401, 403).
    #[error(
        "MLflow does not allow {call} ({status}): set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
    )]
    Unauthorized {
        /// Which call.
        call: String,
        /// HTTP status, 401 or 403.
        status: u16,
    },
    /// MLflow's security layer does not know the host name that the tracking URI uses.
    #[error(
        "MLflow refuses the host name {host}: start the server with MLFLOW_SERVER_ALLOWED_HOSTS={host},{host}:*,localhost,localhost:*"
    )]
    HostRefused {
        /// Host of the tracking URI.
        host: String,
    },
    /// Something answers at the tracking URI, but not MLflow.
    #[error("{uri} does not answer as MLflow does ({call}: {reason}): check MLFLOW_TRACKING_URI")]
    NotMlflow {
        /// Tracking URI, without credentials.
        uri: String,
        /// Which call.
        call: String,
        /// What gave it away.
        reason: String,
    },
    /// An answer or an artifact is bigger than the limit.
    #[error("{what} is bigger than {limit} bytes")]
    TooLarge {
        /// What was read.
        what: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// A name, tag or value that MLflow cannot hold or cannot be searched for.
    #[error("{field} {value:?} cannot be used: {reason}")]
    InvalidValue {
        /// Which field.
        field: &'static str,
        /// The value.
        value: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// The job is registered already, with a model of other content: determinism is broken, or a job id was used twice.
    #[error("{what} exists with sha256 {existing}, not {requested}: use another job id")]
    Conflicting {
        /// What exists.
        what: String,
        /// SHA-256 in MLflow.
        existing: String,
        /// SHA-256 that was to be registered.
        requested: String,
    },
    /// A file of the model could not be read or written on this machine.
    #[error("model file {}: {source}", path.display())]
    LocalFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Timeout { .. }
                | Self::Unavailable { .. }
                | Self::RunDeleted { .. }
                | Self::Contended { .. }
        )
    }

    /// Whether the thing asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}
