//! Why a wish about a job was not granted.

use regrove_events::{Invalid, JobState, Unreadable, log};

/// A refusal. [`Error::kind`] names it for programs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The log has no event of the job.
    #[error("there is no job `{id}`")]
    NotFound {
        /// The id asked for.
        id: String,
    },
    /// The id cannot name a job.
    #[error(transparent)]
    Id(Unreadable),
    /// The id belongs to a job with other parameters.
    #[error("job `{id}` exists with other parameters; choose another id")]
    Taken {
        /// The id.
        id: String,
    },
    /// The job has ended: there is nothing to stop.
    #[error("job `{id}` has ended: {state}")]
    Ended {
        /// The job.
        id: String,
        /// How it ended.
        state: JobState,
    },
    /// The job has not ended without a model: there is nothing to try again.
    #[error("job `{id}` is {state}; only a job that failed or was cancelled can be tried again")]
    NotRetryable {
        /// The job.
        id: String,
        /// Where it stands.
        state: JobState,
    },
    /// The log does not say what the job was asked for, so it cannot be asked for again.
    #[error("job `{id}` was refused before its request was kept; submit it anew")]
    NoRequest {
        /// The job.
        id: String,
    },
    /// A field of a query or wish is wrong.
    #[error("`{field}`: {reason}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong and what it may be.
        reason: String,
    },
    /// The event cannot be made.
    #[error(transparent)]
    Event(#[from] Invalid),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] log::Error),
    /// A console refused.
    #[error("the console answered {status}: {detail}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The last part of the problem's type.
        kind: String,
        /// Why, for people.
        detail: String,
    },
    /// A console does not answer, or not as one.
    #[error("the console at {console}: {reason}")]
    Unreachable {
        /// Its address.
        console: String,
        /// What happened.
        reason: String,
    },
}

impl Error {
    /// The last part of the problem's type: `job-not-found`, `job-ended`, …
    pub fn kind(&self) -> &str {
        match self {
            Self::NotFound { .. } => "job-not-found",
            Self::Id(_) | Self::Event(_) => "invalid-job-id",
            Self::Taken { .. } => "job-id-taken",
            Self::Ended { .. } => "job-ended",
            Self::NotRetryable { .. } => "job-not-retryable",
            Self::NoRequest { .. } => "job-without-request",
            Self::Field { .. } => "invalid-parameter",
            Self::Refused { kind, .. } => kind,
            Self::Log(_) | Self::Unreachable { .. } => "dependency-unavailable",
        }
    }

    /// Whether the caller is to blame: asking again in the same way gives the same answer.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Log(_) | Self::Unreachable { .. } => false,
            Self::Refused { status, .. } => (400..500).contains(status),
            _ => true,
        }
    }
}
