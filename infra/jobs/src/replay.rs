//! How a job came to be what it is, and what it waits for.

use jiff::Timestamp;
use regrove_events::{CloudEvent, Event, JobState, TYPE_PREFIX, job, names};
use serde::{Deserialize, Serialize};

use crate::view::text;

/// The job after one of its events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplayStep {
    /// The event's place in the job, from 1.
    pub version: usize,
    /// When it was said.
    pub at: Option<Timestamp>,
    /// Event type without `io.regrove.`.
    #[serde(rename = "type")]
    pub name: String,
    /// Event id.
    pub id: String,
    /// What it says, in a few words.
    pub text: String,
    /// The state after it.
    pub state: JobState,
    /// Shards that were in after it.
    pub shards_trained: usize,
    /// Shards that had been asked for after it.
    pub shards: usize,
    /// Whether it changed anything: what comes late or twice does not.
    pub changed: bool,
}

/// Folds a job's events one by one.
pub fn steps(history: &[CloudEvent]) -> Vec<ReplayStep> {
    let mut before = job::Job::default();
    let step = |(index, event): (usize, &CloudEvent)| {
        let after = match Event::read(event) {
            Ok(meaning) => job::evolve(before.clone(), event, &meaning),
            Err(_) => before.clone(),
        };
        let step = ReplayStep {
            version: index + 1,
            at: job::said_at(event),
            name: event.ty().strip_prefix(TYPE_PREFIX).unwrap_or(event.ty()).to_owned(),
            id: event.id().to_owned(),
            text: text(event),
            state: after.state,
            shards_trained: after.shards_trained(),
            shards: after.shards.len(),
            changed: after != before,
        };
        before = after;
        step
    };
    history.iter().enumerate().map(step).collect()
}

/// The events whose answer is missing in an open job's history.
pub fn waiting_for(history: &[CloudEvent]) -> Vec<CloudEvent> {
    let job = job::replay(history);
    let of = |name: &str| {
        let ty = format!("{TYPE_PREFIX}{name}");
        history.iter().rev().find(|event| event.ty() == ty).cloned().into_iter().collect::<Vec<_>>()
    };
    match job.state {
        JobState::Queued => of(names::TRAIN_REQUESTED),
        // All are in: whoever hears of the last one puts the forest together.
        JobState::Training if job.is_ready_to_aggregate() => of(names::SHARD_TRAINED),
        JobState::Training => {
            let open = job.shards.into_values().filter(|shard| shard.trained.is_none());
            open.map(|shard| shard.request).collect()
        }
        JobState::Registering => of(names::MODEL_AGGREGATED),
        JobState::Unknown | JobState::Succeeded | JobState::Failed | JobState::Cancelled => Vec::new(),
    }
}
