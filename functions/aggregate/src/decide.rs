//! What an event means for a job. Pure: no clock, no store, no forest.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use regrove_events::event::{DeliveryFailed, JobFailed, ShardTrained, TreeRange};
use regrove_events::{CloudEvent, Event, Job, JobState, names};
use regrove_knative::delivery::{ERROR_CODE, ERROR_DATA, ERROR_DESTINATION};

/// The functions that hear the events of a job.
const STEPS: [&str; 4] = ["aggregate", "train-shard", "register", "load-model"];

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
    Repeat(Vec<CloudEvent>),
}

/// Whether a job is the trial of a sweep that has its model.
fn is_evaluated(job: &Job) -> bool {
    job.state == JobState::Succeeded && job.request.as_ref().is_some_and(|request| request.sweep.is_some())
}

/// Decides whether the forest can be put together. Shards come back in tree order.
///
/// What was said before is repeated only to the delivery that caused it: the others need not say it too.
pub fn complete(job: &Job, history: &[CloudEvent], received: &CloudEvent) -> Completion {
    let caused = |event: &CloudEvent| event.attribute("causationid").is_some_and(|cause| cause == received.id());
    let said: Vec<CloudEvent> = if job.state == JobState::Registering || is_evaluated(job) {
        find(history, names::MODEL_AGGREGATED).into_iter().filter(caused).collect()
    } else if job.state.is_terminal() {
        Vec::new()
    } else {
        // The shards of the next round that are not in yet.
        job.shards
            .values()
            .filter(|shard| shard.trained.is_none())
            .map(|shard| shard.request.clone())
            .filter(caused)
            .collect()
    };
    if !said.is_empty() {
        return Completion::Repeat(said);
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

/// What becomes of a job one of whose events nobody took.
#[derive(Debug, Clone, PartialEq)]
pub enum Burial {
    /// No retry could have helped: the job fails.
    Fails(JobFailed),
    /// It may succeed later, when the tick or a person says it again: the job takes note and goes on.
    Waits(DeliveryFailed),
}

/// What a dead letter means for its job; nothing when the job has ended, or did not cause the letter, as it did not cause a
/// second request under a taken id.
pub fn bury(job: &Job, history: &[CloudEvent], letter: &CloudEvent) -> Option<Burial> {
    let known = history.iter().any(|known| known.id() == letter.id());
    if job.state.is_terminal() || (job.request.is_some() && !known) {
        return None;
    }
    let code: Option<u16> = letter.attribute(ERROR_CODE).and_then(|code| code.parse().ok());
    let retryable = code.is_none_or(|code| code >= 500 || matches!(code, 404 | 408 | 409 | 429));
    let said = letter.attribute(ERROR_DATA).and_then(|data| BASE64.decode(data.as_bytes()).ok());
    let problem: serde_json::Value = said.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default();
    let text = |name: &str| problem.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
    let (step, detail) = (step_of(letter).to_owned(), text("detail"));
    if retryable {
        let reason = detail.unwrap_or_else(|| match code {
            Some(code) => format!("`{}` was answered with status {code}", letter.ty()),
            None => format!("`{}` was not answered", letter.ty()),
        });
        // What never became an event of a job has no job to take note.
        return known.then(|| Burial::Waits(DeliveryFailed { event: letter.id().to_owned(), step, code, reason }));
    }
    let status = code.unwrap_or_default();
    Some(Burial::Fails(JobFailed {
        step,
        reason: detail.unwrap_or_else(|| format!("`{}` was refused with status {status}", letter.ty())),
        problem: text("type")
            .and_then(|uri| uri.rsplit(':').next().map(str::to_owned))
            .unwrap_or_else(|| "refused".to_owned()),
    }))
}

/// The function that did not take an event: the one it was sent to, where the broker says which, else the one that its type
/// is for.
fn step_of(letter: &CloudEvent) -> &'static str {
    let sent_to = letter.attribute(ERROR_DESTINATION).unwrap_or_default();
    if let Some(step) = STEPS.into_iter().find(|step| Some(*step) == service_of(&sent_to)) {
        return step;
    }
    match letter.ty().strip_prefix(regrove_events::TYPE_PREFIX).unwrap_or_default() {
        names::SHARD_REQUESTED => "train-shard",
        names::MODEL_AGGREGATED => "register",
        names::MODEL_REGISTERED => "load-model",
        _ => "aggregate",
    }
}

/// The name of the service in an address: `http://register.regrove.svc.cluster.local/` of a cluster, `lambda:register/`.
fn service_of(address: &str) -> Option<&str> {
    let (_, place) = address.split_once(':')?;
    place.trim_start_matches('/').split(['.', '/', ':']).next()
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

#[cfg(test)]
mod tests {
    use regrove_events::event::{
        Artifact, Dataset, DatasetRequest, ModelRequest, ShardBy, ShardRequested, TrainRequested,
    };
    use regrove_events::{Cause, ids, job};

    use super::*;

    const JOB: &str = "job-1";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn artifact() -> Artifact {
        Artifact { sha256: "0".repeat(64), bytes: 1 }
    }

    fn request() -> TrainRequested {
        TrainRequested {
            dataset: DatasetRequest::new("synthetic:x", "target"),
            params: serde_json::Map::new(),
            shards: 2,
            shard_by: ShardBy::Trees,
            test_size: 0.0,
            model: ModelRequest::default(),
            experiment: "regrove".into(),
            objective: None,
            early_stop: None,
            sweep: None,
        }
    }

    fn dataset() -> Dataset {
        Dataset {
            name: "x".into(),
            uri: "synthetic:x".into(),
            target: "target".into(),
            frame: artifact(),
            n_samples: 1,
            feature_names: vec!["a".into()],
            classes: vec![0.into(), 1.into()],
            categories: std::collections::BTreeMap::new(),
        }
    }

    fn wish() -> CloudEvent {
        Event::TrainRequested(request()).first("request", "/test", JOB, at(0)).unwrap()
    }

    fn fact(event: &Event, id: &str, seconds: i64) -> CloudEvent {
        let cause = wish();
        event.caused_by(&Cause { function: "test", event: &cause, at: at(seconds) }, id, JOB).unwrap()
    }

    fn asked(shard: u32, attempt: u32, seconds: i64) -> CloudEvent {
        let trees = TreeRange { from: shard, to: shard + 1 };
        let (dataset, params) = (dataset(), serde_json::Map::new());
        let event = ShardRequested { shard, of: 2, trees, dataset, params, test_size: 0.0, attempt, part: None };
        fact(&Event::ShardRequested(event), &ids::shard_requested(JOB, shard, attempt), seconds)
    }

    fn trained(shard: u32, seconds: i64) -> CloudEvent {
        let trees = TreeRange { from: shard, to: shard + 1 };
        let event = ShardTrained {
            shard,
            of: 2,
            trees,
            model: artifact(),
            holdout: None,
            n_nodes: 1,
            seconds: 0.1,
            worker: None,
            trees_reused: 0,
        };
        fact(&Event::ShardTrained(event), &ids::shard_trained(JOB, shard), seconds)
    }

    fn whole(seconds: i64) -> CloudEvent {
        let event = regrove_events::ModelAggregated {
            dataset: dataset(),
            params: serde_json::Map::new(),
            n_estimators: 2,
            model: artifact(),
            onnx: artifact(),
            input_example: vec![1.0],
            output_example: None,
            metrics: std::collections::BTreeMap::new(),
            feature_importances: vec![1.0],
            confusion_matrix: None,
        };
        fact(&Event::ModelAggregated(event), &ids::model_aggregated(JOB), seconds)
    }

    fn cancelled() -> CloudEvent {
        fact(&Event::JobCancelled(regrove_events::JobCancelled::default()), &ids::job_cancelled(JOB), 1)
    }

    #[test]
    fn trees_are_cut_into_even_ranges_without_gaps() {
        for (n_estimators, shards, expected) in [
            (75, 4, vec![(0, 19), (19, 38), (38, 57), (57, 75)]),
            (3, 8, vec![(0, 1), (1, 2), (2, 3)]),
            (5, 1, vec![(0, 5)]),
        ] {
            let ranges: Vec<_> = plan(n_estimators, shards).iter().map(|range| (range.from, range.to)).collect();
            assert_eq!(ranges, expected, "{n_estimators} trees in {shards} shards");
        }
    }

    #[test]
    fn a_request_opens_a_job_once() {
        let open = |history: &[CloudEvent], received: &CloudEvent| open(&job::replay(history), history, received);
        assert_eq!(open(&[], &wish()), Opening::Plan);
        let history = [wish(), asked(0, 1, 0), asked(1, 1, 0), trained(0, 5)];
        assert_eq!(open(&history, &wish()), Opening::Repeat(vec![asked(1, 1, 0)]), "only what is missing");
        let other = Event::TrainRequested(TrainRequested { shards: 3, ..request() });
        assert_eq!(open(&history, &other.first("other", "/test", JOB, at(9)).unwrap()), Opening::Taken);
        assert_eq!(open(&[cancelled()], &wish()), Opening::Keep, "stopped before it began");
        let stopped = [wish(), asked(0, 1, 0), cancelled()];
        assert_eq!(open(&stopped, &wish()), Opening::Repeat(Vec::new()));
    }

    #[test]
    fn the_forest_is_put_together_when_the_last_shard_is_in() {
        let complete = |history: &[CloudEvent]| complete(&job::replay(history), history, &trained(0, 6));
        let mut history = vec![wish(), asked(0, 1, 0), asked(1, 1, 0), trained(1, 5)];
        assert_eq!(complete(&history), Completion::Wait);
        history.push(trained(0, 6));
        let Completion::Merge(shards) = complete(&history) else { panic!("not merged") };
        assert_eq!(shards.iter().map(|shard| shard.shard).collect::<Vec<_>>(), [0, 1], "in tree order");
        let mut said = whole(7);
        history.push(said.clone());
        assert_eq!(complete(&history), Completion::Wait, "another delivery caused it, and says it");
        said.set_extension("causationid", trained(0, 6).id()).unwrap();
        history.pop();
        history.push(said.clone());
        assert_eq!(complete(&history), Completion::Repeat(vec![said]));
        history.insert(3, cancelled());
        assert_eq!(complete(&history), Completion::Wait);
    }

    #[test]
    fn a_late_shard_is_asked_for_again_with_growing_patience() {
        let overdue = |history: &[CloudEvent], seconds| overdue(&job::replay(history), history, at(seconds));
        let mut history = vec![wish(), asked(0, 1, 0), asked(1, 1, 0), trained(0, 5)];
        assert_eq!(overdue(&history, 119), Overdue::Nothing);
        assert_eq!(overdue(&history, 120), Overdue::Shards(vec![(1, 2)]));
        history.push(asked(1, 2, 120));
        assert_eq!(overdue(&history, 120 + 239), Overdue::Nothing);
        assert_eq!(overdue(&history, 120 + 240), Overdue::Shards(vec![(1, 3)]));
        history.push(asked(1, SHARD_ATTEMPTS_MAX, 1000));
        let Overdue::GiveUp(failure) = overdue(&history, 1_000_000) else { panic!("goes on for ever") };
        assert!(failure.reason.contains("shard 1 was asked for 5 times"), "{}", failure.reason);
    }

    #[test]
    fn a_forest_that_nobody_registers_is_said_again_at_growing_intervals() {
        let history = [wish(), asked(0, 1, 0), asked(1, 1, 0), trained(0, 5), trained(1, 6), whole(0)];
        let state = job::replay(&history);
        let due: Vec<i64> = (0..60)
            .map(|minute| minute * 60)
            .filter(|&seconds| overdue(&state, &history, at(seconds)) != Overdue::Nothing)
            .map(|seconds| seconds / 60)
            .collect();
        assert_eq!(due, [2, 4, 8, 16, 32]);
    }

    #[test]
    fn shards_that_nobody_put_together_are_put_together() {
        let history = [wish(), asked(0, 1, 0), asked(1, 1, 0), trained(0, 5), trained(1, 6)];
        let state = job::replay(&history);
        assert_eq!(overdue(&state, &history, at(100)), Overdue::Nothing);
        assert_eq!(overdue(&state, &history, at(126)), Overdue::Merge);
    }

    #[test]
    fn a_dead_letter_names_the_function_that_refused_it() {
        let step = |event: CloudEvent, sent_to: &str| {
            let mut letter = event;
            letter.set_extension(ERROR_DESTINATION, sent_to.to_owned()).unwrap();
            step_of(&letter)
        };
        // Both hear the request, and the broker says which of them refused.
        assert_eq!(step(wish(), "http://register.regrove.svc.cluster.local/"), "register");
        assert_eq!(step(wish(), "http://register.regrove.svc.cluster.local:80"), "register");
        assert_eq!(step(wish(), "http://aggregate.regrove.svc.cluster.local"), "aggregate");
        assert_eq!(step(wish(), "lambda:register/"), "register");
        // Where it does not, the type does.
        assert_eq!(step_of(&wish()), "aggregate");
        assert_eq!(step(asked(0, 1, 0), "http://127.0.0.1:9000/"), "train-shard");
        assert_eq!(step(asked(0, 1, 0), "nowhere"), "train-shard");
    }

    #[test]
    fn a_dead_letter_fails_its_job_only_when_no_retry_could_help() {
        let letter = |event: &CloudEvent, code: u16| {
            let mut letter = event.clone();
            letter.set_extension(ERROR_CODE, i32::from(code)).unwrap();
            let data = r#"{"type": "urn:regrove:problem:shard-untrainable", "detail": "too deep"}"#;
            letter.set_extension(ERROR_DATA, BASE64.encode(data)).unwrap();
            letter
        };
        let history = vec![wish(), asked(0, 1, 0)];
        let bury = |history: &[CloudEvent], letter: &CloudEvent| bury(&job::replay(history), history, letter);
        for code in [500, 502, 503, 504, 404, 408, 409, 429] {
            let Some(Burial::Waits(note)) = bury(&history, &letter(&asked(0, 1, 0), code)) else {
                panic!("{code} is tried again")
            };
            assert_eq!((note.event.as_str(), note.step.as_str()), (asked(0, 1, 0).id(), "train-shard"));
            assert_eq!((note.code, note.reason.as_str()), (Some(code), "too deep"));
            assert_eq!(bury(&history, &letter(&asked(1, 1, 0), code)), None, "not an event of this job");
            assert_eq!(bury(&[], &letter(&wish(), code)), None, "no job that could take note");
            assert_eq!(bury(&[wish(), cancelled()], &letter(&wish(), code)), None, "ended already");
        }
        let Some(Burial::Waits(note)) = bury(&history, &asked(0, 1, 0)) else { panic!("nobody answered") };
        assert_eq!((note.code, note.reason.as_str()), (None, "`io.regrove.shard-requested` was not answered"));
        for code in [400, 413, 422] {
            let Some(Burial::Fails(failure)) = bury(&history, &letter(&asked(0, 1, 0), code)) else {
                panic!("{code} will never succeed")
            };
            assert_eq!(failure.step, "train-shard");
            assert_eq!((failure.reason.as_str(), failure.problem.as_str()), ("too deep", "shard-untrainable"));
        }
        assert_eq!(bury(&history, &letter(&asked(1, 1, 0), 422)), None, "not an event of this job");
        assert!(bury(&[], &letter(&wish(), 422)).is_some(), "a request that never became a job");
        assert_eq!(bury(&[wish(), cancelled()], &letter(&asked(0, 1, 0), 422)), None, "ended already");
    }

    #[test]
    fn an_end_is_final() {
        assert!(cancel(&job::replay(&[wish()]), &[wish()], None).is_ok());
        let stopped = [wish(), cancelled()];
        assert_eq!(cancel(&job::replay(&stopped), &stopped, None), Err(vec![cancelled()]));
    }
}
