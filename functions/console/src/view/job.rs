//! A job, as its events have it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use regrove_events::event::{Dataset, TrainRequested};
use regrove_events::log::job_stream;
use regrove_events::{CloudEvent, Event, Job, JobState};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::event::{EventView, trace_id};

/// A model version that a job made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ModelRef {
    /// Registered model name.
    pub(crate) name: String,
    /// Version, as MLflow writes it.
    pub(crate) version: String,
    /// `models:/NAME/VERSION`.
    pub(crate) uri: String,
    /// SHA-256 of the native form.
    pub(crate) sha256: String,
}

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FailureView {
    /// Which function could not go on.
    pub(crate) step: String,
    /// What went wrong and how to mend it.
    pub(crate) reason: String,
    /// The kind of problem.
    pub(crate) problem: String,
}

/// Seconds of a job's steps, as far as it has come.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, ToSchema)]
pub(crate) struct Steps {
    /// From the request to the end, whichever way it ended.
    pub(crate) total: Option<f64>,
    /// From the request to the version in MLflow.
    pub(crate) queued_to_registered: Option<f64>,
    /// From the request to the last shard.
    pub(crate) train: Option<f64>,
    /// From there to the whole forest.
    pub(crate) aggregate: Option<f64>,
    /// From there to the version in MLflow.
    pub(crate) register: Option<f64>,
}

/// A job in a list.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct JobSummary {
    /// Job id: the subject of its events.
    pub(crate) id: String,
    /// `queued`, `training`, `registering`, `succeeded`, `failed` or `cancelled`.
    #[schema(value_type = String)]
    pub(crate) state: JobState,
    /// Name of the data set, once it was read.
    pub(crate) dataset: Option<String>,
    /// The registered model that it makes a version of.
    pub(crate) model_name: Option<String>,
    /// The version that it made.
    pub(crate) model: Option<ModelRef>,
    /// MLflow experiment.
    pub(crate) experiment: Option<String>,
    /// Shards.
    pub(crate) shards: usize,
    /// Shards that are in.
    pub(crate) shards_trained: usize,
    /// Trees, once the shards are planned.
    pub(crate) trees: u32,
    /// Trees that are in.
    pub(crate) trees_trained: u32,
    /// Requests for shards beyond the first of each.
    pub(crate) retries: u32,
    /// Metrics by MLflow's key.
    pub(crate) metrics: BTreeMap<String, f64>,
    /// Why it failed.
    pub(crate) failure: Option<FailureView>,
    /// Why it was stopped.
    pub(crate) cancel_reason: Option<String>,
    /// When it was asked for.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) requested_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) ended_at: Option<Timestamp>,
    /// Seconds of its steps.
    pub(crate) seconds: Steps,
}

impl JobSummary {
    /// The summary of a job.
    pub(crate) fn of(id: &str, job: &Job) -> Self {
        let trees = |range: regrove_events::TreeRange| range.to.saturating_sub(range.from);
        Self {
            id: id.to_owned(),
            state: job.state,
            dataset: job.dataset.as_ref().map(|dataset| dataset.name.clone()),
            model_name: job.request.as_ref().map(|request| request.model.name.clone()),
            model: job.registered.as_ref().map(|registered| ModelRef {
                name: registered.name.clone(),
                version: registered.version.clone(),
                uri: registered.uri.clone(),
                sha256: registered.model.sha256.clone(),
            }),
            experiment: job.request.as_ref().map(|request| request.experiment.clone()),
            shards: job.shards.len(),
            shards_trained: job.shards_trained(),
            trees: job.shards.values().map(|shard| trees(shard.trees)).sum(),
            trees_trained: job
                .shards
                .values()
                .filter(|shard| shard.trained.is_some())
                .map(|shard| trees(shard.trees))
                .sum(),
            retries: job.shards.values().map(|shard| shard.attempts.saturating_sub(1)).sum(),
            metrics: job.model.as_ref().map(|model| model.metrics.clone()).unwrap_or_default(),
            failure: job.failure.as_ref().map(|failure| FailureView {
                step: failure.step.clone(),
                reason: failure.reason.clone(),
                problem: failure.problem.clone(),
            }),
            cancel_reason: job.cancel_reason.clone(),
            requested_at: job.requested_at,
            ended_at: job.ended_at,
            seconds: Steps::of(job),
        }
    }

    /// The accuracy that says most: on rows held out, else out of bag, else on the training rows.
    pub(crate) fn accuracy(&self) -> Option<(&'static str, f64)> {
        let keys = [
            ("holdout_accuracy", "held-out rows"),
            ("oob_accuracy", "out of bag"),
            ("holdout_r2", "R², held-out rows"),
            ("accuracy", "training rows"),
            ("r2", "R², training rows"),
        ];
        keys.into_iter().find_map(|(key, of)| Some((of, *self.metrics.get(key)?)))
    }
}

impl Steps {
    fn of(job: &Job) -> Self {
        let between = |from: Option<Timestamp>, to: Option<Timestamp>| Some(to?.duration_since(from?).as_secs_f64());
        let trained = job.shards.values().filter_map(|shard| shard.trained_at).max();
        let all_in = trained.filter(|_| job.shards_trained() == job.shards.len());
        Self {
            total: between(job.requested_at, job.ended_at),
            queued_to_registered: job.seconds_to_registered(),
            train: between(job.requested_at, all_in),
            aggregate: between(all_in, job.aggregated_at),
            register: between(job.aggregated_at, job.registered_at),
        }
    }
}

/// What a job learns from.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct DatasetView {
    /// Its name.
    pub(crate) name: String,
    /// Where it came from.
    pub(crate) uri: String,
    /// Column that is predicted.
    pub(crate) target: String,
    /// Rows.
    pub(crate) n_samples: u64,
    /// Feature columns, in order.
    pub(crate) feature_names: Vec<String>,
    /// Class labels, in order.
    #[schema(value_type = Vec<Object>)]
    pub(crate) classes: Vec<Value>,
    /// SHA-256 of the canonical frame.
    pub(crate) sha256: String,
}

impl DatasetView {
    pub(crate) fn of(dataset: &Dataset) -> Self {
        Self {
            name: dataset.name.clone(),
            uri: dataset.uri.clone(),
            target: dataset.target.clone(),
            n_samples: dataset.n_samples,
            feature_names: dataset.feature_names.clone(),
            classes: dataset.classes.clone(),
            sha256: dataset.frame.sha256.clone(),
        }
    }
}

/// One request for a shard.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct AttemptView {
    /// 1 for the first.
    pub(crate) attempt: u32,
    /// When it was asked for.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) requested_at: Option<Timestamp>,
}

/// One shard of a job.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct ShardView {
    /// Its number, from 0.
    pub(crate) shard: u32,
    /// First tree.
    pub(crate) from: u32,
    /// One past the last tree.
    pub(crate) to: u32,
    /// Every time that it was asked for.
    pub(crate) attempts: Vec<AttemptView>,
    /// When it was in.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) trained_at: Option<Timestamp>,
    /// Wall seconds that growing took.
    pub(crate) seconds: Option<f64>,
    /// Nodes.
    pub(crate) n_nodes: Option<u64>,
    /// SHA-256 of its trees.
    pub(crate) sha256: Option<String>,
    /// The replica that grew it, if its event names one.
    pub(crate) replica: Option<String>,
}

/// A step on the way of a job.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Moment {
    /// When.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) at: Option<Timestamp>,
    /// Seconds since the job was asked for.
    pub(crate) seconds: Option<f64>,
    /// What happened, in words.
    pub(crate) what: String,
    /// The event.
    pub(crate) event: EventView,
}

/// One point after another of a metric.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Series {
    /// MLflow's key.
    pub(crate) key: String,
    /// (step, value).
    pub(crate) points: Vec<(i64, f64)>,
}

/// What MLflow knows of a job.
#[derive(Debug, Clone, PartialEq, Default, Serialize, ToSchema)]
pub(crate) struct MlflowView {
    /// Tracking URI without credentials.
    pub(crate) uri: String,
    /// The run.
    pub(crate) run_id: Option<String>,
    /// The run's state.
    pub(crate) status: Option<String>,
    /// Address of the run's page.
    pub(crate) run_url: Option<String>,
    /// Metrics that were logged more than once.
    pub(crate) series: Vec<Series>,
    /// Why nothing more is known.
    pub(crate) unavailable: Option<String>,
}

/// A job with all its parts.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct JobView {
    /// What the list shows of it.
    #[serde(flatten)]
    pub(crate) summary: JobSummary,
    /// The request's data, as it was sent.
    #[schema(value_type = Option<Object>)]
    pub(crate) request: Option<TrainRequested>,
    /// Parameters of the forest, as they were asked for.
    #[schema(value_type = Object)]
    pub(crate) params: Map<String, Value>,
    /// What it learns from.
    pub(crate) data: Option<DatasetView>,
    /// Its shards.
    pub(crate) shard_list: Vec<ShardView>,
    /// Mean decrease in impurity by feature, in the order of the columns.
    pub(crate) feature_importances: Vec<(String, f64)>,
    /// SHA-256 of the whole forest, once there is one.
    pub(crate) model_sha256: Option<String>,
    /// What happened, in the order of the log.
    pub(crate) timeline: Vec<Moment>,
    /// W3C trace id of its request.
    pub(crate) trace_id: Option<String>,
    /// What MLflow knows; absent when it was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mlflow: Option<MlflowView>,
}

impl JobView {
    /// The job that these events add up to.
    pub(crate) fn of(id: &str, history: &[CloudEvent]) -> Self {
        let job = regrove_events::job::replay(history);
        let names = job.model.as_ref().map(|model| model.dataset.feature_names.clone()).unwrap_or_default();
        let importances = job.model.as_ref().map(|model| model.feature_importances.clone()).unwrap_or_default();
        Self {
            summary: JobSummary::of(id, &job),
            params: job.request.as_ref().map(|request| request.params.clone()).unwrap_or_default(),
            request: job.request.clone(),
            data: job.dataset.as_ref().map(DatasetView::of),
            shard_list: shards(&job, history),
            feature_importances: names.into_iter().zip(importances).collect(),
            model_sha256: job.model.as_ref().map(|model| model.model.sha256.clone()),
            timeline: timeline(id, &job, history),
            trace_id: history.first().and_then(trace_id),
            mlflow: None,
        }
    }
}

fn shards(job: &Job, history: &[CloudEvent]) -> Vec<ShardView> {
    let mut views: BTreeMap<u32, ShardView> = job
        .shards
        .iter()
        .map(|(&number, shard)| {
            let view = ShardView {
                shard: number,
                from: shard.trees.from,
                to: shard.trees.to,
                attempts: Vec::new(),
                trained_at: shard.trained_at,
                seconds: shard.trained.as_ref().map(|trained| trained.seconds),
                n_nodes: shard.trained.as_ref().map(|trained| trained.n_nodes),
                sha256: shard.trained.as_ref().map(|trained| trained.model.sha256.clone()),
                replica: None,
            };
            (number, view)
        })
        .collect();
    for event in history {
        match Event::read(event) {
            Ok(Event::ShardRequested(request)) => {
                let attempt = AttemptView { attempt: request.attempt, requested_at: event.time() };
                if let Some(view) = views.get_mut(&request.shard) {
                    view.attempts.push(attempt);
                }
            }
            Ok(Event::ShardTrained(trained)) => {
                if let Some(view) = views.get_mut(&trained.shard).filter(|view| view.replica.is_none()) {
                    view.replica = trained.worker;
                }
            }
            _ => {}
        }
    }
    views.into_values().collect()
}

fn timeline(id: &str, job: &Job, history: &[CloudEvent]) -> Vec<Moment> {
    let stream = job_stream(id);
    let places = 1..;
    history
        .iter()
        .zip(places)
        .map(|(event, version)| {
            let at = event.time();
            Moment {
                at,
                seconds: at.zip(job.requested_at).map(|(at, from)| at.duration_since(from).as_secs_f64()),
                what: words(event),
                event: EventView::of(&stream, version, None, event),
            }
        })
        .collect()
}

/// What an event says, in a few words.
fn words(event: &CloudEvent) -> String {
    match Event::read(event) {
        Ok(Event::TrainRequested(request)) => format!("asked for, in {} shards", request.shards),
        Ok(Event::TrainCancelled(_)) => "asked to stop".to_owned(),
        Ok(Event::ShardRequested(request)) => {
            let again = if request.attempt > 1 { format!(", attempt {}", request.attempt) } else { String::new() };
            format!("shard {}: trees {} to {} asked for{again}", request.shard, request.trees.from, request.trees.to)
        }
        Ok(Event::ShardTrained(trained)) => {
            format!("shard {}: {} nodes in {:.3} s", trained.shard, trained.n_nodes, trained.seconds)
        }
        Ok(Event::ModelAggregated(model)) => format!("forest of {} trees is whole", model.n_estimators),
        Ok(Event::ModelRegistered(registered)) => format!("registered as {}", registered.uri),
        Ok(Event::ModelLoaded(loaded)) => format!("{} is served", loaded.uri),
        Ok(Event::JobFailed(failure)) => format!("failed in {}: {}", failure.step, failure.reason),
        Ok(Event::JobCancelled(cancelled)) => match cancelled.reason {
            Some(reason) => format!("stopped: {reason}"),
            None => "stopped".to_owned(),
        },
        Ok(other) => other.name().to_owned(),
        Err(_) => format!("{} (not known to this version)", event.ty()),
    }
}
