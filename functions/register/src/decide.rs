//! What an event means for MLflow. Pure.

use regrove_events::event::{JobFailed, ModelAggregated, TrainRequested};
use regrove_events::{CloudEvent, Event, Job, JobState, ids};
use regrove_mlflow::{Metric, RunStatus};

/// What MLflow is to be told.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// The log does not know the job yet: `aggregate` is still opening it.
    Await,
    /// Nothing: the job was refused, has ended otherwise, or the event is not about it.
    Nothing,
    /// The run is open.
    Open,
    /// The run is open, and shards have come in.
    Progress(Vec<Metric>),
    /// The model becomes a version, the run ends well.
    Register(Box<ModelAggregated>),
    /// That has been done: say it again.
    Repeat(Box<CloudEvent>),
    /// The run ends without a model.
    End(RunStatus, Option<JobFailed>),
}

/// Decides from the job's history what `received` asks of MLflow.
pub fn decide(subject: &str, job: &Job, history: &[CloudEvent], received: &CloudEvent, meaning: &Event) -> Decision {
    if let Event::JobFailed(_) | Event::JobCancelled(_) = meaning {
        return match (job.state, &job.request) {
            // Refused before it was a job: there is nothing to record.
            (_, None) => Decision::Nothing,
            (JobState::Failed, _) => Decision::End(RunStatus::Failed, job.failure.clone()),
            (JobState::Cancelled, _) => Decision::End(RunStatus::Killed, None),
            _ => Decision::Nothing,
        };
    }
    match (meaning, &job.request) {
        (Event::TrainRequested(_), None) if !job.state.is_terminal() => Decision::Await,
        (Event::TrainRequested(wish), Some(request)) => {
            if wish == request && !job.state.is_terminal() {
                Decision::Open
            } else {
                Decision::Nothing
            }
        }
        (Event::ShardTrained(_), Some(_)) => {
            if job.state.is_terminal() {
                Decision::Nothing
            } else {
                Decision::Progress(progress(history, received))
            }
        }
        (Event::ModelAggregated(_), Some(_)) => {
            let id = ids::model_registered(subject);
            match (&job.model, history.iter().find(|event| event.id() == id)) {
                (_, Some(known)) => Decision::Repeat(Box::new(known.clone())),
                (Some(model), None) if job.state == JobState::Registering => {
                    Decision::Register(Box::new(model.clone()))
                }
                _ => Decision::Nothing,
            }
        }
        _ => Decision::Nothing,
    }
}

/// Points of the progress curves up to and including the shard that `received` tells of, and all of them when it tells of
/// none. The log's order numbers them, so a redelivery makes the same points.
pub fn progress(history: &[CloudEvent], received: &CloudEvent) -> Vec<Metric> {
    let mut points = Vec::new();
    let (mut shards, mut trees) = (0u32, 0u32);
    for event in history {
        let Ok(Event::ShardTrained(trained)) = Event::read(event) else { continue };
        shards += 1;
        trees += trained.trees.to - trained.trees.from;
        let at = milliseconds(event);
        points.push(Metric::new("shards_trained", f64::from(shards), at, i64::from(shards)));
        points.push(Metric::new("trees_trained", f64::from(trees), at, i64::from(shards)));
        points.push(Metric::new("shard_seconds", trained.seconds, at, i64::from(shards)));
        if event.id() == received.id() {
            break;
        }
    }
    points
}

/// The final metrics of a job: the forest's own, and the reference stack's objective if it was asked for.
pub fn final_metrics(request: &TrainRequested, model: &ModelAggregated, at: i64) -> Vec<Metric> {
    let mut metrics: Vec<Metric> =
        model.metrics.iter().map(|(key, &value)| Metric::new(key.as_str(), value, at, 0)).collect();
    metrics.extend(request.objective.map(|objective| Metric::new("final_loss", objective.final_loss(), at, 0)));
    metrics
}

/// An event's time in milliseconds since 1970; 0 for an event without one.
pub fn milliseconds(event: &CloudEvent) -> i64 {
    event.time().map_or(0, jiff::Timestamp::as_millisecond)
}
