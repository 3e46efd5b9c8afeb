//! Where state is kept: the event log, leases and artifacts, on one machine (SQLite and files) or on many (Redis).
//!
//! [`Control::open`] reads [`StoreArgs`] and contacts nothing: a file is opened or a server spoken to at the first use.
//!
//! | | without `REDIS_URL` | with `REDIS_URL` |
//! |---|---|---|
//! | event log | `<home>/control.db`, shared by all processes of the machine | a stream per job, `regrove:stream:…` |
//! | leases | the same file | keys `regrove:lease:…` that expire |
//! | artifacts | files `<home>/artifacts/sha256/ab/…` | keys `regrove:artifact:…` that expire |
//! | the local broker's journal | a file of the runtime's own | [`SharedJournal`], a stream `regrove:journal:…` |
//!
//! A Redis that holds the log must keep what it is told: `appendonly yes` and `maxmemory-policy noeviction`. The first
//! connection looks and warns if it is allowed to (`CONFIG GET`).

mod args;
pub mod artifact;
mod bell;
mod control;
pub mod lease;
mod redis_link;
mod redis_log;
mod shared_journal;
mod sqlite;
mod sqlite_log;

pub use args::{DEFAULT_HOME, StoreArgs};
pub use artifact::Artifacts;
pub use control::{Control, OpenError, StoreKind};
pub use lease::{Lease, LeaseGuard, Leases};
pub use shared_journal::{Change, SharedJournal, SharedJournalError};
