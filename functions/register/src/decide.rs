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
    /// The trial of a sweep was evaluated: its run ends well, without a version.
    Evaluated(Box<ModelAggregated>),
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
                (Some(model), None) if is_trial(job) => Decision::Evaluated(Box::new(model.clone())),
                (Some(model), None) if job.state == JobState::Registering => {
                    Decision::Register(Box::new(model.clone()))
                }
                _ => Decision::Nothing,
            }
        }
        _ => Decision::Nothing,
    }
}

fn is_trial(job: &Job) -> bool {
    job.state == JobState::Succeeded && job.request.as_ref().is_some_and(|request| request.sweep.is_some())
}

/// Points of the progress curves up to and including the shard that `received` tells of, and all of them when it tells of
/// none. The log's order numbers them, so a redelivery makes the same points.
pub fn progress(history: &[CloudEvent], received: &CloudEvent) -> Vec<Metric> {
    let mut points = Vec::new();
    let (mut shards, mut trees) = (0u32, 0u32);
    for event in history {
        let at = milliseconds(event);
        match Event::read(event) {
            Ok(Event::ShardTrained(trained)) => {
                shards += 1;
                trees += trained.trees.to - trained.trees.from;
                points.push(Metric::new("shards_trained", f64::from(shards), at, i64::from(shards)));
                points.push(Metric::new("trees_trained", f64::from(trees), at, i64::from(shards)));
                points.push(Metric::new("shard_seconds", trained.seconds, at, i64::from(shards)));
            }
            Ok(Event::RoundEvaluated(round)) => {
                points.push(Metric::new("round_score", round.score, at, i64::from(round.trees)));
            }
            _ => {}
        }
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

#[cfg(test)]
mod tests {
    use regrove_events::{job, json_format};

    use super::*;

    const JOB: &str = "reference-1";

    /// An event of the golden job, in which one shard of four was asked for and came back.
    fn golden(name: &str) -> CloudEvent {
        let path = format!("{}/../../events/testdata/{name}.v1.json", env!("CARGO_MANIFEST_DIR"));
        json_format::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    fn given(names: &[&str]) -> Vec<CloudEvent> {
        names.iter().map(|name| golden(name)).collect()
    }

    fn decided(history: &[CloudEvent], received: &CloudEvent) -> Decision {
        decide(JOB, &job::replay(history), history, received, &Event::read(received).unwrap())
    }

    #[test]
    fn the_run_opens_when_the_log_knows_the_job() {
        let request = golden("train-requested");
        assert_eq!(decided(&[], &request), Decision::Await);
        assert_eq!(decided(&given(&["train-requested"]), &request), Decision::Open);
        let mut other = TrainRequested { shards: 9, ..job::replay([&request]).request.unwrap() };
        other.test_size = 0.0;
        let other = Event::TrainRequested(other).first("x", "/test", JOB, request.time().unwrap()).unwrap();
        assert_eq!(decided(&given(&["train-requested"]), &other), Decision::Nothing, "another job's parameters");
        assert_eq!(decided(&given(&["job-failed"]), &request), Decision::Nothing, "refused before it was a job");
        assert_eq!(decided(&given(&["train-requested", "job-cancelled"]), &request), Decision::Nothing, "ended");
    }

    #[test]
    fn each_shard_makes_its_points_once() {
        let history = given(&["train-requested", "shard-requested", "shard-trained"]);
        let Decision::Progress(points) = decided(&history, &history[2]) else { panic!("no points") };
        let at = milliseconds(&history[2]);
        assert_eq!(points[0], Metric::new("shards_trained", 1.0, at, 1));
        assert_eq!(points[1], Metric::new("trees_trained", 19.0, at, 1));
        assert_eq!(points.len(), 3);
        let ended = given(&["train-requested", "shard-requested", "shard-trained", "job-cancelled"]);
        assert_eq!(decided(&ended, &history[2]), Decision::Nothing);
    }

    #[test]
    fn the_whole_forest_is_registered_once() {
        let whole = golden("model-aggregated");
        let mut history = given(&["train-requested", "shard-requested", "shard-trained", "model-aggregated"]);
        let Decision::Register(model) = decided(&history, &whole) else { panic!("not registered") };
        let request = job::replay(&history).request.unwrap();
        let metrics = final_metrics(&request, &model, 5);
        assert_eq!(metrics.iter().filter(|metric| metric.key == "final_loss").count(), 1);
        assert!(metrics.iter().all(|metric| (metric.timestamp, metric.step) == (5, 0)));
        let Ok(Event::ModelRegistered(registered)) = Event::read(&golden("model-registered")) else { panic!("golden") };
        let id = ids::model_registered(JOB);
        let registered = Event::ModelRegistered(registered).first(&id, "/test", JOB, whole.time().unwrap()).unwrap();
        history.push(registered.clone());
        assert_eq!(decided(&history, &whole), Decision::Repeat(Box::new(registered)));
        let ended =
            given(&["train-requested", "shard-requested", "shard-trained", "job-cancelled", "model-aggregated"]);
        assert_eq!(decided(&ended, &whole), Decision::Nothing, "stopped before the forest was whole");
    }

    #[test]
    fn a_run_ends_as_its_job_did() {
        let failed = golden("job-failed");
        let Decision::End(RunStatus::Failed, Some(failure)) =
            decided(&given(&["train-requested", "job-failed"]), &failed)
        else {
            panic!("not failed")
        };
        assert_eq!(failure.step, "aggregate");
        assert_eq!(decided(&given(&["job-failed"]), &failed), Decision::Nothing, "refused before it was a job");
        let cancelled = golden("job-cancelled");
        let stopped = given(&["train-requested", "job-cancelled"]);
        assert_eq!(decided(&stopped, &cancelled), Decision::End(RunStatus::Killed, None));
        let done =
            given(&["train-requested", "shard-requested", "shard-trained", "model-aggregated", "model-registered"]);
        assert_eq!(decided(&done, &failed), Decision::Nothing, "an end that came too late");
    }
}
