//! What the journal's commands do to its tables.

use std::sync::Arc;

use regrove_events::json_format;
use rusqlite::{OptionalExtension, Transaction, params};

use super::journal::{DeadCause, Deliveries, Due, NewEvent, Next, Outcome, Pending, StoredEvent};
use crate::clock::now_ms;

const PENDING_BY_TIME: &str =
    "SELECT d.seq, d.stage, d.attempt, d.error_destination, d.error_code, d.error_data, d.error,
            e.namespace, e.broker, e.headers, e.event, d.next_at
     FROM deliveries d JOIN events e ON e.seq = d.event
     WHERE d.trigger = ?1 AND d.state = 0 AND d.next_at <= ?2 ORDER BY d.next_at, d.seq LIMIT ?3";
const PENDING_IN_ORDER: &str =
    "SELECT d.seq, d.stage, d.attempt, d.error_destination, d.error_code, d.error_data, d.error,
            e.namespace, e.broker, e.headers, e.event, d.next_at
     FROM deliveries d JOIN events e ON e.seq = d.event
     WHERE d.trigger = ?1 AND d.state = 0 AND d.next_at <= ?2 ORDER BY d.seq LIMIT ?3";

pub(crate) fn insert(transaction: &Transaction<'_>, new: &NewEvent) -> rusqlite::Result<Deliveries> {
    let stored = &new.event;
    let now = now_ms();
    let headers = serde_json::to_string(&stored.headers).unwrap_or_default();
    transaction
        .prepare_cached(
            "INSERT INTO events (namespace, broker, id, type, headers, event, accepted_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            stored.namespace,
            stored.broker,
            stored.event.id(),
            stored.event.ty(),
            headers,
            json_format::to_vec(&stored.event),
            now
        ])?;
    let event = transaction.last_insert_rowid();
    let mut statement =
        transaction.prepare_cached("INSERT INTO deliveries (event, trigger, next_at) VALUES (?1, ?2, ?3)")?;
    new.triggers.iter().map(|trigger| statement.insert(params![event, &*trigger.key, now])).collect()
}

pub(crate) fn settle(transaction: &Transaction<'_>, outcome: &Outcome) -> rusqlite::Result<Deliveries> {
    transaction
        .prepare_cached(
            "INSERT INTO attempts (delivery, at, stage, attempt, destination, code, latency_us, error)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            outcome.delivery,
            outcome.started_at,
            outcome.dead_letter_stage,
            outcome.attempt,
            outcome.destination,
            outcome.code,
            i64::try_from(outcome.latency.as_micros()).unwrap_or(i64::MAX),
            outcome.error
        ])?;
    let now = now_ms();
    let end = |state: i64| -> rusqlite::Result<()> {
        transaction
            .prepare_cached("UPDATE deliveries SET state = ?2, attempt = ?3, ended_at = ?4 WHERE seq = ?1")?
            .execute(params![outcome.delivery, state, outcome.attempt, now])?;
        Ok(())
    };
    match &outcome.next {
        Next::Delivered(reply) => {
            end(1)?;
            return reply.as_ref().map_or(Ok(Vec::new()), |reply| insert(transaction, reply));
        }
        Next::InSink => end(2)?,
        Next::Dropped(cause) => {
            end(3)?;
            note_cause(transaction, outcome.delivery, cause)?;
        }
        Next::Retry(at) => {
            transaction
                .prepare_cached("UPDATE deliveries SET attempt = ?2, next_at = ?3 WHERE seq = ?1")?
                .execute(params![outcome.delivery, outcome.attempt, at])?;
        }
        Next::DeadLetter(cause) => {
            transaction
                .prepare_cached("UPDATE deliveries SET stage = 1, attempt = 0, next_at = ?2 WHERE seq = ?1")?
                .execute(params![outcome.delivery, now])?;
            note_cause(transaction, outcome.delivery, cause)?;
        }
    }
    Ok(Vec::new())
}

fn note_cause(transaction: &Transaction<'_>, delivery: i64, cause: &DeadCause) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "UPDATE deliveries SET error_destination = ?2, error_code = ?3, error_data = ?4, error = ?5 WHERE seq = ?1",
        )?
        .execute(params![delivery, cause.destination, cause.code, cause.data, cause.error])?;
    Ok(())
}

pub(crate) fn due(
    transaction: &Transaction<'_>,
    trigger: &str,
    now: i64,
    limit: usize,
    ordered: bool,
) -> rusqlite::Result<Due> {
    let mut statement = transaction.prepare_cached(if ordered { PENDING_IN_ORDER } else { PENDING_BY_TIME })?;
    let until = if ordered { i64::MAX } else { now };
    let rows = statement.query_map(params![trigger, until, i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
        let stage: i64 = row.get(1)?;
        let dead = if stage == 0 {
            None
        } else {
            Some(DeadCause {
                destination: row.get::<_, Option<String>>(3)?.unwrap_or_default(),
                code: row.get::<_, Option<u16>>(4)?.unwrap_or_default(),
                data: row.get::<_, Option<String>>(5)?.unwrap_or_default(),
                error: row.get::<_, Option<String>>(6)?.unwrap_or_default(),
            })
        };
        let headers: String = row.get(9)?;
        let bytes: Vec<u8> = row.get(10)?;
        let event = json_format::from_slice(&bytes).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(10, rusqlite::types::Type::Blob, error.into())
        })?;
        let event = StoredEvent {
            namespace: row.get(7)?,
            broker: row.get(8)?,
            event,
            headers: serde_json::from_str(&headers).unwrap_or_default(),
        };
        Ok(Pending { seq: row.get(0)?, event: Arc::new(event), attempt: row.get(2)?, due_at: row.get(11)?, dead })
    })?;
    let pending = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let next_at = transaction
        .prepare_cached("SELECT MIN(next_at) FROM deliveries WHERE trigger = ?1 AND state = 0 AND next_at > ?2")?
        .query_row(params![trigger, until], |row| row.get(0))
        .optional()?
        .flatten();
    Ok(Due { pending, next_at })
}
