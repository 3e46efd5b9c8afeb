//! The event log in a SQLite file.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use regrove_events::log::{Entry, Error, EventLog, Position, Version};
use regrove_events::{CloudEvent, json_format};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};
use tokio::time::Instant;

use crate::bell::Bell;
use crate::sqlite::{Database, Failure};

/// How often somebody who waits looks at the file all the same: a process may have died between its commit and the bell.
const LOOK: Duration = Duration::from_secs(1);
/// How often where the bell of other processes is not heard.
const LOOK_DEAF: Duration = Duration::from_millis(20);

/// The log of one machine: any number of processes may have it open.
#[derive(Debug)]
pub(crate) struct SqliteLog {
    database: Arc<Database>,
    /// Rung after each append.
    bell: Bell,
}

impl SqliteLog {
    pub(crate) fn new(database: Arc<Database>, path: PathBuf) -> Self {
        Self { database, bell: Bell::new(path) }
    }
}

pub(crate) fn store_error(failure: Failure) -> Error {
    Error::Store { store: "sqlite", message: failure.to_string(), source: Some(Box::new(failure)) }
}

/// SQLite's whole numbers are signed; nothing is ever past the largest.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn decode(stream: &str, version: Version, json: &[u8]) -> Result<CloudEvent, Error> {
    json_format::from_slice(json).map_err(|invalid| Error::Corrupt {
        stream: stream.to_owned(),
        version,
        reason: invalid.to_string(),
    })
}

#[async_trait]
impl EventLog for SqliteLog {
    async fn append(&self, stream: &str, expected: Version, events: &[CloudEvent]) -> Result<Version, Error> {
        let rows: Vec<Vec<u8>> = events.iter().map(json_format::to_exact_vec).collect();
        let name = stream.to_owned();
        let appended = self
            .database
            .write(move |connection| insert(connection, &name, expected, &rows))
            .await
            .map_err(store_error)?;
        match appended {
            Ok(version) => {
                self.bell.ring();
                Ok(version)
            }
            Err(actual) => Err(Error::Conflict { stream: stream.to_owned(), expected, actual }),
        }
    }

    async fn read(&self, stream: &str, after: Version) -> Result<Vec<CloudEvent>, Error> {
        let name = stream.to_owned();
        let rows = self
            .database
            .read(move |connection| {
                let mut select = connection.prepare_cached(
                    "SELECT version, event FROM event WHERE stream = ?1 AND version > ?2 ORDER BY version",
                )?;
                let rows = select.query_map(params![name, signed(after)], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
                })?;
                rows.collect::<Result<Vec<_>, _>>()
            })
            .await
            .map_err(store_error)?;
        rows.into_iter().map(|(version, json)| decode(stream, unsigned(version), &json)).collect()
    }

    async fn streams(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let prefix = prefix.to_owned();
        self.database
            .read(move |connection| {
                let mut select = connection
                    .prepare_cached("SELECT stream FROM event WHERE version = 1 AND stream >= ?1 ORDER BY stream")?;
                let names = select.query_map(params![prefix], |row| row.get::<_, String>(0))?;
                // Names that share a prefix are next to each other: the first that differs is the end.
                names.take_while(|name| name.as_ref().map_or(true, |name| name.starts_with(&prefix))).collect()
            })
            .await
            .map_err(store_error)
    }

    async fn tail(&self, after: Position, limit: usize) -> Result<Vec<Entry>, Error> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self
            .database
            .read(move |connection| {
                let mut select = connection.prepare_cached(
                    "SELECT position, stream, version, event FROM event WHERE position > ?1 ORDER BY position LIMIT ?2",
                )?;
                let rows = select.query_map(params![signed(after), limit], |row| {
                    Ok((
                        row.get::<_, i64>(0)?,
                        row.get::<_, String>(1)?,
                        row.get::<_, i64>(2)?,
                        row.get::<_, Vec<u8>>(3)?,
                    ))
                })?;
                rows.collect::<Result<Vec<_>, _>>()
            })
            .await
            .map_err(store_error)?;
        rows.into_iter()
            .map(|(position, stream, version, json)| {
                let (position, version) = (unsigned(position), unsigned(version));
                let event = decode(&stream, version, &json)?;
                Ok(Entry { position, stream, version, event })
            })
            .collect()
    }

    async fn head(&self) -> Result<Position, Error> {
        self.database
            .read(|connection| {
                // One page of the tree, and from memory unless somebody wrote: cheap enough to ask for often.
                let mut select = connection.prepare_cached("SELECT max(position) FROM event")?;
                select.query_row([], |row| row.get::<_, Option<i64>>(0))
            })
            .await
            .map(|head| unsigned(head.unwrap_or(0)))
            .map_err(store_error)
    }

    async fn wait(&self, after: Position, timeout: Duration) -> Result<bool, Error> {
        let since = Instant::now();
        // This look makes the file where there is none, so that there is something to listen to.
        if self.head().await? > after {
            return Ok(true);
        }
        loop {
            let pause = if self.bell.listen() { LOOK } else { LOOK_DEAF };
            let rung = self.bell.rung();
            tokio::pin!(rung);
            // From here on a ring is not missed, even one before the look at the head is over.
            rung.as_mut().enable();
            if self.head().await? > after {
                return Ok(true);
            }
            let left = timeout.saturating_sub(since.elapsed());
            if left.is_zero() {
                return Ok(false);
            }
            tokio::select! {
                () = rung => {}
                () = tokio::time::sleep(pause.min(left)) => {}
            }
        }
    }
}

/// Inserts the events after version `expected`; the inner error is the version that the stream has instead.
fn insert(
    connection: &mut Connection,
    stream: &str,
    expected: Version,
    events: &[Vec<u8>],
) -> rusqlite::Result<Result<Version, Version>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let actual = transaction
        .prepare_cached("SELECT version FROM event WHERE stream = ?1 ORDER BY version DESC LIMIT 1")?
        .query_row(params![stream], |row| row.get::<_, i64>(0))
        .optional()?
        .map_or(0, unsigned);
    if actual != expected {
        return Ok(Err(actual));
    }
    let mut version = actual;
    {
        let mut insert =
            transaction.prepare_cached("INSERT INTO event (stream, version, event) VALUES (?1, ?2, ?3)")?;
        for event in events {
            version += 1;
            insert.execute(params![stream, signed(version), event])?;
        }
    }
    transaction.commit()?;
    Ok(Ok(version))
}
