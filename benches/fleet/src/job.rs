//! One simulated job: its events as the functions would say them.

use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use regrove_aggregate::decide::{self, Completion, Opening, Overdue};
use regrove_aggregate::plan;
use regrove_events::event::{DatasetRequest, ShardRequested, ShardTrained, TrainRequested, TreeRange};
use regrove_events::{Artifact, Cause, CloudEvent, Dataset, Event, ids, job};
use serde_json::{Value, json};

use crate::workers::Task;

/// Trees per job.
const TREES: u32 = 100;
/// Features of the data set: what its description carries from event to event.
const FEATURES: usize = 30;

/// What a tick found out about a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Look {
    Nothing,
    AskAgain(Vec<Task>),
    Failed,
}

/// A job's stream.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    number: u32,
    id: String,
    pub(crate) began: Duration,
    history: Vec<CloudEvent>,
}

/// The moment of virtual time as events write it.
fn at(now: Duration) -> anyhow::Result<Timestamp> {
    Ok("2026-11-23T00:00:00Z".parse::<Timestamp>()?.checked_add(now)?)
}

fn artifact(of: &str) -> Artifact {
    // As long as a real one; nobody reads it.
    Artifact { sha256: format!("{of:0>64}"), bytes: 1 << 20 }
}

fn dataset(request: &TrainRequested) -> Dataset {
    Dataset {
        name: "fleet".to_owned(),
        uri: request.dataset.uri.clone(),
        target: request.dataset.target.clone(),
        frame: artifact("f"),
        n_samples: 100_000,
        feature_names: (0..FEATURES).map(|n| format!("feature_{n}")).collect(),
        classes: vec![Value::from(0), Value::from(1)],
        categories: std::collections::BTreeMap::new(),
    }
}

impl Stream {
    /// A job that was asked for at `began`.
    pub(crate) fn new(number: u32, began: Duration) -> Self {
        Self { number, id: format!("job-{number}"), began, history: Vec::new() }
    }

    /// `aggregate` hears of the request: what it asks for.
    pub(crate) fn open(&mut self, now: Duration, shards: u32) -> anyhow::Result<Vec<Task>> {
        let mut request = TrainRequested::new(DatasetRequest::new("https://data.example/fleet.csv", "target"));
        request.params = json!({"n_estimators": TREES}).as_object().cloned().unwrap_or_default();
        request.shards = shards;
        let first = Event::TrainRequested(request.clone());
        let received = first.first(&format!("{}/request", self.id), "/fleet", &self.id, at(now)?)?;
        if decide::open(&job::replay(&self.history), &self.history, &received) != Opening::Plan {
            bail!("{} is open already", self.id);
        }
        let cause = Cause { function: "aggregate", event: &received, at: at(now)? };
        let mut facts = vec![received.clone()];
        let mut tasks = Vec::new();
        for asked in plan::round(&request, TreeRange { from: 0, to: TREES }, 0, &dataset(&request)) {
            tasks.push(Task { job: self.number, shard: asked.shard, attempt: asked.attempt });
            let id = ids::shard_requested(&self.id, asked.shard, asked.attempt);
            facts.push(Event::ShardRequested(asked).caused_by(&cause, &id, &self.id)?);
        }
        self.history = facts;
        Ok(tasks)
    }

    fn request_of(&self, task: Task) -> anyhow::Result<(CloudEvent, ShardRequested)> {
        let id = ids::shard_requested(&self.id, task.shard, task.attempt);
        let event = self.history.iter().find(|event| event.id() == id).context("the shard was never asked for")?;
        let Event::ShardRequested(request) = Event::read(event)? else { bail!("{id} is no request") };
        Ok((event.clone(), request))
    }

    /// Whether `train-shard` grows it, as its own decision has it.
    pub(crate) fn wants(&self, task: Task) -> anyhow::Result<bool> {
        let (_, request) = self.request_of(task)?;
        let decision =
            regrove_train_shard::decide::decide(&self.id, &job::replay(&self.history), &self.history, &request);
        Ok(decision == regrove_train_shard::decide::Decision::Train)
    }

    /// `train-shard` has grown it; `false` when another attempt was faster.
    pub(crate) fn grown(&mut self, task: Task, now: Duration, seconds: f64) -> anyhow::Result<bool> {
        let id = ids::shard_trained(&self.id, task.shard);
        if self.history.iter().any(|event| event.id() == id) {
            return Ok(false);
        }
        let (event, ShardRequested { shard, of, trees, .. }) = self.request_of(task)?;
        let (model, holdout) = (artifact("a"), Some(artifact("b")));
        let worker = Some("train-shard-00001-deployment-abc".to_owned());
        let trained =
            ShardTrained { shard, of, trees, model, holdout, n_nodes: 40_000, seconds, worker, trees_reused: 0 };
        let cause = Cause { function: "train-shard", event: &event, at: at(now)? };
        self.history.push(Event::ShardTrained(trained).caused_by(&cause, &id, &self.id)?);
        Ok(true)
    }

    /// `aggregate` hears of a grown shard: whether the forest is whole.
    pub(crate) fn heard(&self) -> anyhow::Result<bool> {
        let received = self.history.last().context("a shard is heard of after its request")?;
        let completion = decide::complete(&job::replay(&self.history), &self.history, received);
        Ok(matches!(completion, Completion::Merge(_)))
    }

    /// What the tick has to say about it.
    pub(crate) fn look(&self, now: Duration) -> anyhow::Result<Look> {
        Ok(match decide::overdue(&job::replay(&self.history), &self.history, at(now)?) {
            Overdue::Shards(late) => Look::AskAgain(
                late.into_iter().map(|(shard, attempt)| Task { job: self.number, shard, attempt }).collect(),
            ),
            Overdue::GiveUp(_) => Look::Failed,
            Overdue::Nothing | Overdue::Registration(_) | Overdue::Merge => Look::Nothing,
        })
    }

    /// The tick asks for a shard again.
    pub(crate) fn ask_again(&mut self, task: Task, now: Duration) -> anyhow::Result<()> {
        let (event, request) = self.request_of(Task { attempt: task.attempt - 1, ..task })?;
        let cause = Cause { function: "aggregate", event: &event, at: at(now)? };
        let id = ids::shard_requested(&self.id, task.shard, task.attempt);
        let again = Event::ShardRequested(ShardRequested { attempt: task.attempt, ..request });
        self.history.push(again.caused_by(&cause, &id, &self.id)?);
        Ok(())
    }
}
