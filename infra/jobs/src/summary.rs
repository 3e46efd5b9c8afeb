//! A job in a line.

use std::collections::BTreeMap;

use jiff::Timestamp;
use regrove_events::event::{JobFailed, ModelRegistered, TrainRequested, TreeRange};
use regrove_events::{Job, JobState};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Seconds of a job's steps, as far as it has come.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = JobSeconds)]
pub struct Seconds {
    /// From the request to the end, whichever way it ended.
    pub total: Option<f64>,
    /// From the request to the version in MLflow.
    pub queued_to_registered: Option<f64>,
    /// From the request to the last shard.
    pub train: Option<f64>,
    /// From the last shard to the whole forest.
    pub aggregate: Option<f64>,
    /// From the whole forest to the version in MLflow.
    pub register: Option<f64>,
}

impl Seconds {
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

/// The version that a job made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = JobModel)]
pub struct ModelSummary {
    /// Registered model name.
    pub name: String,
    /// Version, as MLflow writes it.
    pub version: String,
    /// SHA-256 of the native form.
    pub sha256: String,
    /// `models:/NAME/VERSION`.
    pub uri: String,
}

/// A job in a line: the shape that `demo`, `train --wait`, `job list` and the console share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = JobSummary)]
pub struct Summary {
    /// Id: the subject of its events.
    pub id: String,
    /// `queued`, `training`, `registering`, `succeeded`, `failed` or `cancelled`.
    #[schema(value_type = String)]
    pub state: JobState,
    /// Name of the data set, once it was read.
    pub dataset: Option<String>,
    /// Registered model name that was asked for.
    pub model_name: Option<String>,
    /// MLflow experiment.
    pub experiment: Option<String>,
    /// How many shards it has.
    pub shards: usize,
    /// How many of them are in.
    pub shards_trained: usize,
    /// How many trees it asks for, once planned.
    pub trees: u32,
    /// How many of them are in.
    pub trees_trained: u32,
    /// Requests for shards beyond the first of each.
    pub retries: u32,
    /// Metrics by MLflow's key; empty until the forest is whole.
    pub metrics: BTreeMap<String, f64>,
    /// Its version in MLflow.
    pub model: Option<ModelSummary>,
    /// Why it failed.
    #[schema(value_type = Option<Object>)]
    pub failure: Option<JobFailed>,
    /// Why it was stopped.
    pub cancel_reason: Option<String>,
    /// When it was asked for.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub requested_at: Option<Timestamp>,
    /// When it ended, whichever way.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// Seconds of its steps.
    pub seconds: Seconds,
}

impl Summary {
    /// The line of a job.
    pub fn of(id: &str, job: &Job) -> Self {
        let trees = |trees: TreeRange| trees.to.saturating_sub(trees.from);
        let trained = job.shards.values().filter(|shard| shard.trained.is_some());
        Self {
            id: id.to_owned(),
            state: job.state,
            dataset: job.dataset.as_ref().map(|dataset| dataset.name.clone()),
            model_name: job.request.as_ref().map(TrainRequested::model_name),
            experiment: job.request.as_ref().map(|request| request.experiment.clone()),
            shards: job.shards.len(),
            shards_trained: job.shards_trained(),
            trees: job.shards.values().map(|shard| trees(shard.trees)).sum(),
            trees_trained: trained.map(|shard| trees(shard.trees)).sum(),
            retries: job.shards.values().map(|shard| shard.attempts.saturating_sub(1)).sum(),
            metrics: job.model.as_ref().map(|model| model.metrics.clone()).unwrap_or_default(),
            model: job.registered.as_ref().map(model_summary),
            failure: job.failure.clone(),
            cancel_reason: job.cancel_reason.clone(),
            requested_at: job.requested_at,
            ended_at: job.ended_at,
            seconds: Seconds::of(job),
        }
    }

    /// [`best_known`] of the job's metrics.
    pub fn score(&self) -> Option<(&'static str, f64)> {
        best_known(&self.metrics)
    }
}

/// The score that says most, with what it was measured on: rows held out, else out of bag, else the training rows.
pub fn best_known(metrics: &BTreeMap<String, f64>) -> Option<(&'static str, f64)> {
    let keys = [
        ("holdout_accuracy", "held-out rows"),
        ("oob_accuracy", "out of bag"),
        ("accuracy", "training rows"),
        ("holdout_r2_score", "R², held-out rows"),
        ("oob_r2_score", "R², out of bag"),
        ("r2_score", "R², training rows"),
    ];
    keys.into_iter().find_map(|(key, of)| Some((of, *metrics.get(key)?)))
}

fn model_summary(registered: &ModelRegistered) -> ModelSummary {
    ModelSummary {
        name: registered.name.clone(),
        version: registered.version.clone(),
        sha256: registered.model.sha256.clone(),
        uri: registered.uri.clone(),
    }
}
