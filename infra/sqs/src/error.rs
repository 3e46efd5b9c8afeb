//! What can go wrong with queues.

use std::path::PathBuf;

use regrove_events::Invalid;
use regrove_knative::filter::FilterError;
use regrove_knative::manifest::Problems;

/// Why the queues cannot be used at all. Known before anything is sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The prefix is not the beginning of a queue's URL.
    #[error(
        "REGROVE_SQS_QUEUES `{url}` is invalid: expected what the queues' URLs begin with, such as https://sqs.REGION.amazonaws.com/ACCOUNT/regrove-"
    )]
    Prefix {
        /// The value.
        url: String,
    },
    /// The manifests cannot be read.
    #[error("REGROVE_SQS_MANIFESTS {}: {source}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The manifests are wrong.
    #[error("REGROVE_SQS_MANIFESTS: {0}")]
    Manifests(#[from] Problems),
    /// No trigger is among the manifests: nothing would ever be sent.
    #[error("REGROVE_SQS_MANIFESTS {} holds no Trigger", path.display())]
    NoTrigger {
        /// The file or folder.
        path: PathBuf,
    },
    /// A filter cannot be used.
    #[error("Trigger `{trigger}`: {source}")]
    Filter {
        /// The trigger.
        trigger: String,
        /// What is wrong.
        #[source]
        source: FilterError,
    },
    /// Events leave by way of a service's queue only.
    #[error("{object}: its destination is no Knative Service, which is all that a queue can stand for")]
    Destination {
        /// Kind and name.
        object: String,
    },
    /// Two objects want a queue of the same name.
    #[error("{object} and another one both need the queue `{queue}`: rename one of them")]
    SameQueue {
        /// Kind and name.
        object: String,
        /// The queue.
        queue: String,
    },
    /// The name of the bucket is none.
    #[error("REGROVE_SQS_CLAIM_BUCKET `{bucket}` is no name of an S3 bucket: 3 to 63 of a-z, 0-9, `.` and `-`")]
    Bucket {
        /// The value.
        bucket: String,
    },
}

/// Why SQS or S3 did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The message holds no event. Asking again gives the same answer.
    #[error(transparent)]
    Event(#[from] Invalid),
    /// The data's reference does not hold: their hash, size or form is another. Asking again gives the same answer.
    #[error("the data at {reference} cannot be used: {reason}")]
    Claim {
        /// `s3://BUCKET/KEY`.
        reference: String,
        /// What is wrong.
        reason: String,
    },
    /// The event is too large for a message, and there is no bucket.
    #[error("event `{id}` needs {bytes} bytes, a message holds {limit}: name an S3 bucket in REGROVE_SQS_CLAIM_BUCKET")]
    NoBucket {
        /// The event.
        id: String,
        /// Its size.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
    /// SQS does not answer, or refuses.
    #[error("queue {queue}: {reason}")]
    Queue {
        /// URL of the queue.
        queue: String,
        /// What it said.
        reason: String,
    },
    /// S3 does not answer, or refuses.
    #[error("{what} {reference}: {reason}")]
    Bucket {
        /// `reading` or `writing`.
        what: &'static str,
        /// `s3://BUCKET/KEY`.
        reference: String,
        /// What it said.
        reason: String,
    },
}

impl Error {
    /// Whether asking again cannot help.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Event(_) | Self::Claim { .. })
    }
}
