//! The event log: one stream per job and per served model, and the order of all of them.

pub mod conformance;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::CloudEvent;

/// How many events a stream holds: the version of an empty stream is 0, its first event makes it 1.
pub type Version = u64;

/// A place in the order of all streams: 0 is before the first event; each event has a larger one than those before.
pub type Position = u64;

/// How often an append is tried again after somebody else got there first.
pub const ATTEMPTS_MAX: u32 = 32;

/// The stream of a job.
pub fn job_stream(job: &str) -> String {
    format!("{JOB_PREFIX}{job}")
}

/// The stream of a served model.
pub fn serving_stream(model: &str) -> String {
    format!("{SERVING_PREFIX}{model}")
}

/// The stream of a sweep.
pub fn sweep_stream(sweep: &str) -> String {
    format!("{SWEEP_PREFIX}{sweep}")
}

/// What the names of all sweep streams start with.
pub const SWEEP_PREFIX: &str = "sweep/";
/// What the names of all job streams start with.
pub const JOB_PREFIX: &str = "job/";
/// What the names of all serving streams start with.
pub const SERVING_PREFIX: &str = "serving/";
/// What the names of the streams start with that hold trained shards by what their trees depend on: facts of job streams
/// once more, for other jobs to find.
pub const TREES_PREFIX: &str = "trees/";

/// Why the log did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Somebody else appended first: read again, decide again.
    #[error("stream `{stream}` is at version {actual}, not {expected}")]
    Conflict {
        /// The stream.
        stream: String,
        /// The version that the writer had seen.
        expected: Version,
        /// The version that it has.
        actual: Version,
    },
    /// A stream kept changing under [`ATTEMPTS_MAX`] attempts.
    #[error("stream `{stream}` kept changing under {attempts} attempts")]
    Contended {
        /// The stream.
        stream: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The store cannot be reached, is full, or refuses.
    #[error("the event log ({store}) failed: {message}")]
    Store {
        /// Which store: `sqlite` or `redis`.
        store: &'static str,
        /// What it said.
        message: String,
        /// Its own error.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// What is stored is not an event.
    #[error("stream `{stream}` holds at version {version} what is not an event: {reason}")]
    Corrupt {
        /// The stream.
        stream: String,
        /// The place in it.
        version: Version,
        /// What is wrong.
        reason: String,
    },
}

/// An event at its place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Place in the order of all streams.
    pub position: Position,
    /// The stream's name, such as `job/reference-1`.
    pub stream: String,
    /// Place in the stream: 1 for its first event.
    pub version: Version,
    /// The event as it was sent.
    pub event: CloudEvent,
}

/// Where events are kept. Implementations: SQLite for one machine, Redis Streams for many.
///
/// [`conformance`] is the definition of what an implementation must do.
#[async_trait]
pub trait EventLog: fmt::Debug + Send + Sync {
    /// Appends events to a stream that has exactly `expected` events, all or none, and returns its new version.
    ///
    /// Once this returns, the events survive the death of every process of ours.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the stream has another version; nothing was appended.
    async fn append(&self, stream: &str, expected: Version, events: &[CloudEvent]) -> Result<Version, Error>;

    /// The events of a stream with versions greater than `after`, in order; empty for an unknown stream.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Corrupt`].
    async fn read(&self, stream: &str, after: Version) -> Result<Vec<CloudEvent>, Error>;

    /// Names of all streams that start with `prefix`, in order of their names.
    ///
    /// # Errors
    /// [`Error::Store`].
    async fn streams(&self, prefix: &str) -> Result<Vec<String>, Error>;

    /// At most `limit` entries of all streams with positions greater than `after`, in order.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Corrupt`].
    async fn tail(&self, after: Position, limit: usize) -> Result<Vec<Entry>, Error>;

    /// The position of the newest event, 0 for an empty log.
    ///
    /// # Errors
    /// [`Error::Store`].
    async fn head(&self) -> Result<Position, Error>;

    /// Returns as soon as [`head`](Self::head) is greater than `after`, or after `timeout`; `true` when it is.
    ///
    /// # Errors
    /// [`Error::Store`].
    async fn wait(&self, after: Position, timeout: Duration) -> Result<bool, Error>;
}

/// Appends what `decide` makes of a stream's history, again with fresh history when somebody else got there first.
///
/// `decide` returns the events to append, none when there is nothing to do, and whatever else the caller needs.
///
/// # Errors
/// The error of `decide`; [`Error::Contended`] after [`ATTEMPTS_MAX`] conflicts; whatever the store says.
pub async fn append_decided<T, E: From<Error>>(
    log: &dyn EventLog,
    stream: &str,
    mut decide: impl FnMut(&[CloudEvent]) -> Result<(Vec<CloudEvent>, T), E>,
) -> Result<T, E> {
    for _ in 0..ATTEMPTS_MAX {
        let history = log.read(stream, 0).await?;
        let (events, outcome) = decide(&history)?;
        if events.is_empty() {
            return Ok(outcome);
        }
        match log.append(stream, history.len() as Version, &events).await {
            Ok(_) => return Ok(outcome),
            Err(Error::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Contended { stream: stream.to_owned(), attempts: ATTEMPTS_MAX }.into())
}

/// Appends an event unless its stream already holds one with its id, and returns the one that the stream holds.
///
/// This is what makes a repeated effect harmless: the first record wins and everybody says the same thing afterwards.
///
/// # Errors
/// As [`append_decided`].
pub async fn append_once(log: &dyn EventLog, stream: &str, event: CloudEvent) -> Result<CloudEvent, Error> {
    append_decided(log, stream, |history| {
        Ok(match history.iter().find(|known| known.id() == event.id()) {
            Some(known) => (Vec::new(), known.clone()),
            None => (vec![event.clone()], event.clone()),
        })
    })
    .await
}
