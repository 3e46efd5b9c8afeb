//! The events that a journal keeps, newest first.

use std::path::Path;

use regrove_events::{CloudEvent, json_format};
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::journal::JournalError;
use super::schema;

/// Events in an answer when nothing else is asked for.
const LIMIT: usize = 100;

/// Which events are wanted; those that match everything that is given.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventQuery {
    /// `namespace/broker`.
    pub broker: Option<String>,
    /// The event's `type`.
    #[serde(rename = "type")]
    pub ty: Option<String>,
    /// The event's `id`.
    pub id: Option<String>,
    /// The event's `subject`.
    pub subject: Option<String>,
    /// Only those before the event of this number.
    pub before: Option<i64>,
    /// How many at most.
    pub limit: usize,
}

impl Default for EventQuery {
    fn default() -> Self {
        Self { broker: None, ty: None, id: None, subject: None, before: None, limit: LIMIT }
    }
}

/// A kept event, and how its deliveries stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeptEvent {
    /// Counted over all brokers.
    pub number: i64,
    /// `namespace/broker` that took it.
    pub broker: String,
    /// When, in milliseconds since 1970.
    pub accepted_at_ms: i64,
    /// The event.
    pub event: CloudEvent,
    /// Deliveries still to be made.
    pub pending: i64,
    /// Deliveries that a subscriber took.
    pub delivered: i64,
    /// Deliveries that are dead letters.
    pub dead: i64,
}

/// The newest kept events that are wanted, newest first. None when the folder has no journal yet.
///
/// # Errors
/// [`JournalError`] when the journal cannot be read.
pub fn kept_events(home: &Path, query: &EventQuery) -> Result<Vec<KeptEvent>, JournalError> {
    let failed = |error: rusqlite::Error| JournalError { path: schema::path(home), reason: error.to_string() };
    match schema::open(home).map_err(failed)? {
        Some(connection) => read(&connection, query).map_err(failed),
        None => Ok(Vec::new()),
    }
}

fn read(connection: &Connection, query: &EventQuery) -> rusqlite::Result<Vec<KeptEvent>> {
    let mut statement = connection.prepare(
        "SELECT e.seq, e.namespace || '/' || e.broker, e.accepted_at, e.event,
                (SELECT COUNT(*) FROM deliveries d WHERE d.event = e.seq AND d.state = 0),
                (SELECT COUNT(*) FROM deliveries d WHERE d.event = e.seq AND d.state = 1),
                (SELECT COUNT(*) FROM deliveries d WHERE d.event = e.seq AND d.state IN (2, 3))
         FROM events e
         WHERE (?1 IS NULL OR e.namespace || '/' || e.broker = ?1) AND (?2 IS NULL OR e.type = ?2)
           AND (?3 IS NULL OR e.id = ?3) AND (?4 IS NULL OR json_extract(e.event, '$.subject') = ?4)
           AND (?5 IS NULL OR e.seq < ?5)
         ORDER BY e.seq DESC LIMIT ?6",
    )?;
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let wanted = params![query.broker, query.ty, query.id, query.subject, query.before, limit];
    let rows = statement.query_map(wanted, |row| {
        let bytes: Vec<u8> = row.get(3)?;
        let event = json_format::from_slice(&bytes)
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Blob, error.into()))?;
        Ok(KeptEvent {
            number: row.get(0)?,
            broker: row.get(1)?,
            accepted_at_ms: row.get(2)?,
            event,
            pending: row.get(4)?,
            delivered: row.get(5)?,
            dead: row.get(6)?,
        })
    })?;
    rows.collect()
}
