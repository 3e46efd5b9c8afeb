//! However events are delivered, the outcome is the same.

use http::StatusCode;
use regrove_events::event::DeliveryFailed;
use regrove_events::log::job_stream;
use regrove_events::{Event, Job, JobState, SwitchedBy, names};
use regrove_mlflow::RunStatus;

use crate::request;
use crate::world::{Weather, World};

async fn outcome(weather: Weather) -> (Job, World) {
    let mut world = World::new().await;
    world.request("job-1", &request());
    world.settle(weather).await;
    let job = world.job("job-1").await;
    (job, world)
}

#[tokio::test]
async fn a_request_becomes_one_version_that_is_served() {
    let (job, world) = outcome(Weather::Fair).await;
    assert_eq!(job.state, JobState::Succeeded, "{:?}", job.failure);
    let registered = job.registered.unwrap();
    assert_eq!(registered.uri, "models:/Simulated/1");
    assert_eq!(registered.model, job.model.clone().unwrap().model);
    let serving = world.serving("Simulated").await.current.unwrap();
    assert_eq!((serving.version.as_str(), serving.by), ("1", SwitchedBy::Event));

    let runs = world.runs("job-1").await;
    assert_eq!(runs.len(), 1);
    let run = &runs[0];
    assert_eq!(run.info.status, RunStatus::Finished);
    for (key, value) in [("n_estimators", "12"), ("max_depth", "6"), ("n_samples", "300"), ("max_features", "sqrt")] {
        assert_eq!(run.param(key), Some(value), "parameter {key}");
    }
    assert_eq!(run.param("model_type"), Some("RandomForestClassifier"));
    assert_eq!(run.inputs.dataset_inputs.len(), 1);
    assert_eq!(run.metric("shards_trained"), Some(4.0));
    let model = job.model.unwrap();
    for key in ["accuracy", "oob_accuracy", "holdout_accuracy"] {
        assert_eq!(run.metric(key), model.metrics.get(key).copied(), "metric {key}");
        assert!(model.metrics[key] > 0.5, "{key} {}", model.metrics[key]);
    }
    let by_alias = world.record.client().version_by_alias("Simulated", "champion").await.unwrap();
    assert_eq!(by_alias.version, 1);
}

/// A cluster's broker keeps no list of its dead letters: the job does, and goes on when the event is said again.
#[tokio::test]
async fn an_event_that_nobody_took_is_noted_once_and_may_be_said_again() {
    let mut world = World::new().await;
    world.request("job-1", &request());
    let said = world.step().await;
    let asked: Vec<_> = said.iter().filter(|event| event.ty() == "io.regrove.shard-requested").collect();
    assert_eq!(asked.len(), 4);
    for _ in 0..2 {
        world.give_up(asked[0], StatusCode::SERVICE_UNAVAILABLE, br#"{"detail": "Redis does not answer"}"#).await;
    }
    let history = world.control.log.read(&job_stream("job-1"), 0).await.unwrap();
    let notes: Vec<Event> = history.iter().filter_map(|event| Event::read(event).ok()).collect();
    let notes: Vec<_> = notes.iter().filter(|event| event.name() == names::DELIVERY_FAILED).collect();
    let note = DeliveryFailed {
        event: asked[0].id().to_owned(),
        step: "train-shard".to_owned(),
        code: Some(503),
        reason: "Redis does not answer".to_owned(),
    };
    assert_eq!(notes, [&Event::DeliveryFailed(note)]);
    assert_eq!(world.job("job-1").await.state, JobState::Training);
    for event in said {
        world.emit(event);
    }
    world.settle(Weather::Fair).await;
    assert_eq!(world.job("job-1").await.state, JobState::Succeeded);
}

#[tokio::test]
async fn any_delivery_gives_the_same_model_once() {
    let (fair, _) = outcome(Weather::Fair).await;
    let expected = fair.model.unwrap();
    let storms = (1..=6).map(Weather::Stormy);
    for weather in [Weather::Twice, Weather::Reversed].into_iter().chain(storms) {
        let (job, world) = outcome(weather).await;
        assert_eq!(job.state, JobState::Succeeded, "{weather:?}: {:?}", job.failure);
        let model = job.model.unwrap();
        assert_eq!(model.model, expected.model, "{weather:?}");
        assert_eq!(model.onnx, expected.onnx, "{weather:?}");
        assert_eq!(model.metrics, expected.metrics, "{weather:?}");
        assert_eq!(world.runs("job-1").await.len(), 1, "{weather:?}");
        assert_eq!(world.versions("Simulated").await, 1, "{weather:?}");
        assert!(world.dead.is_empty(), "{weather:?}: {:?}", world.dead);
    }
}

#[tokio::test]
async fn the_number_of_shards_never_changes_the_model() {
    let (four, _) = outcome(Weather::Fair).await;
    let expected = four.model.unwrap();
    for shards in [1, 3, 12, 100] {
        let mut world = World::new().await;
        world.request("job-1", &regrove_events::TrainRequested { shards, ..request() });
        world.settle(Weather::Fair).await;
        let job = world.job("job-1").await;
        let model = job.model.unwrap();
        assert_eq!(model.model, expected.model, "{shards} shards");
        assert_eq!(model.metrics, expected.metrics, "{shards} shards");
        assert_eq!(job.shards.len(), (shards as usize).min(12));
    }
}

#[tokio::test]
async fn the_same_request_again_changes_nothing() {
    let (_, mut world) = outcome(Weather::Fair).await;
    let before = world.control.log.head().await.unwrap();
    world.request("job-1", &request());
    world.settle(Weather::Fair).await;
    assert_eq!(world.control.log.head().await.unwrap(), before);
    assert_eq!(world.versions("Simulated").await, 1);
}

#[tokio::test]
async fn two_jobs_make_two_versions_and_the_newer_one_is_served() {
    let (_, mut world) = outcome(Weather::Fair).await;
    world.request("job-2", &request());
    world.settle(Weather::Stormy(9)).await;
    assert_eq!(world.versions("Simulated").await, 2);
    let serving = world.serving("Simulated").await;
    assert_eq!(serving.current.unwrap().version, "2");
    assert_eq!(serving.switches, 2);
}

#[tokio::test]
async fn a_cancelled_job_has_a_killed_run_and_no_version() {
    let mut world = World::new().await;
    world.request("job-1", &request());
    let cancel =
        regrove_events::Event::TrainCancelled(regrove_events::TrainCancelled { reason: Some("wrong data".to_owned()) });
    let at = "2026-11-23T08:00:01Z".parse().unwrap();
    world.emit(cancel.first("cancel-1", "/test", "job-1", at).unwrap());
    world.settle(Weather::Fair).await;
    let job = world.job("job-1").await;
    assert_eq!(job.state, JobState::Cancelled);
    assert_eq!(job.cancel_reason.as_deref(), Some("wrong data"));
    assert_eq!(world.runs("job-1").await[0].info.status, RunStatus::Killed);
    assert_eq!(world.versions("Simulated").await, 0);
}

#[tokio::test]
async fn trace_context_and_causes_reach_the_last_event() {
    let mut world = World::new().await;
    let at = "2026-11-23T08:00:00Z".parse().unwrap();
    let mut first = regrove_events::Event::TrainRequested(request()).first("first", "/test", "job-1", at).unwrap();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    first.set_extension("traceparent", trace).unwrap();
    world.emit(first);
    world.settle(Weather::Fair).await;
    let entries = world.control.log.tail(0, 100).await.unwrap();
    let ids: Vec<&str> = entries.iter().map(|entry| entry.event.id()).collect();
    assert_eq!(entries.last().unwrap().event.ty(), "io.regrove.model-loaded");
    for entry in &entries {
        let event = &entry.event;
        assert_eq!(event.attribute("traceparent").as_deref(), Some(trace), "{}", event.id());
        if event.id() != "first" {
            let cause = event.attribute("causationid").expect("a derived event names its cause");
            assert!(ids.contains(&cause.as_ref()), "{} is caused by {cause}, which nobody said", event.id());
        }
        let schema = event.data_schema().expect("our events name their schema");
        let name = event.ty().strip_prefix(regrove_events::TYPE_PREFIX).unwrap();
        assert_eq!(schema, format!("urn:regrove:schema:{name}:v1"));
    }
}
