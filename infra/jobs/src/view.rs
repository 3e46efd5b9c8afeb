//! A job as people and programs are shown it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use regrove_events::event::{Artifact, Dataset, ModelRegistered, RowPart, TrainRequested, TreeRange};
use regrove_events::{CloudEvent, Event, Job, TYPE_PREFIX, job};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Summary;
use crate::trace::trace_id;

/// Where a shard stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ShardAttempt)]
pub struct Attempt {
    /// From 1.
    pub attempt: u32,
    /// When it was asked for.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub requested_at: Option<Timestamp>,
}

/// A shard of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ShardView {
    /// Which one, from 0.
    pub shard: u32,
    /// Its trees.
    #[schema(value_type = Object)]
    pub trees: TreeRange,
    /// Where it stands.
    pub state: ShardState,
    /// Each time that it was asked for.
    pub attempts: Vec<Attempt>,
    /// When it came in.
    #[schema(value_type = Option<String>, format = DateTime)]
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
    #[schema(value_type = Option<Object>)]
    pub model: Option<Artifact>,
}

/// One event of a job in its place in time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Moment {
    /// The event's place in the job, from 1.
    pub version: usize,
    /// When it was said.
    #[schema(value_type = Option<String>, format = DateTime)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = MlflowLinks)]
pub struct Links {
    /// The run.
    pub run: String,
    /// The model version.
    pub model_version: String,
}

/// Everything that the log has of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobView {
    /// What a list shows of it.
    #[serde(flatten)]
    pub summary: Summary,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// The first attempt, unless this is it.
    pub first_attempt: Option<String>,
    /// The next attempt, if there is one.
    pub next_attempt: Option<String>,
    /// What was asked for.
    #[schema(value_type = Option<Object>)]
    pub request: Option<TrainRequested>,
    /// What it learns from.
    #[schema(value_type = Option<Object>)]
    pub data: Option<Dataset>,
    /// Its shards in order.
    pub shard_list: Vec<ShardView>,
    /// Mean decrease in impurity by feature name, largest first.
    pub feature_importances: Vec<(String, f64)>,
    /// The whole forest.
    #[schema(value_type = Option<Object>)]
    pub artifact: Option<Artifact>,
    /// Its version in MLflow.
    #[schema(value_type = Option<Object>)]
    pub registered: Option<ModelRegistered>,
    /// Where MLflow shows it, if it has a version.
    pub links: Option<Links>,
    /// Its events in order.
    pub timeline: Vec<Moment>,
    /// W3C trace id of its request.
    pub trace_id: Option<String>,
}

impl JobView {
    /// The view of a job's events at `now`, without its neighbours.
    pub(crate) fn of(id: &str, history: &[CloudEvent], now: Timestamp) -> Self {
        let job = job::replay(history);
        let until = job.ended_at.unwrap_or(now);
        Self {
            summary: Summary::of(id, &job),
            attempt: 1,
            first_attempt: None,
            next_attempt: None,
            shard_list: shards(&job, history, until),
            feature_importances: importances(&job),
            timeline: timeline(&job, history),
            request: job.request,
            data: job.dataset,
            artifact: job.model.map(|model| model.model),
            registered: job.registered,
            links: None,
            trace_id: history.first().and_then(trace_id),
        }
    }

    /// The same with links to the MLflow at `tracking_uri`.
    #[must_use]
    pub fn linked_to(mut self, tracking_uri: &str) -> Self {
        let root = tracking_uri.trim_end_matches('/');
        self.links = self.registered.as_ref().map(|registered| Links {
            run: format!("{root}/#/runs/{}", registered.run_id),
            model_version: format!("{root}/#/models/{}/versions/{}", registered.name, registered.version),
        });
        self
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
        Ok(Event::RoundEvaluated(round)) => format!("{} trees: {} {:.4}", round.trees, round.metric, round.score),
        Ok(Event::ModelAggregated(model)) => {
            format!("{} trees, {} bytes", model.n_estimators, model.model.bytes)
        }
        Ok(Event::ModelRegistered(registered)) => registered.uri,
        Ok(Event::ModelLoaded(loaded)) => loaded.uri,
        Ok(Event::DeliveryFailed(failed)) => {
            let code = failed.code.map(|code| format!(" with {code}")).unwrap_or_default();
            format!("`{}` was refused by {}{code}: {}", failed.event, failed.step, failed.reason)
        }
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
