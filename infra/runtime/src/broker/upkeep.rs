//! What is noted in the journal at the start of a runtime, and what is deleted from it in time.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, Transaction, params};

use crate::clock::now_ms;

/// Events kept at most, those aside that are still to be delivered or are dead letters.
pub(crate) const EVENTS_KEPT_MAX: i64 = 50_000;
/// Dead letters kept at most; the oldest go first.
pub(crate) const DEAD_LETTERS_KEPT_MAX: i64 = 10_000;
/// Events deleted in one pruning, so that it never holds up deliveries for long.
const PRUNED_MAX: i64 = 2_000;

/// A trigger, as other processes are to find it.
#[derive(Debug, Clone)]
pub(crate) struct KnownTrigger {
    pub(crate) key: Arc<str>,
    pub(crate) namespace: String,
    pub(crate) broker: String,
}

/// Notes which triggers there are, and makes dead letters of what waits for others.
pub(crate) fn keep_triggers(transaction: &Transaction<'_>, triggers: &[KnownTrigger]) -> rusqlite::Result<usize> {
    transaction.execute("DELETE FROM triggers", [])?;
    let mut insert = transaction.prepare("INSERT INTO triggers (key, namespace, broker) VALUES (?1, ?2, ?3)")?;
    for trigger in triggers {
        insert.execute(params![&*trigger.key, trigger.namespace, trigger.broker])?;
    }
    transaction.execute("DELETE FROM replays WHERE trigger NOT IN (SELECT key FROM triggers)", [])?;
    let known = serde_json::to_string(&triggers.iter().map(|trigger| &*trigger.key).collect::<Vec<_>>());
    transaction.execute(
        "UPDATE deliveries SET state = 3, ended_at = ?2, error = 'its trigger is no longer in the manifests'
         WHERE state = 0 AND trigger NOT IN (SELECT value FROM json_each(?1))",
        params![known.unwrap_or_default(), now_ms()],
    )
}

/// Deletes what is no longer kept.
pub(crate) fn prune(connection: &Connection, retention: Duration) -> rusqlite::Result<()> {
    let old = now_ms().saturating_sub(i64::try_from(retention.as_millis()).unwrap_or(i64::MAX));
    connection.execute(
        "UPDATE deliveries SET state = 5 WHERE seq IN (
            SELECT seq FROM deliveries WHERE state IN (2, 3) ORDER BY ended_at DESC, seq DESC LIMIT ?2 OFFSET ?1)",
        params![DEAD_LETTERS_KEPT_MAX, PRUNED_MAX],
    )?;
    connection.execute(
        "DELETE FROM events WHERE seq IN (
            SELECT seq FROM events e
            WHERE (e.accepted_at < ?1 OR e.seq <= (SELECT MAX(seq) FROM events) - ?2)
              AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.event = e.seq AND d.state IN (0, 2, 3))
            ORDER BY seq LIMIT ?3)",
        params![old, EVENTS_KEPT_MAX, PRUNED_MAX],
    )?;
    Ok(())
}
