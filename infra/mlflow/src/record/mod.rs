//! Operations that are safe to repeat, at any time, after a crash at any point, and from several processes at once.
//!
//! Everything made for a job carries the tag [`JOB_TAG`]. Each operation searches by it before it creates anything.
//! Two processes that both find nothing and both create are settled afterwards: they look again, agree on one winner,
//! and the others are deleted.

mod model_version;
mod read;
mod run;

use crate::client::Client;
use crate::error::Error;

pub use model_version::ModelVersionRequest;
pub use read::Selector;
pub use run::{Column, ColumnType, Dataset, JobRun};

/// Tag of runs, logged models and versions: the job they were made for.
pub const JOB_TAG: &str = "regrove.job";
/// Tag of versions: SHA-256 of the native form, lower-case hex.
pub const SHA256_TAG: &str = "regrove.sha256";
/// Tag of versions: bytes of the native form.
pub const BYTES_TAG: &str = "regrove.bytes";
/// Tag of versions: the alias that was given to them at registration. Its presence keeps a late redelivery from moving
/// the alias back.
pub const ALIASED_TAG: &str = "regrove.aliased";

/// The record of jobs in one MLflow server.
#[derive(Debug, Clone)]
pub struct Record {
    client: Client,
}

impl Record {
    /// The record in the server that `client` talks to.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The client below, for single calls.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The tracking URI without credentials.
    pub fn uri(&self) -> &str {
        self.client.uri()
    }
}

/// A deletion that found nothing to delete did what it should: somebody was faster.
fn gone(deleted: Result<(), Error>) -> Result<(), Error> {
    match deleted {
        Err(error) if error.is_not_found() => Ok(()),
        deleted => deleted,
    }
}
