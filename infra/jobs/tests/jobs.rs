//! Jobs over a real log: what is shown, what is asked, what is refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::collections::BTreeMap;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use regrove_events::event::{
    Artifact, Dataset, DatasetRequest, JobCancelled, JobFailed, ModelAggregated, ModelLoaded, ModelRegistered, ShardBy,
    ShardRequested, ShardTrained, SwitchedBy, TrainRequested, TreeRange,
};
use regrove_events::log::{EventLog, job_stream, serving_stream};
use regrove_events::{Cause, CloudEvent, Event, JobState, ModelRequest, ids, names};
use regrove_jobs::{Error, Jobs, LIMIT_MAX, Level, LogLine, Query, ShardState, SpanStatus, retry_base, retry_id};
use regrove_store::Control;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// A log of its own, and the jobs in it.
struct World {
    control: Control,
    jobs: Jobs,
    _home: TempDir,
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn artifact(digit: char) -> Artifact {
    Artifact { sha256: digit.to_string().repeat(64), bytes: 10 }
}

fn dataset() -> Dataset {
    Dataset {
        name: "iris".to_owned(),
        uri: "file:///data/iris.csv".to_owned(),
        target: "species".to_owned(),
        frame: artifact('d'),
        n_samples: 150,
        feature_names: vec!["length".to_owned(), "width".to_owned()],
        classes: vec![json!("setosa"), json!("virginica")],
        categories: BTreeMap::new(),
    }
}

fn request(n_estimators: u32) -> TrainRequested {
    TrainRequested {
        dataset: DatasetRequest::new(dataset().uri, "species"),
        params: Map::from_iter([("n_estimators".to_owned(), Value::from(n_estimators))]),
        shards: 2,
        shard_by: ShardBy::Trees,
        test_size: 0.2,
        model: ModelRequest::named("Iris"),
        experiment: "regrove".to_owned(),
        objective: None,
        early_stop: None,
        sweep: None,
    }
}

fn shard_requested(shard: u32, attempt: u32) -> Event {
    let trees = TreeRange { from: shard * 5, to: shard * 5 + 5 };
    let params = request(10).params;
    Event::ShardRequested(ShardRequested {
        shard,
        of: 2,
        trees,
        dataset: dataset(),
        params,
        test_size: 0.2,
        attempt,
        part: None,
    })
}

fn shard_trained(shard: u32) -> Event {
    Event::ShardTrained(ShardTrained {
        shard,
        of: 2,
        trees: TreeRange { from: shard * 5, to: shard * 5 + 5 },
        model: artifact('a'),
        holdout: None,
        n_nodes: 9,
        seconds: 0.5,
        worker: Some(format!("train-shard-{shard}")),
        trees_reused: shard,
    })
}

fn aggregated(accuracy: f64, model: char) -> Event {
    Event::ModelAggregated(ModelAggregated {
        dataset: dataset(),
        params: request(10).params,
        n_estimators: 10,
        model: artifact(model),
        onnx: artifact('e'),
        input_example: vec![1.0, 2.0],
        output_example: None,
        metrics: [("accuracy".to_owned(), accuracy)].into(),
        feature_importances: vec![0.25, 0.75],
        confusion_matrix: None,
    })
}

fn registered(job: &str) -> Event {
    Event::ModelRegistered(ModelRegistered {
        job: job.to_owned(),
        name: "Iris".to_owned(),
        version: "3".to_owned(),
        uri: "models:/Iris/3".to_owned(),
        run_id: "r1".to_owned(),
        model: artifact('b'),
        alias: None,
    })
}

impl World {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let control = Control::embedded(home.path());
        let jobs = Jobs::new(Arc::clone(&control.log), "/regrove/test");
        Self { control, jobs, _home: home }
    }

    fn log(&self) -> &dyn EventLog {
        &*self.control.log
    }

    /// Appends an event to a job's stream, as a function would.
    async fn say(&self, job: &str, id: &str, seconds: i64, event: &Event) -> CloudEvent {
        let event = event.first(id, "/regrove/function", job, at(seconds)).unwrap();
        let version = self.log().read(&job_stream(job), 0).await.unwrap().len() as u64;
        self.log().append(&job_stream(job), version, slice::from_ref(&event)).await.unwrap();
        event
    }

    async fn ask(&self, job: &str, seconds: i64) {
        let submitted = self.jobs.submit(job, &request(10), at(seconds)).await.unwrap();
        self.log().append(&job_stream(job), 0, &[submitted.event]).await.unwrap();
    }

    /// A job that has two shards, the second asked for twice, both in.
    async fn train(&self, job: &str) {
        self.ask(job, 0).await;
        self.say(job, &ids::shard_requested(job, 0, 1), 1, &shard_requested(0, 1)).await;
        self.say(job, &ids::shard_requested(job, 1, 1), 1, &shard_requested(1, 1)).await;
        self.say(job, &ids::shard_trained(job, 0), 2, &shard_trained(0)).await;
        self.say(job, &ids::shard_requested(job, 1, 2), 121, &shard_requested(1, 2)).await;
        self.say(job, &ids::shard_trained(job, 1), 123, &shard_trained(1)).await;
    }

    async fn finish(&self, job: &str, accuracy: f64, model: char) {
        self.say(job, &ids::model_aggregated(job), 124, &aggregated(accuracy, model)).await;
        self.say(job, &ids::model_registered(job), 126, &registered(job)).await;
    }

    async fn fail(&self, job: &str, seconds: i64) {
        let failure = JobFailed { step: "train-shard".into(), reason: "no memory".into(), problem: "refused".into() };
        self.say(job, &ids::job_failed(job), seconds, &Event::JobFailed(failure)).await;
    }
}

#[tokio::test]
async fn jobs_are_listed_newest_first_and_in_pages() {
    let world = World::new();
    for number in 0..5 {
        world.ask(&format!("job-{number}"), number).await;
    }
    world.fail("job-3", 9).await;
    let ids = async |query: Query| {
        let page = world.jobs.list(&query).await.unwrap();
        (page.jobs.into_iter().map(|job| job.id).collect::<Vec<_>>(), page.next, page.total)
    };
    let first = ids(Query { limit: 2, ..Query::default() }).await;
    assert_eq!((first.0, first.2), (vec!["job-4".to_owned(), "job-3".to_owned()], 5));
    // A job that comes in between moves nothing on the pages after.
    world.ask("job-9", 10).await;
    let second = ids(Query { limit: 2, after: first.1, ..Query::default() }).await;
    assert_eq!(second.0, ["job-2", "job-1"]);
    let third = ids(Query { limit: 2, after: second.1, ..Query::default() }).await;
    assert_eq!((third.0, third.1), (vec!["job-0".to_owned()], None));
    let page = world.jobs.list(&Query { states: Query::states("failed").unwrap(), ..Query::default() }).await.unwrap();
    let states: Vec<(&str, usize)> = page.states.iter().map(|(state, jobs)| (state.as_str(), *jobs)).collect();
    assert_eq!(states, [("failed", 1), ("queued", 5)], "of all that fit, whatever state was asked for");
    let failed = ids(Query { states: Query::states("failed, cancelled").unwrap(), ..Query::default() }).await;
    assert_eq!(failed.0, ["job-3"]);
    let named =
        ids(Query { name: Some("IRIS".to_owned()), since: Some(at(2)), until: Some(at(4)), ..Query::default() });
    assert_eq!(named.await.0, ["job-3", "job-2"], "by the model's name, within a time");
    assert_eq!(ids(Query { name: Some("nobody".to_owned()), ..Query::default() }).await.2, 0);
}

#[tokio::test]
async fn the_list_follows_jobs_that_have_ended() {
    let world = World::new();
    world.train("one").await;
    let models = async || {
        let made = world.jobs.with_version().await.unwrap();
        made.into_iter().filter_map(|job| Some((job.id, job.model?.uri))).collect::<Vec<_>>()
    };
    world.say("one", &ids::model_aggregated("one"), 124, &aggregated(0.9, 'b')).await;
    assert_eq!(models().await, []);
    world.say("one", &ids::model_registered("one"), 126, &registered("one")).await;
    assert_eq!(models().await, [("one".to_owned(), "models:/Iris/3".to_owned())]);
    // What comes after the end is read too: a version that a failed job got after all.
    world.train("two").await;
    world.say("two", &ids::model_aggregated("two"), 124, &aggregated(0.9, 'b')).await;
    world.fail("two", 125).await;
    assert_eq!(world.jobs.list(&Query::default()).await.unwrap().states["failed"], 1);
    world.say("two", &ids::model_registered("two"), 126, &registered("two")).await;
    assert_eq!(models().await.len(), 2);
    assert_eq!(world.jobs.list(&Query::default()).await.unwrap().states["failed"], 1, "it failed all the same");
}

#[tokio::test]
async fn news_of_a_job_are_waited_for() {
    let world = World::new();
    let waiting = world.jobs.clone();
    let waiting = tokio::spawn(async move { waiting.news("late", 0, Duration::from_mins(1)).await.unwrap() });
    world.ask("other", 0).await;
    world.ask("late", 1).await;
    assert_eq!(waiting.await.unwrap()[0].subject(), Some("late"));
    assert_eq!(world.jobs.news("late", 1, Duration::ZERO).await.unwrap(), [], "none after those that are known");
    assert_eq!(world.jobs.news("late", 0, Duration::ZERO).await.unwrap().len(), 1);
}

#[tokio::test]
async fn wrong_queries_name_the_field() {
    let world = World::new();
    for (query, field) in [
        (Query { limit: 0, ..Query::default() }, "limit"),
        (Query { limit: LIMIT_MAX + 1, ..Query::default() }, "limit"),
        (Query { after: Some("nonsense".to_owned()), ..Query::default() }, "after"),
    ] {
        let refused = world.jobs.list(&query).await.unwrap_err();
        assert!(matches!(refused, Error::Field { field: named, .. } if named == field), "{refused}");
    }
    let refused = Query::states("training,done").unwrap_err();
    assert_eq!(refused.kind(), "invalid-parameter");
    assert!(refused.to_string().contains("`done` is none of") && refused.to_string().contains("succeeded"));
}

#[tokio::test]
async fn a_job_is_shown_with_its_shards_and_its_past() {
    let world = World::new();
    world.train("one").await;
    world.finish("one", 0.9, 'b').await;
    let view = world.jobs.show("one", at(1000)).await.unwrap();
    let line = &view.summary;
    assert_eq!((line.state, line.trees, line.trees_trained, line.retries), (JobState::Succeeded, 10, 10, 1));
    assert_eq!((line.seconds.queued_to_registered, line.seconds.total), (Some(126.0), Some(126.0)));
    assert_eq!(line.score(), Some(("training rows", 0.9)));
    let shard = &view.shard_list[1];
    assert_eq!(shard.attempts.iter().map(|attempt| attempt.attempt).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((shard.state, shard.elapsed_seconds, shard.seconds), (ShardState::Trained, Some(122.0), Some(0.5)));
    assert_eq!((shard.worker.as_deref(), shard.trees_reused), (Some("train-shard-1"), 1));
    assert_eq!(view.feature_importances[0], ("width".to_owned(), 0.75));
    assert_eq!(view.timeline.len(), 8);
    assert_eq!((view.timeline[7].name.as_str(), view.timeline[7].after_seconds), ("model-registered", Some(126.0)));
    assert!(view.timeline[4].text.contains("attempt 2"), "{:?}", view.timeline[4]);
    let json = serde_json::to_value(&view).unwrap();
    assert_eq!((&json["data"]["n_samples"], &json["shard_list"][0]["state"]), (&json!(150), &json!("trained")));
    assert_eq!((&json["id"], &json["shards"]), (&json!("one"), &json!(2)), "what the list shows stands beside it");
    assert_eq!(
        serde_json::from_value::<regrove_jobs::JobView>(json).unwrap(),
        view,
        "who gets it from afar has it all"
    );
    let links = view.linked_to("http://localhost:8989/").links.unwrap();
    assert_eq!(links.model_version, "http://localhost:8989/#/models/Iris/versions/3");
}

#[tokio::test]
async fn an_open_shard_grows_older_and_an_ended_one_does_not() {
    let world = World::new();
    world.ask("open", 0).await;
    world.say("open", &ids::shard_requested("open", 0, 1), 1, &shard_requested(0, 1)).await;
    let open = world.jobs.show("open", at(11)).await.unwrap();
    assert_eq!((open.shard_list[0].state, open.shard_list[0].elapsed_seconds), (ShardState::Requested, Some(10.0)));
    world.say("open", &ids::job_cancelled("open"), 5, &Event::JobCancelled(JobCancelled { reason: None })).await;
    let ended = world.jobs.show("open", at(99)).await.unwrap();
    assert_eq!((ended.shard_list[0].state, ended.shard_list[0].elapsed_seconds), (ShardState::Abandoned, Some(4.0)));
}

#[tokio::test]
async fn the_same_request_is_one_job() {
    let world = World::new();
    world.ask("mine", 0).await;
    let again = world.jobs.submit("mine", &request(10), at(50)).await.unwrap();
    assert!(again.known);
    assert_eq!(again.event.time(), Some(at(0)), "the event that the log has, byte for byte");
    let other = world.jobs.submit("mine", &request(11), at(50)).await.unwrap_err();
    assert_eq!(other.kind(), "job-id-taken");
    let id = world.jobs.submit("a/b", &request(10), at(0)).await.unwrap_err();
    assert_eq!(id.kind(), "invalid-job-id");
}

#[tokio::test]
async fn only_an_open_job_is_stopped() {
    let world = World::new();
    assert_eq!(world.jobs.stop("nobody", None, at(0)).await.unwrap_err().kind(), "job-not-found");
    world.ask("open", 0).await;
    let event = world.jobs.stop("open", Some("wrong data".to_owned()), at(3)).await.unwrap();
    assert_eq!((event.id(), event.subject()), ("open/cancel", Some("open")));
    assert!(
        matches!(Event::read(&event), Ok(Event::TrainCancelled(wish)) if wish.reason.as_deref() == Some("wrong data"))
    );
    world.fail("open", 4).await;
    let refused = world.jobs.stop("open", None, at(5)).await.unwrap_err();
    assert!(matches!(&refused, Error::Ended { state: JobState::Failed, .. }), "{refused}");
    assert_eq!(refused.kind(), "job-ended");
}

#[tokio::test]
async fn a_failed_job_is_tried_again_under_the_next_id() {
    let world = World::new();
    world.ask("a", 0).await;
    assert_eq!(world.jobs.retry("a", at(1)).await.unwrap_err().kind(), "job-not-retryable");
    world.fail("a", 1).await;
    let second = world.jobs.retry("a", at(2)).await.unwrap();
    assert_eq!((second.id.as_str(), second.known), ("a.retry-2", false));
    world.log().append(&job_stream("a.retry-2"), 0, slice::from_ref(&second.event)).await.unwrap();
    let twice = world.jobs.retry("a", at(9)).await.unwrap();
    assert_eq!((twice.id.as_str(), twice.known, twice.event), ("a.retry-2", true, second.event));
    let view = world.jobs.show("a.retry-2", at(9)).await.unwrap();
    assert_eq!((view.attempt, view.first_attempt.as_deref(), view.next_attempt), (2, Some("a"), None));
    assert_eq!(world.jobs.show("a", at(9)).await.unwrap().next_attempt.as_deref(), Some("a.retry-2"));
    world.fail("a.retry-2", 10).await;
    assert_eq!(world.jobs.retry("a", at(11)).await.unwrap().id, "a.retry-3");
    assert_eq!(world.jobs.retry("a.retry-2", at(11)).await.unwrap().id, "a.retry-3");
    // Refused before its request was kept: there is nothing to ask for again.
    world.fail("lost", 1).await;
    assert_eq!(world.jobs.retry("lost", at(2)).await.unwrap_err().kind(), "job-without-request");
}

#[test]
fn attempts_are_numbered() {
    assert_eq!(
        (retry_id("a", 1), retry_id("a", 2), retry_id("a.retry-2", 3)),
        ("a".into(), "a.retry-2".into(), "a.retry-3".into())
    );
    assert_eq!(retry_base("a.retry-12"), ("a", 12));
    for plain in ["a", "a.retry-1", "a.retry-0", "a.retry-x", "a.retry-"] {
        assert_eq!(retry_base(plain), (plain, 1));
    }
}

#[tokio::test]
async fn what_a_job_waits_for_is_said_again() {
    let world = World::new();
    let names = async |job: &str| {
        let events = world.jobs.waiting_for(job).await.unwrap();
        events.iter().map(|event| event.id().to_owned()).collect::<Vec<_>>()
    };
    world.ask("j", 0).await;
    assert_eq!(names("j").await, ["j/request"]);
    world.say("j", &ids::shard_requested("j", 0, 1), 1, &shard_requested(0, 1)).await;
    world.say("j", &ids::shard_requested("j", 1, 1), 1, &shard_requested(1, 1)).await;
    world.say("j", &ids::shard_trained("j", 0), 2, &shard_trained(0)).await;
    assert_eq!(names("j").await, ["j/shard/1/request/1"]);
    world.say("j", &ids::shard_trained("j", 1), 3, &shard_trained(1)).await;
    assert_eq!(names("j").await, ["j/shard/1"], "the last shard: whoever hears of it merges");
    world.say("j", &ids::model_aggregated("j"), 4, &aggregated(0.9, 'b')).await;
    assert_eq!(names("j").await, ["j/forest"]);
    world.say("j", &ids::model_registered("j"), 5, &registered("j")).await;
    assert_eq!(world.jobs.waiting_for("j").await.unwrap_err().kind(), "job-ended");
}

#[tokio::test]
async fn the_past_is_replayed_event_by_event() {
    let world = World::new();
    world.train("one").await;
    world.fail("one", 130).await;
    world.finish("one", 0.9, 'b').await;
    let steps = world.jobs.steps("one").await.unwrap();
    let states: Vec<&str> = steps.iter().map(|step| step.state.as_str()).collect();
    assert_eq!(
        states,
        ["queued", "training", "training", "training", "training", "training", "failed", "failed", "failed"]
    );
    assert_eq!((steps[5].shards_trained, steps[5].shards), (2, 2));
    assert!(steps[6].changed && !steps[7].changed, "a forest that came too late changes nothing: {:?}", steps[7]);
}

#[tokio::test]
async fn two_jobs_are_compared() {
    let world = World::new();
    world.train("one").await;
    world.finish("one", 0.9, 'b').await;
    world.train("two").await;
    world.finish("two", 0.95, 'c').await;
    let other = world.jobs.submit("three", &request(20), at(0)).await.unwrap();
    world.log().append(&job_stream("three"), 0, &[other.event]).await.unwrap();
    let compared = world.jobs.compare("one", "two").await.unwrap();
    assert_eq!((compared.same_data, compared.same_model), (Some(true), Some(false)));
    assert!((compared.metrics[0].change.unwrap() - 0.05).abs() < 1e-12);
    assert!(compared.settings.iter().all(|setting| !setting.differs));
    let compared = world.jobs.compare("one", "three").await.unwrap();
    let differing: Vec<&str> =
        compared.settings.iter().filter(|setting| setting.differs).map(|setting| setting.name.as_str()).collect();
    assert_eq!((differing, compared.same_model), (vec!["n_estimators"], None));
    assert_eq!(compared.metrics[0].right, None);
}

#[tokio::test]
async fn the_trace_has_a_span_for_each_attempt() {
    let world = World::new();
    world.train("one").await;
    let running = world.jobs.trace("one", at(130)).await.unwrap();
    assert_eq!((running.status, running.seconds), (SpanStatus::Running, Some(130.0)));
    world.finish("one", 0.9, 'b').await;
    let loaded = Event::ModelLoaded(ModelLoaded::plain("Iris", "3", artifact('b'), SwitchedBy::Event));
    let loaded = loaded.first("Iris/3/loaded", "/regrove/load-model", "Iris", at(127)).unwrap();
    world.log().append(&serving_stream("Iris"), 0, &[loaded]).await.unwrap();
    let root = world.jobs.trace("one", at(500)).await.unwrap();
    assert_eq!((root.status, root.seconds), (SpanStatus::Ok, Some(127.0)), "to the moment at which it is served");
    let names: Vec<(&str, SpanStatus, Option<f64>)> =
        root.children.iter().map(|span| (span.name.as_str(), span.status, span.seconds)).collect();
    assert_eq!(
        names,
        [
            ("read data, plan shards", SpanStatus::Ok, Some(1.0)),
            ("shard 0, attempt 1", SpanStatus::Ok, Some(1.0)),
            ("shard 1, attempt 1", SpanStatus::Error, Some(120.0)),
            ("shard 1, attempt 2", SpanStatus::Ok, Some(2.0)),
            ("merge and evaluate", SpanStatus::Ok, Some(1.0)),
            ("register", SpanStatus::Ok, Some(2.0)),
            ("load", SpanStatus::Ok, Some(1.0)),
        ]
    );
    assert_eq!(root.children[3].attributes["retries"], "one/shard/1/request/1");
}

#[tokio::test]
async fn a_trace_ends_with_its_job() {
    let world = World::new();
    let request = Event::TrainRequested(request(10)).first("x/request", "/me", "x", at(0)).unwrap();
    let mut request = request;
    request.set_extension("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()).unwrap();
    let cause = Cause { function: "aggregate", event: &request, at: at(2) };
    let shard = shard_requested(0, 1).caused_by(&cause, &ids::shard_requested("x", 0, 1), "x").unwrap();
    world.log().append(&job_stream("x"), 0, &[request.clone(), shard]).await.unwrap();
    world.fail("x", 7).await;
    let root = world.jobs.trace("x", at(100)).await.unwrap();
    assert_eq!(root.trace_id.as_deref(), Some("0af7651916cd43dd8448eb211c80319c"));
    let shard = &root.children[1];
    assert_eq!((shard.status, shard.seconds), (SpanStatus::Error, Some(5.0)), "cut off by the job's end");
    assert_eq!(shard.trace_id, root.trace_id);
}

#[test]
fn lines_of_functions_are_read() {
    let text = json!({"timestamp": "2026-11-23T08:00:01.5Z", "level": "WARN", "message": "refused", "job": "a", "n": 1,
            "span": {"name": "request", "trace_id": "0af7"}});
    let line = LogLine::read("aggregate", "aggregate-1", None, &text.to_string());
    assert_eq!(
        (line.level, line.message.as_str(), line.at),
        (Level::Warn, "refused", "2026-11-23T08:00:01.5Z".parse().ok())
    );
    assert_eq!(line.fields.get("n"), Some(&json!(1)));
    assert_eq!((line.fields.get("trace_id"), line.fields.get("span")), (Some(&json!("0af7")), None));
    assert!(line.is_about("a") && !line.is_about("ab"));
    let plain = LogLine::read("f", "f-1", Some(at(1)), "Traceback: something");
    assert_eq!((plain.level, plain.message.as_str(), plain.at), (Level::Info, "Traceback: something", Some(at(1))));
    let emitted = json!({"level": "INFO", "message": "emitted", "id": "a/shard/3", "ty": names::SHARD_TRAINED});
    let emitted = LogLine::read("f", "f-1", None, &emitted.to_string());
    assert!(emitted.is_about("a") && !emitted.is_about("b"));
    assert!(Level::Trace < Level::Error);
}
