//! `regrove job`: jobs as the log has them.

use anyhow::Context as _;
use clap::Subcommand;
use jiff::Timestamp;
use regrove_events::log::{JOB_PREFIX, job_stream};
use regrove_events::{Event, Job, JobState, TrainCancelled, job};
use serde_json::{Value, json};

use crate::output::{Output, Usage, table};
use crate::reach::{Reach, SOURCE};

/// Look at jobs, stop them.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List jobs, newest first
    #[command(after_help = "Example:\n  regrove job list --state training")]
    List {
        /// Only jobs in this state
        #[arg(long, value_name = "STATE")]
        state: Option<String>,
    },
    /// Show one job: what it was asked, its shards, its model
    #[command(after_help = "Example:\n  regrove job show my-job --json")]
    Show {
        /// Job id
        id: String,
    },
    /// Ask a job to stop
    #[command(after_help = "Example:\n  regrove job stop my-job --reason 'wrong data'")]
    Stop {
        /// Job id
        id: String,
        /// Why, for the record
        #[arg(long)]
        reason: Option<String>,
    },
}

pub(crate) async fn run(command: Command, reach: &Reach, output: &Output) -> anyhow::Result<()> {
    match command {
        Command::List { state } => list(state, reach, output).await,
        Command::Show { id } => show(&id, reach, output).await,
        Command::Stop { id, reason } => stop(&id, reason, reach, output).await,
    }
}

async fn list(state: Option<String>, reach: &Reach, output: &Output) -> anyhow::Result<()> {
    let control = reach.control()?;
    let mut jobs = Vec::new();
    for stream in control.log.streams(JOB_PREFIX).await? {
        let job = job::replay(&control.log.read(&stream, 0).await?);
        let id = stream.strip_prefix(JOB_PREFIX).unwrap_or(&stream).to_owned();
        if state.as_deref().is_none_or(|wanted| wanted == job.state.as_str()) {
            jobs.push((id, job));
        }
    }
    jobs.sort_by_key(|(_, job)| std::cmp::Reverse(job.requested_at));
    let values: Vec<Value> = jobs.iter().map(|(id, job)| summary(id, job)).collect();
    output.result(&values, || {
        let rows = jobs.iter().map(|(id, job)| {
            vec![
                id.clone(),
                job.state.to_string(),
                job.dataset.as_ref().map_or_else(String::new, |dataset| dataset.name.clone()),
                format!("{}/{}", job.shards_trained(), job.shards.len()),
                job.registered.as_ref().map_or_else(String::new, |model| model.uri.clone()),
                job.requested_at.map_or_else(String::new, |at| format!("{at:.0}")),
            ]
        });
        table(&["id", "state", "data set", "shards", "model", "requested"], rows)
    })
}

async fn read(id: &str, reach: &Reach) -> anyhow::Result<Job> {
    let history = reach.control()?.log.read(&job_stream(id), 0).await?;
    if history.is_empty() {
        return Err(Usage(format!("there is no job `{id}`; `regrove job list` lists them")).into());
    }
    Ok(job::replay(&history))
}

async fn show(id: &str, reach: &Reach, output: &Output) -> anyhow::Result<()> {
    let job = read(id, reach).await?;
    let mut value = serde_json::to_value(&job).context("a job is always JSON")?;
    if let Value::Object(members) = &mut value {
        members.insert("id".to_owned(), id.into());
        members.insert("seconds".to_owned(), seconds(&job));
    }
    output.result(&value, || describe(id, &job))
}

fn describe(id: &str, job: &Job) -> String {
    let mut lines = vec![format!("{id}  {}", job.state)];
    if let Some(request) = &job.request {
        let params: Vec<String> = request.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
        lines.push(format!("parameters  {}", params.join(" ")));
    }
    if let Some(dataset) = &job.dataset {
        lines.push(format!(
            "data set    {}, {} rows, {} features, sha256 {}",
            dataset.name,
            dataset.n_samples,
            dataset.feature_names.len(),
            dataset.frame.sha256
        ));
    }
    for (number, shard) in &job.shards {
        let outcome = match &shard.trained {
            Some(trained) => format!("{} nodes in {:.3} s", trained.n_nodes, trained.seconds),
            None => "not yet trained".to_owned(),
        };
        let tries = if shard.attempts > 1 { format!(", asked for {} times", shard.attempts) } else { String::new() };
        lines.push(format!("shard {number:<5} trees {}..{}: {outcome}{tries}", shard.trees.from, shard.trees.to));
    }
    if let Some(model) = &job.model {
        let metrics: Vec<String> = model.metrics.iter().map(|(key, value)| format!("{key} {value:.4}")).collect();
        lines.push(format!("metrics     {}", metrics.join(", ")));
        lines.push(format!(
            "model       {} trees, {} bytes, sha256 {}",
            model.n_estimators, model.model.bytes, model.model.sha256
        ));
    }
    if let Some(registered) = &job.registered {
        lines.push(format!("registered  {}, run {}", registered.uri, registered.run_id));
    }
    if let Some(failure) = &job.failure {
        lines.push(format!("failed      in {}: {}", failure.step, failure.reason));
    }
    if let Some(reason) = &job.cancel_reason {
        lines.push(format!("cancelled   {reason}"));
    }
    lines.join("\n")
}

#[expect(clippy::disallowed_methods, reason = "a command is where the outside, and its clock, begins")]
async fn stop(id: &str, reason: Option<String>, reach: &Reach, output: &Output) -> anyhow::Result<()> {
    let job = read(id, reach).await?;
    if job.state.is_terminal() {
        return Err(Usage(format!("job `{id}` has ended: {}", job.state)).into());
    }
    let event = Event::TrainCancelled(TrainCancelled { reason });
    reach.emit(&event.first(&format!("{id}/cancel"), SOURCE, id, Timestamp::now())?).await?;
    output.result(&json!({"id": id, "state": "stopping"}), || format!("{id} is asked to stop"))
}

/// A job in one line of JSON: the shape that `demo`, `train --wait` and `job list` share.
pub(crate) fn summary(id: &str, job: &Job) -> Value {
    let model = job.registered.as_ref().map(|registered| {
        json!({
            "name": registered.name,
            "version": registered.version,
            "sha256": registered.model.sha256,
            "uri": registered.uri,
        })
    });
    json!({
        "id": id,
        "state": job.state,
        "dataset": job.dataset.as_ref().map(|dataset| &dataset.name),
        "shards": job.shards.len(),
        "metrics": job.model.as_ref().map(|model| &model.metrics),
        "model": model,
        "failure": job.failure,
        "requested_at": job.requested_at,
        "seconds": seconds(job),
    })
}

/// Seconds of the job's steps, as far as it has come.
fn seconds(job: &Job) -> Value {
    let between = |from: Option<Timestamp>, to: Option<Timestamp>| Some(to?.duration_since(from?).as_secs_f64());
    let trained = job.shards.values().filter_map(|shard| shard.trained_at).max();
    let all_in = (job.state != JobState::Training).then_some(trained).flatten();
    json!({
        "queued_to_registered": job.seconds_to_registered(),
        "train": between(job.requested_at, all_in),
        "aggregate": between(all_in, job.aggregated_at),
        "register": between(job.aggregated_at, job.registered_at),
    })
}
