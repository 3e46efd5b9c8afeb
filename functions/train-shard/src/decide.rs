//! What a shard request means. Pure.

use regrove_events::event::ShardRequested;
use regrove_events::{CloudEvent, Job, JobState, ids};

/// What to do about a shard.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Grow it.
    Train,
    /// It has been grown: say so again, for the first time may have been lost.
    Repeat(Box<CloudEvent>),
    /// The job has ended, or never asked for this shard.
    Ignore,
}

/// Decides on a shard request from the job's history.
pub fn decide(subject: &str, job: &Job, history: &[CloudEvent], request: &ShardRequested) -> Decision {
    let id = ids::shard_trained(subject, request.shard);
    if job.state != JobState::Training {
        return Decision::Ignore;
    }
    if let Some(known) = history.iter().find(|event| event.id() == id) {
        return Decision::Repeat(Box::new(known.clone()));
    }
    match job.shards.get(&request.shard) {
        Some(shard) if shard.trees == request.trees => Decision::Train,
        _ => Decision::Ignore,
    }
}
