//! A sweep finds its best trial, whatever the broker does.

use std::collections::BTreeMap;

use jiff::Timestamp;
use regrove_events::event::SweepRequested;
use regrove_events::log::{job_stream, sweep_stream};
use regrove_events::{Event, JobState, TrainCancelled, sweep};
use regrove_mlflow::{Run, RunStatus};
use serde_json::{Value, json};

use crate::request;
use crate::world::{Weather, World};

fn wish(grid: &Value) -> SweepRequested {
    let grid: BTreeMap<String, Vec<Value>> = serde_json::from_value(grid.clone()).unwrap();
    SweepRequested { train: request(), grid, metric: None }
}

fn ask(world: &World, wish: SweepRequested) {
    let at: Timestamp = "2026-11-23T08:00:00Z".parse().unwrap();
    world.emit(Event::SweepRequested(wish).first("sweep-1/request", "/test", "sweep-1", at).unwrap());
}

fn parent(run: &Run) -> Option<&str> {
    run.data.tags.iter().find(|tag| tag.key == "mlflow.parentRunId").map(|tag| tag.value.as_str())
}

async fn swept(weather: Weather) {
    let mut world = World::new().await;
    ask(&world, wish(&json!({"n_estimators": [3, 6], "max_depth": [1, 6, null]})));
    world.settle(weather).await;
    let state = sweep::replay(&world.control.log.read(&sweep_stream("sweep-1"), 0).await.unwrap());
    let completed = state.completed.unwrap();
    assert_eq!((state.asked.len(), completed.trials.len()), (6, 6), "{weather:?}: each trial was asked for once");
    let best = completed.best.unwrap();
    let top = completed.trials.iter().filter_map(|trial| trial.score).max_by(f64::total_cmp);
    let winner = completed.trials.iter().find(|trial| trial.job == best).unwrap();
    assert_eq!(winner.score, top);
    let mut runs = Vec::new();
    for trial in &completed.trials {
        let job = world.job(&trial.job).await;
        assert_eq!((job.state, job.registered.is_some()), (JobState::Succeeded, trial.job == best), "{weather:?}");
        let of_trial = world.runs(&trial.job).await;
        assert_eq!(of_trial.len(), 1, "{weather:?}: one run for {}", trial.job);
        assert_eq!(of_trial[0].info.status, RunStatus::Finished);
        runs.extend(of_trial);
    }
    let parents = world.runs("sweep-1").await;
    assert_eq!((parents.len(), parents[0].info.status), (1, RunStatus::Finished), "{weather:?}");
    assert!(runs.iter().all(|run| parent(run) == Some(parents[0].info.run_id.as_str())), "{weather:?}");
    assert_eq!(world.versions("Simulated").await, 1, "only the best is a version");
    let champion = world.record.client().version_by_alias("Simulated", "champion").await.unwrap();
    assert_eq!(champion.tag("regrove.job"), Some(best.as_str()));
    assert_eq!(world.serving("Simulated").await.current.unwrap().version, champion.version.to_string());
}

#[tokio::test]
async fn a_sweep_registers_its_best_trial() {
    swept(Weather::Fair).await;
}

#[tokio::test]
async fn a_sweep_survives_any_weather() {
    for weather in [Weather::Reversed, Weather::Stormy(1)] {
        swept(weather).await;
    }
}

/// Trials that differ in the number of trees only: the larger one is grown, the smaller one is made of its trees.
#[tokio::test]
async fn trials_share_the_trees_that_they_have_in_common() {
    let mut world = World::new().await;
    ask(&world, wish(&json!({"n_estimators": [6, 12]})));
    world.settle(Weather::Fair).await;
    let reused = async |job: &str| {
        let history = world.control.log.read(&job_stream(job), 0).await.unwrap();
        let trained = history.iter().filter_map(|event| match Event::read(event) {
            Ok(Event::ShardTrained(trained)) => Some(trained.trees_reused),
            _ => None,
        });
        trained.sum::<u32>()
    };
    assert_eq!((reused("sweep-1.2").await, reused("sweep-1.1").await), (0, 6));
    // And the trees are those that the job alone would have grown.
    let mut alone = request();
    alone.params.insert("n_estimators".to_owned(), 6.into());
    let mut other = World::new().await;
    other.request("alone", &alone);
    other.settle(Weather::Fair).await;
    let sha256 = |job: regrove_events::Job| job.model.unwrap().model.sha256;
    assert_eq!(sha256(other.job("alone").await), sha256(world.job("sweep-1.1").await));
}

#[tokio::test]
async fn a_million_combinations_are_refused_with_their_number() {
    let mut world = World::new().await;
    let values: Vec<u32> = (1..=100).collect();
    ask(&world, wish(&json!({"max_depth": values, "max_leaf_nodes": values, "min_samples_leaf": values})));
    world.settle(Weather::Fair).await;
    let state = sweep::replay(&world.control.log.read(&sweep_stream("sweep-1"), 0).await.unwrap());
    let reason = state.completed.unwrap().reason.unwrap();
    assert!(reason.contains("1000000 combinations"), "{reason}");
    assert!(state.asked.is_empty());
    assert_eq!(world.runs("sweep-1").await[0].info.status, RunStatus::Failed, "refused, not stopped");
}

/// An older version took requests that this one refuses, and may have left one open.
#[tokio::test]
async fn an_open_sweep_that_can_no_longer_be_says_why_and_stops_its_trials() {
    let mut world = World::new().await;
    let wish = SweepRequested { metric: Some("acuracy".to_owned()), ..wish(&json!({"max_depth": [1, 2]})) };
    let at: Timestamp = "2026-11-23T08:00:00Z".parse().unwrap();
    let opened = Event::SweepRequested(wish).first("sweep-1/request", "/test", "sweep-1", at).unwrap();
    let mut trial = request();
    trial.sweep = Some(regrove_events::event::SweepTrial { id: "sweep-1".to_owned(), trial: 1 });
    let asked = Event::TrainRequested(trial).first("sweep-1.1/request", "/test", "sweep-1.1", at).unwrap();
    world.control.log.append(&sweep_stream("sweep-1"), 0, &[opened.clone(), asked.clone()]).await.unwrap();
    world.control.log.append(&job_stream("sweep-1.1"), 0, &[asked]).await.unwrap();
    world.emit(opened);
    world.settle(Weather::Fair).await;
    let state = sweep::replay(&world.control.log.read(&sweep_stream("sweep-1"), 0).await.unwrap());
    let completed = state.completed.unwrap();
    let reason = completed.reason.unwrap();
    assert!(reason.contains("`metric` is `acuracy`, the trials have accuracy"), "{reason}");
    assert_eq!(completed.best, None);
    let trial = world.job("sweep-1.1").await;
    assert_eq!((trial.state, trial.cancel_reason.as_deref()), (JobState::Cancelled, Some(reason.as_str())));
    assert_eq!(world.runs("sweep-1").await[0].info.status, RunStatus::Failed, "refused, not stopped");
}

#[tokio::test]
async fn a_stopped_sweep_stops_its_trials() {
    let mut world = World::new().await;
    ask(&world, wish(&json!({"max_depth": [1, 2, 3, 4, 5, 6]})));
    let at: Timestamp = "2026-11-23T08:00:01Z".parse().unwrap();
    let stop = Event::TrainCancelled(TrainCancelled { reason: Some("enough".to_owned()) });
    world.emit(stop.first("sweep-1/cancel", "/test", "sweep-1", at).unwrap());
    world.settle(Weather::Fair).await;
    let state = sweep::replay(&world.control.log.read(&sweep_stream("sweep-1"), 0).await.unwrap());
    let completed = state.completed.unwrap();
    assert_eq!((completed.best, completed.reason.as_deref()), (None, Some("enough")));
    for trial in &state.asked {
        assert_eq!(world.job(trial).await.state, JobState::Cancelled, "{trial}");
    }
    assert!(state.asked.len() < 6, "the others were never asked for");
    assert_eq!(world.runs("sweep-1").await[0].info.status, RunStatus::Killed);
}
