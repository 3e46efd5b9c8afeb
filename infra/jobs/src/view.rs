//! A job as people and programs are shown it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use regrove_events::event::{Artifact, Dataset, JobFailed, ModelRegistered, RowPart, TrainRequested, TreeRange};
use regrove_events::{CloudEvent, Event, Job, JobState, TYPE_PREFIX, job};
use serde::Serialize;

/// Seconds of a job's steps, as far as it has come.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Seconds {
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
        let all_in = (job.state != JobState::Training).then_some(trained).flatten();
        Self {
            queued_to_registered: job.seconds_to_registered(),
            train: between(job.requested_at, all_in),
            aggregate: between(all_in, job.aggregated_at),
            register: between(job.aggregated_at, job.registered_at),
        }
    }
}

/// The version that a job made.
#[derive(Debug, Clone, PartialEq, Serialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Id.
    pub id: String,
    /// Where it stands.
    pub state: JobState,
    /// Name of the data set, once it was read.
    pub dataset: Option<String>,
    /// Registered model name that was asked for.
    pub model_name: Option<String>,
    /// How many shards it has.
    pub shards: usize,
    /// How many of them are in.
    pub shards_trained: usize,
    /// How many trees it asks for, once planned.
    pub trees: u32,
    /// How many of them are in.
    pub trees_trained: u32,
    /// Metrics by MLflow's key, once the forest is whole.
    pub metrics: Option<BTreeMap<String, f64>>,
    /// Its version in MLflow.
    pub model: Option<ModelSummary>,
    /// Why it failed.
    pub failure: Option<JobFailed>,
    /// When it was asked for.
    pub requested_at: Option<Timestamp>,
    /// When it ended, whichever way.
    pub ended_at: Option<Timestamp>,
    /// Seconds of its steps.
    pub seconds: Seconds,
}

impl Summary {
    /// The line of a job.
    pub fn of(id: &str, job: &Job) -> Self {
        let trees = |trees: TreeRange| trees.to - trees.from;
        let trained = job.shards.values().filter(|shard| shard.trained.is_some());
        Self {
            id: id.to_owned(),
            state: job.state,
            dataset: job.dataset.as_ref().map(|dataset| dataset.name.clone()),
            model_name: job.request.as_ref().map(|request| request.model.name.clone()),
            shards: job.shards.len(),
            shards_trained: job.shards_trained(),
            trees: job.shards.values().map(|shard| trees(shard.trees)).sum(),
            trees_trained: trained.map(|shard| trees(shard.trees)).sum(),
            metrics: job.model.as_ref().map(|model| model.metrics.clone()),
            model: job.registered.as_ref().map(model_summary),
            failure: job.failure.clone(),
            requested_at: job.requested_at,
            ended_at: job.ended_at,
            seconds: Seconds::of(job),
        }
    }
}

fn model_summary(registered: &ModelRegistered) -> ModelSummary {
    ModelSummary {
        name: registered.name.clone(),
        version: registered.version.clone(),
        sha256: registered.model.sha256.clone(),
        uri: registered.uri.clone(),
    }
}

/// Where a shard stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ShardState {
    /// Asked for, not in yet.
    Requested,
    /// In.
    Trained,
    /// Its job ended before it was in.
    Abandoned,
}

/// One time that a shard was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// From 1.
    pub attempt: u32,
    /// When it was asked for.
    pub requested_at: Option<Timestamp>,
}

/// A shard of a job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShardView {
    /// Which one, from 0.
    pub shard: u32,
    /// Its trees.
    pub trees: TreeRange,
    /// Where it stands.
    pub state: ShardState,
    /// Each time that it was asked for.
    pub attempts: Vec<Attempt>,
    /// When it came in.
    pub trained_at: Option<Timestamp>,
    /// Seconds that growing took.
    pub seconds: Option<f64>,
    /// Seconds from the first request until it was in, or until the job's end or now.
    pub elapsed_seconds: Option<f64>,
    /// The replica that grew it.
    pub worker: Option<String>,
    /// Nodes of its trees.
    pub n_nodes: Option<u64>,
    /// How many of its trees an earlier job had grown.
    pub trees_reused: u32,
    /// The trees in the native form.
    pub model: Option<Artifact>,
}

/// One event of a job in its place in time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Moment {
    /// The event's place in the job, from 1.
    pub version: usize,
    /// When it was said.
    pub at: Option<Timestamp>,
    /// Seconds since the job was asked for.
    pub after_seconds: Option<f64>,
    /// Event type without `io.regrove.`.
    #[serde(rename = "type")]
    pub name: String,
    /// Event id.
    pub id: String,
    /// Who said it.
    pub source: String,
    /// The event that caused it.
    pub caused_by: Option<String>,
    /// What it says, in a few words.
    pub text: String,
}

/// Pages of MLflow about a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Links {
    /// The run.
    pub run: Option<String>,
    /// The model version.
    pub model_version: Option<String>,
}

impl Links {
    /// Pages of the MLflow at `tracking_uri` about the version that a job made.
    pub fn of(tracking_uri: &str, registered: &ModelRegistered) -> Self {
        let root = tracking_uri.trim_end_matches('/');
        Self {
            run: Some(format!("{root}/#/runs/{}", registered.run_id)),
            model_version: Some(format!("{root}/#/models/{}/versions/{}", registered.name, registered.version)),
        }
    }
}

/// Everything that the log has of a job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobView {
    /// Id.
    pub id: String,
    /// Where it stands.
    pub state: JobState,
    /// When it was asked for.
    pub requested_at: Option<Timestamp>,
    /// When it ended, whichever way.
    pub ended_at: Option<Timestamp>,
    /// Seconds of its steps.
    pub seconds: Seconds,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// The first attempt, unless this is it.
    pub first_attempt: Option<String>,
    /// The next attempt, if there is one.
    pub next_attempt: Option<String>,
    /// What was asked for.
    pub request: Option<TrainRequested>,
    /// What it learns from.
    pub dataset: Option<Dataset>,
    /// How many trees it asks for, once planned.
    pub trees: u32,
    /// How many of them are in.
    pub trees_trained: u32,
    /// Its shards in order.
    pub shards: Vec<ShardView>,
    /// Metrics by MLflow's key, once the forest is whole.
    pub metrics: Option<BTreeMap<String, f64>>,
    /// Mean decrease in impurity by feature name, largest first.
    pub feature_importances: Vec<(String, f64)>,
    /// The whole forest.
    pub artifact: Option<Artifact>,
    /// Its version in MLflow.
    pub registered: Option<ModelRegistered>,
    /// Why it failed.
    pub failure: Option<JobFailed>,
    /// Why it was stopped.
    pub cancel_reason: Option<String>,
    /// Its events in order.
    pub timeline: Vec<Moment>,
}

impl JobView {
    /// The view of a job's events at `now`, without its neighbours.
    pub(crate) fn of(id: &str, history: &[CloudEvent], now: Timestamp) -> Self {
        let job = job::replay(history);
        let until = job.ended_at.unwrap_or(now);
        let line = Summary::of(id, &job);
        Self {
            id: line.id,
            state: line.state,
            requested_at: line.requested_at,
            ended_at: line.ended_at,
            seconds: line.seconds,
            trees: line.trees,
            trees_trained: line.trees_trained,
            metrics: line.metrics,
            failure: line.failure,
            attempt: 1,
            first_attempt: None,
            next_attempt: None,
            shards: shards(&job, history, until),
            feature_importances: importances(&job),
            timeline: timeline(&job, history),
            request: job.request,
            dataset: job.dataset,
            artifact: job.model.map(|model| model.model),
            registered: job.registered,
            cancel_reason: job.cancel_reason,
        }
    }
}

fn shards(job: &Job, history: &[CloudEvent], until: Timestamp) -> Vec<ShardView> {
    let mut attempts: BTreeMap<u32, Vec<Attempt>> = BTreeMap::new();
    for event in history {
        let Ok(Event::ShardRequested(request)) = Event::read(event) else { continue };
        let known = attempts.entry(request.shard).or_default();
        known.push(Attempt { attempt: request.attempt, requested_at: job::said_at(event) });
    }
    let view = |(&number, shard): (&u32, &job::Shard)| {
        let attempts = attempts.remove(&number).unwrap_or_default();
        let first = attempts.first().and_then(|attempt| attempt.requested_at);
        let trained = shard.trained.as_ref();
        let state = match (trained, job.state.is_terminal()) {
            (Some(_), _) => ShardState::Trained,
            (None, true) => ShardState::Abandoned,
            (None, false) => ShardState::Requested,
        };
        ShardView {
            shard: number,
            trees: shard.trees,
            state,
            trained_at: shard.trained_at,
            seconds: trained.map(|trained| trained.seconds),
            elapsed_seconds: first.map(|at| shard.trained_at.unwrap_or(until).duration_since(at).as_secs_f64()),
            worker: trained.and_then(|trained| trained.worker.clone()),
            n_nodes: trained.map(|trained| trained.n_nodes),
            trees_reused: trained.map_or(0, |trained| trained.trees_reused),
            model: trained.map(|trained| trained.model.clone()),
            attempts,
        }
    };
    job.shards.iter().map(view).collect()
}

fn importances(job: &Job) -> Vec<(String, f64)> {
    let Some(model) = &job.model else { return Vec::new() };
    let names = model.dataset.feature_names.iter().cloned();
    let mut importances: Vec<(String, f64)> = names.zip(model.feature_importances.iter().copied()).collect();
    importances.sort_by(|one, other| other.1.total_cmp(&one.1));
    importances
}

fn timeline(job: &Job, history: &[CloudEvent]) -> Vec<Moment> {
    let moment = |(index, event): (usize, &CloudEvent)| {
        let at = job::said_at(event);
        Moment {
            version: index + 1,
            at,
            after_seconds: at.zip(job.requested_at).map(|(at, from)| at.duration_since(from).as_secs_f64()),
            name: event.ty().strip_prefix(TYPE_PREFIX).unwrap_or(event.ty()).to_owned(),
            id: event.id().to_owned(),
            source: event.source().to_owned(),
            caused_by: event.attribute("causationid").map(std::borrow::Cow::into_owned),
            text: text(event),
        }
    };
    history.iter().enumerate().map(moment).collect()
}

/// A part of the rows, and what is missing in it.
fn rows(part: &RowPart) -> String {
    let rows = format!("{} rows", part.n_samples);
    if part.classes_missing.is_empty() {
        return rows;
    }
    let missing: Vec<String> = part.classes_missing.iter().map(ToString::to_string).collect();
    format!("{rows} without class {}", missing.join(" and "))
}

/// What an event says, in a few words.
pub(crate) fn text(event: &CloudEvent) -> String {
    let shard = |number: u32, of: u32, trees: TreeRange| {
        format!("shard {}/{of}, trees {}..{}", number + 1, trees.from, trees.to)
    };
    match Event::read(event) {
        Ok(Event::TrainRequested(request)) => request.dataset.uri,
        Ok(Event::TrainCancelled(cancelled)) => cancelled.reason.unwrap_or_default(),
        Ok(Event::JobCancelled(cancelled)) => cancelled.reason.unwrap_or_default(),
        Ok(Event::ShardRequested(request)) => {
            let mut what = vec![shard(request.shard, request.of, request.trees)];
            what.extend(request.part.as_ref().map(rows));
            what.extend((request.attempt > 1).then(|| format!("attempt {}", request.attempt)));
            what.join(", ")
        }
        Ok(Event::ShardTrained(trained)) => {
            let what = shard(trained.shard, trained.of, trained.trees);
            format!("{what}, {} nodes in {:.3} s", trained.n_nodes, trained.seconds)
        }
        Ok(Event::ModelAggregated(model)) => {
            format!("{} trees, {} bytes", model.n_estimators, model.model.bytes)
        }
        Ok(Event::ModelRegistered(registered)) => registered.uri,
        Ok(Event::ModelLoaded(loaded)) => loaded.uri,
        Ok(Event::JobFailed(failure)) => format!("in {}: {}", failure.step, failure.reason),
        Ok(Event::SweepRequested(sweep)) => format!("{} trials", sweep.size()),
        Ok(Event::SweepCompleted(sweep)) => sweep.best.or(sweep.reason).unwrap_or_default(),
        Ok(
            Event::TrafficChanged(_)
            | Event::PredictRequested(_)
            | Event::PredictCompleted(_)
            | Event::PredictionLogged(_),
        ) => "about serving".to_owned(),
        Err(_) => "written by another version of Regrove".to_owned(),
    }
}
