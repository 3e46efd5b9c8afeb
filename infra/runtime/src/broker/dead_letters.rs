//! Dead letters of a runtime, whether it is running or not.

use std::path::Path;

use regrove_events::{CloudEvent, json_format};
use rusqlite::{Connection, params};
use serde::Serialize;

use super::journal::JournalError;
use super::schema;
use crate::clock::now_ms;

/// An event that a trigger's subscriber did not take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// Number for [`redrive`].
    pub id: i64,
    /// `namespace/trigger`.
    pub trigger: String,
    /// The event.
    pub event: CloudEvent,
    /// Whether the dead letter sink took it; otherwise it is only here.
    pub in_sink: bool,
    /// URL that failed.
    pub destination: Option<String>,
    /// Last status code; 500 when there was no answer.
    pub code: Option<u16>,
    /// What went wrong last.
    pub error: Option<String>,
    /// When it was given up, in milliseconds since 1970.
    pub ended_at_ms: i64,
}

fn failed(home: &Path) -> impl Fn(rusqlite::Error) -> JournalError {
    let path = schema::path(home);
    move |error| JournalError { path: path.clone(), reason: error.to_string() }
}

/// The newest `limit` dead letters, newest first. None when the folder has no journal yet.
///
/// # Errors
/// [`JournalError`] when the journal cannot be read.
pub fn dead_letters(home: &Path, limit: usize) -> Result<Vec<DeadLetter>, JournalError> {
    match schema::open(home).map_err(failed(home))? {
        Some(connection) => read(&connection, limit).map_err(failed(home)),
        None => Ok(Vec::new()),
    }
}

fn read(connection: &Connection, limit: usize) -> rusqlite::Result<Vec<DeadLetter>> {
    let mut statement = connection.prepare(
        "SELECT d.seq, d.trigger, e.event, d.state, d.error_destination, d.error_code, d.error, d.ended_at
         FROM deliveries d JOIN events e ON e.seq = d.event
         WHERE d.state IN (2, 3) ORDER BY d.ended_at DESC, d.seq DESC LIMIT ?1",
    )?;
    let rows = statement.query_map([i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
        let bytes: Vec<u8> = row.get(2)?;
        let event = json_format::from_slice(&bytes)
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Blob, error.into()))?;
        Ok(DeadLetter {
            id: row.get(0)?,
            trigger: row.get(1)?,
            event,
            in_sink: row.get::<_, i64>(3)? == 2,
            destination: row.get(4)?,
            code: row.get(5)?,
            error: row.get(6)?,
            ended_at_ms: row.get::<_, Option<i64>>(7)?.unwrap_or_default(),
        })
    })?;
    rows.collect()
}

/// Has dead letters delivered again to the triggers that failed on them: all of them when `ids` is empty. A running
/// runtime notices within about a second, one that is started later at once. Answers how many there were.
///
/// # Errors
/// [`JournalError`] when the journal cannot be written.
pub fn redrive(home: &Path, ids: &[i64]) -> Result<usize, JournalError> {
    match schema::open(home).map_err(failed(home))? {
        Some(mut connection) => send_again(&mut connection, ids).map_err(failed(home)),
        None => Ok(0),
    }
}

fn send_again(connection: &mut Connection, ids: &[i64]) -> rusqlite::Result<usize> {
    let ids = serde_json::to_string(ids).unwrap_or_default();
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    // A new delivery for each, so that the record of the failed one stays.
    let count = transaction.execute(
        "INSERT INTO deliveries (event, trigger, next_at) SELECT event, trigger, ?2 FROM deliveries
         WHERE state IN (2, 3) AND (json_array_length(?1) = 0 OR seq IN (SELECT value FROM json_each(?1)))",
        params![ids, now_ms()],
    )?;
    transaction.execute(
        "UPDATE deliveries SET state = 4
         WHERE state IN (2, 3) AND (json_array_length(?1) = 0 OR seq IN (SELECT value FROM json_each(?1)))",
        params![ids],
    )?;
    transaction.commit()?;
    Ok(count)
}

/// Lets go of dead letters: all of them when `ids` is empty. They are no longer listed or redriven; the record of their
/// deliveries stays as long as that of others. Answers how many there were.
///
/// # Errors
/// [`JournalError`] when the journal cannot be written.
pub fn discard(home: &Path, ids: &[i64]) -> Result<usize, JournalError> {
    match schema::open(home).map_err(failed(home))? {
        Some(connection) => forget(&connection, ids).map_err(failed(home)),
        None => Ok(0),
    }
}

fn forget(connection: &Connection, ids: &[i64]) -> rusqlite::Result<usize> {
    let ids = serde_json::to_string(ids).unwrap_or_default();
    connection.execute(
        "UPDATE deliveries SET state = 5
         WHERE state IN (2, 3) AND (json_array_length(?1) = 0 OR seq IN (SELECT value FROM json_each(?1)))",
        params![ids],
    )
}
