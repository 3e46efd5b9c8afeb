//! A job is the fold of its events.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::{
    self, Dataset, JobFailed, ModelAggregated, ModelRegistered, RoundEvaluated, TrainRequested, TreeRange,
};
use crate::{CloudEvent, Event};

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Nothing is known of it.
    #[default]
    Unknown,
    /// Asked for, not yet planned.
    Queued,
    /// Shards are being grown.
    Training,
    /// The forest is whole; MLflow does not have it yet.
    Registering,
    /// MLflow has the model.
    Succeeded,
    /// It ended without a model.
    Failed,
    /// It was stopped on request.
    Cancelled,
}

impl JobState {
    /// All of them, in the order in which a job may pass through them.
    pub const ALL: [Self; 7] = [
        Self::Unknown,
        Self::Queued,
        Self::Training,
        Self::Registering,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Whether nothing more will happen.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// The state's name in JSON and on a terminal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Queued => "queued",
            Self::Training => "training",
            Self::Registering => "registering",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

/// One shard of a job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shard {
    /// Trees it grows.
    pub trees: TreeRange,
    /// How often it was asked for.
    pub attempts: u32,
    /// When it was last asked for.
    pub requested_at: Option<Timestamp>,
    /// The request as it was last sent, to be sent again.
    #[serde(skip)]
    pub request: CloudEvent,
    /// What came of it.
    pub trained: Option<event::ShardTrained>,
    /// When that was.
    pub trained_at: Option<Timestamp>,
}

/// What a job's events add up to.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Job {
    /// Where it stands.
    pub state: JobState,
    /// What was asked for.
    pub request: Option<TrainRequested>,
    /// Id of the event that asked for it.
    pub request_id: Option<String>,
    /// When it was asked for.
    pub requested_at: Option<Timestamp>,
    /// What it learns from, once that has been read.
    pub dataset: Option<Dataset>,
    /// Its shards by number.
    pub shards: BTreeMap<u32, Shard>,
    /// The scores after each round of growing, for a forest that is to stop early.
    pub rounds: Vec<RoundEvaluated>,
    /// The whole forest.
    pub model: Option<ModelAggregated>,
    /// When it was whole.
    pub aggregated_at: Option<Timestamp>,
    /// Its version in MLflow.
    pub registered: Option<ModelRegistered>,
    /// When MLflow had it.
    pub registered_at: Option<Timestamp>,
    /// Why it failed.
    pub failure: Option<JobFailed>,
    /// Why it was stopped.
    pub cancel_reason: Option<String>,
    /// When it ended, whichever way.
    pub ended_at: Option<Timestamp>,
}

impl Job {
    /// Whether the whole forest can be put together: every shard is in, and the job goes on.
    pub fn is_ready_to_aggregate(&self) -> bool {
        self.state == JobState::Training && self.shards_trained() == self.shards.len() && !self.shards.is_empty()
    }

    /// One past the last tree that was asked for.
    pub fn trees_asked(&self) -> u32 {
        self.shards.values().map(|shard| shard.trees.to).max().unwrap_or(0)
    }

    /// How many shards are in.
    pub fn shards_trained(&self) -> usize {
        self.shards.values().filter(|shard| shard.trained.is_some()).count()
    }

    /// Seconds from the request to the version in MLflow.
    pub fn seconds_to_registered(&self) -> Option<f64> {
        Some(self.registered_at?.duration_since(self.requested_at?).as_secs_f64())
    }
}

/// When an event was said: its own `time`, or, since senders may leave that out, when the broker took it.
pub fn said_at(event: &CloudEvent) -> Option<Timestamp> {
    event.time().or_else(|| event.attribute("knativearrivaltime")?.parse().ok())
}

/// The state of a job after its events so far, in the order of the log.
pub fn replay<'a>(history: impl IntoIterator<Item = &'a CloudEvent>) -> Job {
    history.into_iter().fold(Job::default(), |job, recorded| match Event::read(recorded) {
        Ok(event) => evolve(job, recorded, &event),
        // A newer version of Regrove wrote it: what it means is not known here.
        Err(_) => job,
    })
}

/// The state of a job after one more event. Total: an event that makes no sense in a state leaves the state as it is.
///
/// A terminal state is final: whatever arrives late changes what is known of the job, not how it ended.
#[must_use]
pub fn evolve(mut job: Job, recorded: &CloudEvent, event: &Event) -> Job {
    let at = said_at(recorded);
    match event {
        Event::TrainRequested(request) => {
            if job.request.is_none() {
                job.request = Some(request.clone());
                job.request_id = Some(recorded.id().to_owned());
                job.requested_at = at;
                job.advance(JobState::Queued, at);
            }
        }
        Event::ShardRequested(request) => {
            job.requested_at = job.requested_at.or(at);
            job.dataset.get_or_insert_with(|| request.dataset.clone());
            let shard = job.shards.entry(request.shard).or_insert_with(|| Shard {
                trees: request.trees,
                attempts: 0,
                requested_at: None,
                request: recorded.clone(),
                trained: None,
                trained_at: None,
            });
            if request.attempt > shard.attempts {
                shard.attempts = request.attempt;
                shard.requested_at = at;
                shard.request = recorded.clone();
            }
            job.advance(JobState::Training, at);
        }
        Event::ShardTrained(trained) => {
            if let Some(shard) = job.shards.get_mut(&trained.shard)
                && shard.trained.is_none()
                && shard.trees == trained.trees
            {
                shard.trained = Some(trained.clone());
                shard.trained_at = at;
            }
        }
        Event::RoundEvaluated(round) => {
            if job.rounds.last().is_none_or(|last| last.trees < round.trees) {
                job.rounds.push(round.clone());
            }
        }
        Event::ModelAggregated(model) => {
            if job.model.is_none() && !job.state.is_terminal() {
                job.model = Some(model.clone());
                job.aggregated_at = at;
                // A trial is done when it is evaluated: its sweep decides whether it becomes a version.
                let is_trial = job.request.as_ref().is_some_and(|request| request.sweep.is_some());
                job.advance(if is_trial { JobState::Succeeded } else { JobState::Registering }, at);
            }
        }
        Event::ModelRegistered(registered) => {
            if job.registered.is_none() && job.model.is_some() {
                job.registered = Some(registered.clone());
                job.registered_at = at;
                job.advance(JobState::Succeeded, at);
            }
        }
        Event::JobFailed(failure) => {
            if !job.state.is_terminal() {
                job.failure = Some(failure.clone());
                job.advance(JobState::Failed, at);
            }
        }
        Event::JobCancelled(cancelled) => {
            if !job.state.is_terminal() {
                job.cancel_reason.clone_from(&cancelled.reason);
                job.advance(JobState::Cancelled, at);
            }
        }
        // Wishes; facts about serving; and what changes nothing, because the event will be said again.
        Event::DeliveryFailed(_)
        | Event::SweepRequested(_)
        | Event::SweepCompleted(_)
        | Event::TrainCancelled(_)
        | Event::ModelLoaded(_)
        | Event::TrafficChanged(_)
        | Event::PredictRequested(_)
        | Event::PredictCompleted(_)
        | Event::PredictionLogged(_) => {}
    }
    job
}

impl Job {
    /// Moves forward, never back, and never out of a terminal state.
    fn advance(&mut self, to: JobState, at: Option<Timestamp>) {
        if self.state.is_terminal() || (to as u8) <= (self.state as u8) {
            return;
        }
        self.state = to;
        if to.is_terminal() {
            self.ended_at = at;
        }
    }
}
