//! What an event means for a job. Pure: no clock, no store, no forest.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use regrove_events::event::{JobFailed, ShardTrained, TreeRange};
use regrove_events::{CloudEvent, Event, Job, JobState, names};

/// Most shards that a job may ask for.
pub const SHARDS_MAX: u32 = 1024;
/// How often a shard is asked for before the job fails.
pub const SHARD_ATTEMPTS_MAX: u32 = 5;
/// How long a shard may take before it is asked for again; doubles with each attempt.
pub const OVERDUE_AFTER: Duration = Duration::from_mins(2);
/// The time between two ticks, as the `PingSource` in `k8s/` has it.
pub const TICK: Duration = Duration::from_mins(1);

/// What a train request means.
#[derive(Debug, Clone, PartialEq)]
pub enum Opening {
    /// A new job: read the data, plan the shards.
    Plan,
    /// The job is known: say again what its opening said.
    Repeat(Vec<CloudEvent>),
    /// The job was stopped before it began: keep the request, do nothing.
    Keep,
    /// Another request has taken this job id.
    Taken,
}

/// Decides on a train request.
pub fn open(job: &Job, history: &[CloudEvent], received: &CloudEvent) -> Opening {
    if job.request.is_none() {
        return if job.state == JobState::Unknown { Opening::Plan } else { Opening::Keep };
    }
    let same = history.iter().any(|known| known.ty() == received.ty() && known.data() == received.data());
    if !same {
        return Opening::Taken;
    }
    if job.state == JobState::Failed {
        return Opening::Repeat(find(history, names::JOB_FAILED));
    }
    let waiting = job.shards.values().filter(|shard| shard.trained.is_none());
    Opening::Repeat(if job.state.is_terminal() {
        Vec::new()
    } else {
        waiting.map(|shard| shard.request.clone()).collect()
    })
}

/// Events of one of our types in a history.
pub fn find(history: &[CloudEvent], name: &str) -> Vec<CloudEvent> {
    history.iter().filter(|event| event.ty().strip_prefix(regrove_events::TYPE_PREFIX) == Some(name)).cloned().collect()
}

/// Cuts `n_estimators` trees into at most `shards` ranges whose lengths differ by at most one.
pub fn plan(n_estimators: u32, shards: u32) -> Vec<TreeRange> {
    let parts = shards.min(n_estimators).max(1);
    let (each, longer) = (n_estimators / parts, n_estimators % parts);
    let mut from = 0;
    (0..parts)
        .map(|part| {
            let to = from + each + u32::from(part < longer);
            let range = TreeRange { from, to };
            from = to;
            range
        })
        .collect()
}

/// What a trained shard means.
#[derive(Debug, Clone, PartialEq)]
pub enum Completion {
    /// Others are still growing, or the job has ended.
    Wait,
    /// All shards are in: put the forest together.
    Merge(Vec<ShardTrained>),
    /// That has been done: say it again.
    Repeat(Box<CloudEvent>),
}

/// Decides whether the forest can be put together. Shards come back in tree order.
pub fn complete(job: &Job, history: &[CloudEvent]) -> Completion {
    if job.state == JobState::Registering
        && let Some(event) = find(history, names::MODEL_AGGREGATED).into_iter().next()
    {
        return Completion::Repeat(Box::new(event));
    }
    if job.is_ready_to_aggregate() {
        return Completion::Merge(job.shards.values().filter_map(|shard| shard.trained.clone()).collect());
    }
    Completion::Wait
}

/// What is overdue in a job.
#[derive(Debug, Clone, PartialEq)]
pub enum Overdue {
    /// Nothing.
    Nothing,
    /// Shards to ask for again, with the attempt that this will be.
    Shards(Vec<(u32, u32)>),
    /// The whole forest waits to be registered: say it again.
    Registration(Box<CloudEvent>),
    /// The shards are in but nobody has put them together.
    Merge,
    /// It has been tried often enough.
    GiveUp(JobFailed),
}

/// Decides what is overdue at `now`.
pub fn overdue(job: &Job, history: &[CloudEvent], now: Timestamp) -> Overdue {
    match job.state {
        JobState::Registering => {
            let since = job.aggregated_at.map_or(Duration::ZERO, |at| age(at, now));
            match find(history, names::MODEL_AGGREGATED).into_iter().next() {
                Some(event) if is_due(since) => Overdue::Registration(Box::new(event)),
                _ => Overdue::Nothing,
            }
        }
        JobState::Training if job.is_ready_to_aggregate() => {
            let last = job.shards.values().filter_map(|shard| shard.trained_at).max();
            if last.is_some_and(|at| age(at, now) >= OVERDUE_AFTER) { Overdue::Merge } else { Overdue::Nothing }
        }
        JobState::Training => overdue_shards(job, now),
        _ => Overdue::Nothing,
    }
}

fn overdue_shards(job: &Job, now: Timestamp) -> Overdue {
    let mut late = Vec::new();
    for (&number, shard) in job.shards.iter().filter(|(_, shard)| shard.trained.is_none()) {
        let patience = OVERDUE_AFTER * 2u32.saturating_pow(shard.attempts.saturating_sub(1));
        if shard.requested_at.is_none_or(|at| age(at, now) < patience) {
            continue;
        }
        if shard.attempts >= SHARD_ATTEMPTS_MAX {
            return Overdue::GiveUp(JobFailed {
                step: "train-shard".to_owned(),
                reason: format!("shard {number} was asked for {SHARD_ATTEMPTS_MAX} times and never came back"),
                problem: "shard-overdue".to_owned(),
            });
        }
        late.push((number, shard.attempts + 1));
    }
    if late.is_empty() { Overdue::Nothing } else { Overdue::Shards(late) }
}

/// Whether one of the moments 1, 2, 4, 8, … times [`OVERDUE_AFTER`] lies within the last [`TICK`].
fn is_due(age: Duration) -> bool {
    let mut moment = OVERDUE_AFTER;
    while moment <= age {
        if age.saturating_sub(moment) < TICK {
            return true;
        }
        moment *= 2;
    }
    false
}

fn age(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(at)).unwrap_or_default()
}

/// What a dead letter means for its job: it fails when no retry could have helped.
///
/// A dead letter after 5xx, 408, 409 or 429 stays in the dead letters: the tick or a person sends it again. One that a
/// job's own events did not cause, such as a second request under a taken id, does not touch the job.
pub fn bury(job: &Job, history: &[CloudEvent], letter: &CloudEvent) -> Option<JobFailed> {
    if job.state.is_terminal() {
        return None;
    }
    let stray = job.request.is_some() && !history.iter().any(|known| known.id() == letter.id());
    let code: u16 = letter.attribute("knativeerrorcode").and_then(|code| code.parse().ok()).unwrap_or(500);
    let retryable = code >= 500 || matches!(code, 404 | 408 | 409 | 429);
    if stray || retryable {
        return None;
    }
    let said = letter.attribute("knativeerrordata").and_then(|data| BASE64.decode(data.as_bytes()).ok());
    let problem: serde_json::Value = said.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default();
    let text = |name: &str| problem.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
    Some(JobFailed {
        step: step_of(letter).to_owned(),
        reason: text("detail").unwrap_or_else(|| format!("`{}` was refused with status {code}", letter.ty())),
        problem: text("type")
            .and_then(|uri| uri.rsplit(':').next().map(str::to_owned))
            .unwrap_or_else(|| "refused".to_owned()),
    })
}

/// The function that a type of event is for.
fn step_of(letter: &CloudEvent) -> &'static str {
    match letter.ty().strip_prefix(regrove_events::TYPE_PREFIX).unwrap_or_default() {
        names::SHARD_REQUESTED => "train-shard",
        names::MODEL_AGGREGATED => "register",
        names::MODEL_REGISTERED => "load-model",
        _ => "aggregate",
    }
}

/// The event that ends a job on request.
///
/// # Errors
/// When the job has ended: what its end said, if that was on request too.
pub fn cancel(job: &Job, history: &[CloudEvent], reason: Option<String>) -> Result<Event, Vec<CloudEvent>> {
    if job.state.is_terminal() {
        return Err(find(history, names::JOB_CANCELLED));
    }
    Ok(Event::JobCancelled(regrove_events::JobCancelled { reason }))
}
