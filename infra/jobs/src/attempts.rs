//! Asking for a job, and asking again.

use regrove_events::{CloudEvent, Invalid};
use serde::Serialize;

/// The event as the first of a trace of its own (W3C Trace Context), unless it belongs to one: everything that it causes
/// carries it along. The numbers are random and not 0.
///
/// # Errors
/// None for an event that was made here.
pub fn traced(mut event: CloudEvent, trace_id: u128, span_id: u64) -> Result<CloudEvent, Invalid> {
    if event.extension("traceparent").is_none() {
        event.set_extension("traceparent", format!("00-{trace_id:032x}-{span_id:016x}-01"))?;
    }
    Ok(event)
}

/// What stands between a job's id and the number of the attempt.
const RETRY: &str = ".retry-";

/// A job that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Submitted {
    /// The job's id.
    pub id: String,
    /// Whether the log knew the job already, with the same request. Emitting the event again is harmless.
    pub known: bool,
    /// The event to emit.
    #[serde(skip)]
    pub event: CloudEvent,
}

/// The id of the n-th attempt at a job; the first attempt has the job's own id.
///
/// A terminal state is final, so another attempt is another job: its own run in MLflow, its own shards. The trees that the
/// earlier attempt grew are not grown again.
pub fn retry_id(id: &str, attempt: u32) -> String {
    let base = retry_base(id).0;
    if attempt <= 1 { base.to_owned() } else { format!("{base}{RETRY}{attempt}") }
}

/// The id of the first attempt, and which attempt this is, from 1.
pub fn retry_base(id: &str) -> (&str, u32) {
    id.rsplit_once(RETRY)
        .and_then(|(base, number)| Some((base, number.parse().ok().filter(|attempt| *attempt > 1)?)))
        .unwrap_or((id, 1))
}
