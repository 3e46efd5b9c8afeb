//! Delivering stored history to a trigger again.
//!
//! A request is a row in the journal. The runtime carries it out in parts, each in one commit with the position reached,
//! so a request survives the runtime's death and makes each delivery once.

use std::path::Path;

use jiff::Timestamp;
use regrove_events::{CloudEvent, json_format};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::journal::JournalError;
use super::schema;
use crate::clock::now_ms;

/// Events looked at in one commit, so that it never holds up deliveries for long.
const PART_EVENTS: usize = 500;

/// Whether a trigger wants an event.
pub(crate) type Wanted = Box<dyn Fn(&CloudEvent) -> bool + Send>;

/// How far a request was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replayed {
    /// There is nothing left to do.
    Whole,
    /// There is more.
    InPart,
}

/// Where a replay begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplayFrom {
    /// With the first event that the broker took at this time or later.
    Time(Timestamp),
    /// With the first event of this id.
    Event(String),
}

impl From<String> for ReplayFrom {
    /// A time as RFC 3339 writes it; anything else is an id.
    fn from(text: String) -> Self {
        text.parse().map_or(Self::Event(text), Self::Time)
    }
}

/// A replay that will be made.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ReplayRequest {
    /// `namespace/trigger`.
    pub trigger: String,
    /// `namespace/broker` whose events are looked at.
    pub broker: String,
    /// Stored events that are looked at; the trigger gets those of them that it wants.
    pub events: usize,
}

/// Why nothing is replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// No such trigger.
    #[error("there is no trigger `{given}` ({}); name one as NAMESPACE/NAME", known_triggers(.known))]
    NoTrigger {
        /// What was asked for.
        given: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The event is not kept, or was never taken.
    #[error(
        "no event `{id}` of broker {broker} is kept; `--event-retention` of `regrove up` says for how long events are"
    )]
    NoEvent {
        /// What was asked for.
        id: String,
        /// `namespace/broker`.
        broker: String,
    },
}

fn known_triggers(known: &[String]) -> String {
    if known.is_empty() { "no runtime has run here yet".to_owned() } else { format!("known: {}", known.join(", ")) }
}

/// Has the stored events of a trigger's broker delivered to it again, from `from` to the newest of now. The trigger gets
/// those that its present filter lets through. A running runtime begins within about a second, one that is started later
/// at once. `trigger` is `namespace/name`.
///
/// # Errors
/// [`ReplayError`] when there is no such trigger or event, or the journal cannot be written.
pub fn replay(home: &Path, trigger: &str, from: &ReplayFrom) -> Result<ReplayRequest, ReplayError> {
    let failed = |error: rusqlite::Error| JournalError { path: schema::path(home), reason: error.to_string() };
    let Some(mut connection) = schema::open(home).map_err(failed)? else {
        return Err(ReplayError::NoTrigger { given: trigger.to_owned(), known: Vec::new() });
    };
    request(&mut connection, trigger, from).map_err(failed)?
}

fn request(
    connection: &mut Connection,
    trigger: &str,
    from: &ReplayFrom,
) -> rusqlite::Result<Result<ReplayRequest, ReplayError>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let broker: Option<(String, String)> = transaction
        .query_row("SELECT namespace, broker FROM triggers WHERE key = ?1", [trigger], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let Some((namespace, broker)) = broker else {
        let mut keys = transaction.prepare("SELECT key FROM triggers ORDER BY key")?;
        let known = keys.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        return Ok(Err(ReplayError::NoTrigger { given: trigger.to_owned(), known }));
    };
    let (condition, value): (&str, rusqlite::types::Value) = match from {
        ReplayFrom::Time(time) => ("accepted_at >= ?3", time.as_millisecond().into()),
        ReplayFrom::Event(id) => {
            ("seq >= (SELECT MIN(seq) FROM events WHERE id = ?3 AND namespace = ?1 AND broker = ?2)", id.clone().into())
        }
    };
    let range =
        format!("SELECT MIN(seq), MAX(seq), COUNT(*) FROM events WHERE namespace = ?1 AND broker = ?2 AND {condition}");
    let (first, last, events): (Option<i64>, Option<i64>, i64) =
        transaction
            .query_row(&range, params![namespace, broker, value], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let whole_broker = format!("{namespace}/{broker}");
    match (first.zip(last), from) {
        (Some((first, last)), _) => {
            let insert = "INSERT INTO replays (trigger, next_event, last_event) VALUES (?1, ?2, ?3)";
            transaction.execute(insert, params![trigger, first, last])?;
        }
        (None, ReplayFrom::Event(id)) => {
            return Ok(Err(ReplayError::NoEvent { id: id.clone(), broker: whole_broker }));
        }
        (None, ReplayFrom::Time(_)) => {}
    }
    transaction.commit()?;
    let events = usize::try_from(events).unwrap_or_default();
    Ok(Ok(ReplayRequest { trigger: trigger.to_owned(), broker: whole_broker, events }))
}

/// Carries out a part of what is asked for a trigger.
pub(crate) fn carry_out(transaction: &Transaction<'_>, trigger: &str, wanted: &Wanted) -> rusqlite::Result<Replayed> {
    let request: Option<(i64, i64, i64)> = transaction
        .prepare_cached("SELECT seq, next_event, last_event FROM replays WHERE trigger = ?1 ORDER BY seq LIMIT 1")?
        .query_row([trigger], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((request, next, last)) = request else {
        return Ok(Replayed::Whole);
    };
    let mut events = transaction.prepare_cached(
        "SELECT e.seq, e.event FROM events e JOIN triggers t ON t.namespace = e.namespace AND t.broker = e.broker
         WHERE t.key = ?1 AND e.seq BETWEEN ?2 AND ?3 ORDER BY e.seq LIMIT ?4",
    )?;
    let part = events
        .query_map(params![trigger, next, last, i64::try_from(PART_EVENTS).unwrap_or(i64::MAX)], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut insert =
        transaction.prepare_cached("INSERT INTO deliveries (event, trigger, next_at) VALUES (?1, ?2, ?3)")?;
    let now = now_ms();
    for (seq, bytes) in &part {
        // An event that cannot be read any more cannot be delivered either.
        if json_format::from_slice(bytes).is_ok_and(|event| wanted(&event)) {
            insert.execute(params![seq, trigger, now])?;
        }
    }
    match part.last() {
        Some((reached, _)) if part.len() == PART_EVENTS => {
            transaction.execute("UPDATE replays SET next_event = ?2 WHERE seq = ?1", params![request, reached + 1])?;
        }
        _ => {
            transaction.execute("DELETE FROM replays WHERE seq = ?1", [request])?;
        }
    }
    // There may be another request.
    Ok(Replayed::InPart)
}
