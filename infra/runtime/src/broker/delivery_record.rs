//! What became of an event: its deliveries and every attempt at them.

use std::path::Path;

use rusqlite::{Connection, Row};
use serde::Serialize;

use super::journal::JournalError;
use super::schema;

/// How a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryState {
    /// Still to be made.
    Pending,
    /// Taken by the subscriber.
    Delivered,
    /// Not taken by the subscriber, but by the dead letter sink.
    InSink,
    /// Taken by nobody.
    Dropped,
    /// Was a dead letter and has been sent again, as a delivery of its own.
    Redriven,
    /// Was a dead letter that somebody let go of.
    Discarded,
}

impl DeliveryState {
    fn of(number: i64) -> Self {
        match number {
            0 => Self::Pending,
            1 => Self::Delivered,
            2 => Self::InSink,
            3 => Self::Dropped,
            4 => Self::Redriven,
            _ => Self::Discarded,
        }
    }
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// When it began, in milliseconds since 1970.
    pub at_ms: i64,
    /// Whether it was at the dead letter sink rather than the subscriber.
    pub dead_letter: bool,
    /// URL that was called.
    pub destination: String,
    /// Status code that counted; 502 for a reply that is no event, `None` without an answer.
    pub code: Option<u16>,
    /// How long it took, in microseconds.
    pub latency_us: i64,
    /// What went wrong, if anything did.
    pub error: Option<String>,
}

/// One event's delivery to one trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeliveryRecord {
    /// Number of the delivery.
    pub id: i64,
    /// `namespace/broker` that took the event.
    pub broker: String,
    /// `namespace/trigger`.
    pub trigger: String,
    /// When the broker took the event, in milliseconds since 1970.
    pub accepted_at_ms: i64,
    /// How it stands.
    pub state: DeliveryState,
    /// All attempts, in order.
    pub attempts: Vec<Attempt>,
}

/// The deliveries of all events with this `id`, in the order they came. Kept for a day, for the last 50,000 events, and
/// for dead letters until they are redriven.
///
/// # Errors
/// [`JournalError`] when the journal cannot be read.
pub fn delivery_records(home: &Path, event_id: &str) -> Result<Vec<DeliveryRecord>, JournalError> {
    let failed = |error: rusqlite::Error| JournalError { path: schema::path(home), reason: error.to_string() };
    match schema::open(home).map_err(failed)? {
        Some(connection) => read(&connection, event_id).map_err(failed),
        None => Ok(Vec::new()),
    }
}

fn read(connection: &Connection, event_id: &str) -> rusqlite::Result<Vec<DeliveryRecord>> {
    let mut deliveries = connection.prepare(
        "SELECT d.seq, e.namespace || '/' || e.broker, d.trigger, e.accepted_at, d.state
         FROM events e JOIN deliveries d ON d.event = e.seq WHERE e.id = ?1 ORDER BY d.seq",
    )?;
    let mut attempts = connection.prepare(
        "SELECT at, stage, destination, code, latency_us, error FROM attempts WHERE delivery = ?1 ORDER BY rowid",
    )?;
    let rows = deliveries.query_map([event_id], |row| {
        let id: i64 = row.get(0)?;
        Ok(DeliveryRecord {
            id,
            broker: row.get(1)?,
            trigger: row.get(2)?,
            accepted_at_ms: row.get(3)?,
            state: DeliveryState::of(row.get(4)?),
            attempts: attempts.query_map([id], attempt)?.collect::<rusqlite::Result<_>>()?,
        })
    })?;
    rows.collect()
}

fn attempt(row: &Row<'_>) -> rusqlite::Result<Attempt> {
    Ok(Attempt {
        at_ms: row.get(0)?,
        dead_letter: row.get::<_, i64>(1)? == 1,
        destination: row.get(2)?,
        code: row.get(3)?,
        latency_us: row.get(4)?,
        error: row.get(5)?,
    })
}
