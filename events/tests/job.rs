//! A job is the fold of its events: in any order that the world may deliver, with any repetition.

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;
use regrove_events::event::{self, TreeRange};
use regrove_events::{
    Artifact, CloudEvent, Dataset, Event, Job, JobState, ModelLoaded, Serving, SwitchedBy, ids, job, serving,
};
use serde_json::Map;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const JOB: &str = "reference-1";

fn artifact(content: u8) -> Artifact {
    Artifact { sha256: format!("{content:064x}"), bytes: u64::from(content) }
}

fn dataset() -> Dataset {
    Dataset {
        name: "d".to_owned(),
        uri: "file:///d.csv".to_owned(),
        target: "target".to_owned(),
        frame: artifact(0),
        n_samples: 10,
        feature_names: vec!["x".to_owned()],
        classes: vec![0.into(), 1.into()],
        categories: BTreeMap::new(),
    }
}

fn recorded(event: &Event, id: &str, second: i64) -> CloudEvent {
    let at = Timestamp::from_second(1_800_000_000 + second).unwrap_or_default();
    event.first(id, "/test", JOB, at).unwrap_or_else(|invalid| unreachable!("{invalid}"))
}

fn requested(second: i64) -> CloudEvent {
    let data = r#"{"dataset":{"uri":"file:///d.csv"}}"#;
    let request = serde_json::from_str(data).unwrap_or_else(|error| unreachable!("{error}"));
    recorded(&Event::TrainRequested(request), "request", second)
}

#[test]
fn a_model_without_a_name_is_called_after_its_estimator() {
    for (request, name) in [
        (r#"{"dataset":{"uri":"file:///d.csv"}}"#, "RandomForestClassifierModel"),
        (
            r#"{"dataset":{"uri":"file:///d.csv"},"params":{"estimator":"RandomForestRegressor"}}"#,
            "RandomForestRegressorModel",
        ),
        (
            r#"{"dataset":{"uri":"file:///d.csv"},"params":{"estimator":"ExtraTreesClassifier"}}"#,
            "ExtraTreesClassifierModel",
        ),
        (
            r#"{"dataset":{"uri":"file:///d.csv"},"params":{"estimator":"RandomForestRegressor"},"model":{"name":"Prices"}}"#,
            "Prices",
        ),
    ] {
        let read: event::TrainRequested = serde_json::from_str(request).unwrap_or_else(|error| unreachable!("{error}"));
        assert_eq!(read.model_name(), name);
    }
}

fn trees(shard: u32) -> TreeRange {
    TreeRange { from: shard * 10, to: shard * 10 + 10 }
}

fn shard_requested(shard: u32, of: u32, attempt: u32, second: i64) -> CloudEvent {
    let event = Event::ShardRequested(event::ShardRequested {
        shard,
        of,
        trees: trees(shard),
        dataset: dataset(),
        params: Map::new(),
        test_size: 0.2,
        attempt,
        part: None,
    });
    recorded(&event, &ids::shard_requested(JOB, shard, attempt), second)
}

fn shard_trained(shard: u32, of: u32, trees: TreeRange) -> CloudEvent {
    let event = Event::ShardTrained(event::ShardTrained {
        shard,
        of,
        trees,
        model: artifact(u8::try_from(shard).unwrap_or(0)),
        holdout: None,
        n_nodes: 3,
        seconds: 0.5,
        worker: None,
        trees_reused: 0,
    });
    recorded(&event, &ids::shard_trained(JOB, shard), 100 + i64::from(shard))
}

fn aggregated(second: i64) -> CloudEvent {
    let event = Event::ModelAggregated(event::ModelAggregated {
        dataset: dataset(),
        params: Map::new(),
        n_estimators: 20,
        model: artifact(1),
        onnx: artifact(2),
        input_example: vec![0.5],
        output_example: None,
        metrics: BTreeMap::new(),
        feature_importances: vec![1.0],
        confusion_matrix: None,
    });
    recorded(&event, &ids::model_aggregated(JOB), second)
}

fn registered(second: i64) -> CloudEvent {
    let event = Event::ModelRegistered(event::ModelRegistered {
        job: JOB.to_owned(),
        name: "m".to_owned(),
        version: "1".to_owned(),
        uri: "models:/m/1".to_owned(),
        run_id: "r".to_owned(),
        model: artifact(1),
        alias: None,
    });
    recorded(&event, &ids::model_registered(JOB), second)
}

fn failed(second: i64) -> CloudEvent {
    let failure = event::JobFailed { step: "aggregate".to_owned(), reason: "r".to_owned(), problem: "p".to_owned() };
    recorded(&Event::JobFailed(failure), &ids::job_failed(JOB), second)
}

fn cancelled(second: i64) -> CloudEvent {
    let reason = event::JobCancelled { reason: Some("no".to_owned()) };
    recorded(&Event::JobCancelled(reason), &ids::job_cancelled(JOB), second)
}

/// What happens to a job of `of` shards before its shards are in.
fn planned(of: u32) -> Vec<CloudEvent> {
    std::iter::once(requested(0)).chain((0..of).map(|shard| shard_requested(shard, of, 1, 1))).collect()
}

/// Anything at any time.
fn anything() -> impl Strategy<Value = CloudEvent> {
    (0..10_u8, 0..3_u32, 1..4_u32, 0..1000_i64).prop_map(|(kind, shard, attempt, second)| match kind {
        0 => requested(second),
        1 | 2 => shard_requested(shard, 3, attempt, second),
        3 | 4 => shard_trained(shard, 3, trees(shard)),
        5 => aggregated(second),
        6 => registered(second),
        7 => failed(second),
        8 => cancelled(second),
        _ => recorded(&Event::TrainCancelled(event::TrainCancelled::default()), "wish", second),
    })
}

fn rank(state: JobState) -> u8 {
    match state {
        JobState::Unknown => 0,
        JobState::Queued => 1,
        JobState::Training => 2,
        JobState::Registering => 3,
        JobState::Succeeded | JobState::Failed | JobState::Cancelled => 4,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Shards arrive in any order, each as often as the broker likes: the job is the same.
    #[test]
    fn shards_in_any_order_and_number_make_the_same_job(
        of in 1..6_u32,
        arrivals in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        order in any::<u64>(),
    ) {
        let all: Vec<CloudEvent> = (0..of).map(|shard| shard_trained(shard, of, trees(shard))).collect();
        let mut shuffled = all.clone();
        shuffled.extend(arrivals.iter().map(|index| index.get(&all).clone()));
        let key = |event: &CloudEvent| event.id().bytes().fold(order, |hash, byte| hash.rotate_left(5) ^ u64::from(byte));
        shuffled.sort_by_key(|event| key(event));
        let history = |tail: &[CloudEvent]| [planned(of), tail.to_vec()].concat();
        let (straight, other) = (job::replay(&history(&all)), job::replay(&history(&shuffled)));
        prop_assert_eq!(&straight, &other);
        prop_assert!(other.is_ready_to_aggregate());
        // One shard missing: not ready.
        let missing: Vec<CloudEvent> = shuffled.into_iter().filter(|event| event.id() != all[0].id()).collect();
        prop_assert!(!job::replay(&history(&missing)).is_ready_to_aggregate());
    }

    /// The state after some events and then the others is the state after all of them, and it only moves forward.
    #[test]
    fn any_history_can_be_cut_anywhere(history in prop::collection::vec(anything(), 0..25), cut in any::<prop::sample::Index>()) {
        let whole = job::replay(&history);
        let (first, rest) = history.split_at(cut.index(history.len() + 1));
        let continued = rest.iter().fold(job::replay(first), |job, recorded| {
            job::evolve(job, recorded, &Event::read(recorded).unwrap())
        });
        prop_assert_eq!(&continued, &whole);
        let mut before = Job::default();
        for length in 0..=history.len() {
            let job = job::replay(&history[..length]);
            prop_assert!(rank(before.state) <= rank(job.state), "{} after {}", job.state, before.state);
            if before.state.is_terminal() {
                prop_assert_eq!((before.state, before.ended_at), (job.state, job.ended_at), "a terminal state is final");
                prop_assert_eq!((&before.failure, &before.cancel_reason), (&job.failure, &job.cancel_reason));
                prop_assert_eq!(&before.model, &job.model);
            }
            prop_assert!(!job.state.is_terminal() || !job.is_ready_to_aggregate());
            prop_assert_eq!(job.ended_at.is_some(), job.state.is_terminal());
            before = job;
        }
    }

    /// Every event once more, right after itself or at the end: nothing changes.
    #[test]
    fn repeated_events_change_nothing(history in prop::collection::vec(anything(), 0..15)) {
        let once = job::replay(&history);
        let twice: Vec<CloudEvent> = history.iter().flat_map(|event| [event.clone(), event.clone()]).collect();
        prop_assert_eq!(&job::replay(&twice), &once);
    }
}

#[test]
fn a_job_from_request_to_version() {
    let mut history = planned(2);
    let state = |history: &[CloudEvent]| job::replay(history).state;
    assert_eq!(state(&[]), JobState::Unknown);
    assert_eq!(state(&history[..1]), JobState::Queued);
    assert_eq!(state(&history), JobState::Training);
    history.extend((0..2).map(|shard| shard_trained(shard, 2, trees(shard))));
    assert!(job::replay(&history).is_ready_to_aggregate());
    history.push(aggregated(200));
    assert_eq!(state(&history), JobState::Registering);
    assert!(!job::replay(&history).is_ready_to_aggregate());
    history.push(registered(250));
    let job = job::replay(&history);
    assert_eq!(job.state, JobState::Succeeded);
    assert_eq!(job.seconds_to_registered(), Some(250.0));
    assert_eq!((job.shards_trained(), job.request_id.as_deref()), (2, Some("request")));
}

#[test]
fn a_shard_of_other_trees_is_not_ours() {
    let mut history = planned(2);
    history.push(shard_trained(1, 3, TreeRange { from: 5, to: 9 }));
    history.push(shard_trained(7, 2, trees(7)));
    assert_eq!(job::replay(&history).shards_trained(), 0);
}

#[test]
fn only_a_newer_attempt_counts() {
    let mut history = planned(1);
    history.extend([shard_requested(0, 1, 3, 30), shard_requested(0, 1, 2, 40)]);
    let job = job::replay(&history);
    let shard = job.shards.get(&0);
    assert_eq!(shard.map(|shard| shard.attempts), Some(3));
    assert_eq!(shard.and_then(|shard| shard.requested_at).map(Timestamp::as_second), Some(1_800_000_030));
    assert_eq!(shard.map(|shard| shard.request.id().to_owned()), Some(ids::shard_requested(JOB, 0, 3)));
}

#[test]
fn events_of_tomorrow_are_passed_over() -> Result {
    let mut history = planned(1);
    let before = job::replay(&history);
    history.push(CloudEvent::builder("x", "/s", "io.regrove.shard-admired").build()?);
    history.push(CloudEvent::builder("y", "/s", "io.regrove.job-failed").data("application/json", "{}").build()?);
    assert_eq!(job::replay(&history), before);
    Ok(())
}

fn candidate(version: &str, by: SwitchedBy) -> ModelLoaded {
    ModelLoaded::plain("m", version, artifact(1), by)
}

fn loaded(version: &str, by: SwitchedBy) -> CloudEvent {
    recorded(&Event::ModelLoaded(candidate(version, by)), &ids::model_loaded("m", version), 0)
}

#[test]
fn events_move_the_serving_pointer_forward_and_people_anywhere() {
    assert!(Serving::default().accepts(&candidate("1", SwitchedBy::Event)));
    let history = [loaded("2", SwitchedBy::Event), loaded("10", SwitchedBy::Event)];
    let serving = serving::replay(&history);
    assert_eq!(serving.current.as_ref().map(|loaded| loaded.version.as_str()), Some("10"));
    assert_eq!(serving.switches, 2);
    for (version, by, accepted) in [
        ("11", SwitchedBy::Event, true),
        ("10", SwitchedBy::Event, false),
        ("9", SwitchedBy::Event, false),
        ("9", SwitchedBy::Request, true),
        ("10", SwitchedBy::Request, true),
    ] {
        assert_eq!(serving.accepts(&candidate(version, by)), accepted, "{version} {by:?}");
    }
    let back = serving::replay(&[history.to_vec(), vec![loaded("9", SwitchedBy::Request)]].concat());
    assert!(back.accepts(&candidate("10", SwitchedBy::Event)));
}
