//! `regrove job`: jobs as the log has them. What can be done with a job is decided in `regrove-jobs`.

mod compare;
mod logs;
mod show;
mod trace;

use std::sync::Arc;

use anyhow::Context as _;
use clap::Subcommand;
use jiff::Timestamp;
use regrove_events::Job;
use regrove_jobs::{Error, Jobs, LIMIT_DEFAULT, Query, ReplayStep, Submitted, Summary};
use serde_json::{Value, json};

use crate::commands::train;
use crate::output::{Output, Usage, table};
use crate::reach::{Reach, SOURCE};

/// Look at jobs, stop them, try them again.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List jobs, newest first
    #[command(after_help = "Examples:\n  regrove job list --state training,registering\n  \
        regrove job list --name iris --since 2026-01-31T12:00:00Z --limit 20")]
    List(List),
    /// Show one job: what it was asked, its shards, its model, its past
    #[command(after_help = "Example:\n  regrove job show my-job --json")]
    Show {
        /// Job id
        id: String,
    },
    /// Print what the functions wrote while they worked on a job, oldest first
    #[command(after_help = "Examples:\n  regrove job logs my-job\n  regrove job logs my-job -f --level warn\n\n\
        The local runtime keeps the lines. In a cluster they are where the cluster keeps them.")]
    Logs(logs::Args),
    /// Ask a job to stop
    #[command(after_help = "Example:\n  regrove job stop my-job --reason 'wrong data'")]
    Stop {
        /// Job id
        id: String,
        /// Why, for the record
        #[arg(long)]
        reason: Option<String>,
        /// Follow the job to its end
        #[arg(long)]
        wait: bool,
    },
    /// Try a job again that failed or was cancelled
    #[command(after_help = "Example:\n  regrove job retry my-job --wait\n\n\
        The attempt is a job of its own, my-job.retry-2; trees that were grown are not grown again.")]
    Retry {
        /// Job id
        id: String,
        /// Follow the attempt to its end; exit code 1 if it fails, 3 if it is cancelled
        #[arg(long)]
        wait: bool,
    },
    /// Show a job's state after each of its events: how it came to be what it is
    #[command(after_help = "Examples:\n  regrove job replay my-job\n  regrove job replay my-job --emit")]
    Replay {
        /// Job id
        id: String,
        /// Emit again what an open job waits for an answer to, instead of waiting for the tick
        #[arg(long)]
        emit: bool,
    },
    /// Put two jobs side by side: settings, metrics, seconds, model
    #[command(after_help = "Example:\n  regrove job compare my-job other-job")]
    Compare {
        /// A job
        left: String,
        /// Another one
        right: String,
    },
    /// Print the tree of a job's spans: which function worked when, and for how long
    #[command(after_help = "Example:\n  regrove job trace my-job")]
    Trace {
        /// Job id
        id: String,
    },
}

/// Which jobs.
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Only jobs in these states: queued, training, registering, succeeded, failed, cancelled
    #[arg(long, value_name = "STATE,…", default_value = "", hide_default_value = true)]
    state: String,
    /// Only jobs whose id, data set or model has this in its name
    #[arg(long, value_name = "PART")]
    name: Option<String>,
    /// Only jobs asked for at this time or later (RFC 3339)
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Only jobs asked for before this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// How many at most
    #[arg(long, default_value_t = LIMIT_DEFAULT, value_name = "N")]
    limit: usize,
    /// Go on after a page, with what its last line says
    #[arg(long, value_name = "PLACE")]
    after: Option<String>,
}

/// The moment at which a command runs.
#[expect(clippy::disallowed_methods, reason = "a command is where the outside, and its clock, begins")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

pub(crate) fn jobs(reach: &Reach) -> anyhow::Result<Jobs> {
    Ok(Jobs::new(Arc::clone(&reach.control()?.log), SOURCE))
}

/// What the user asked wrongly is a wrong argument; what the log does not say is a failure.
pub(crate) fn refused(error: Error) -> anyhow::Error {
    match error {
        Error::NotFound { .. } => Usage(format!("{error}; `regrove job list` lists them")).into(),
        refusal if refusal.is_refusal() => Usage(refusal.to_string()).into(),
        failure => failure.into(),
    }
}

pub(crate) async fn run(command: Command, reach: &Reach, output: &Output) -> anyhow::Result<()> {
    match command {
        Command::List(list) => run_list(list, reach, output).await,
        Command::Show { id } => {
            let view = jobs(reach)?.show(&id, now()).await.map_err(refused)?;
            output.result(&view, || show::describe(&view))
        }
        Command::Logs(args) => logs::run(args, reach, output).await,
        Command::Stop { id, reason, wait } => stop(&id, reason, wait, reach, output).await,
        Command::Retry { id, wait } => {
            let submitted = jobs(reach)?.retry(&id, now()).await.map_err(refused)?;
            submit(&submitted, wait, reach, output).await
        }
        Command::Replay { id, emit } => replay(&id, emit, reach, output).await,
        Command::Compare { left, right } => {
            let compared = jobs(reach)?.compare(&left, &right).await.map_err(refused)?;
            output.result(&compared, || compare::describe(&compared))
        }
        Command::Trace { id } => {
            let root = jobs(reach)?.trace(&id, now()).await.map_err(refused)?;
            output.result(&root, || trace::describe(&root))
        }
    }
}

/// Emits what a job was asked with, and follows it if asked to.
pub(crate) async fn submit(submitted: &Submitted, wait: bool, reach: &Reach, output: &Output) -> anyhow::Result<()> {
    let after = reach.control()?.log.head().await?;
    reach.emit(&submitted.event).await?;
    let id = &submitted.id;
    if wait {
        return train::wait_for(id, after, reach, output).await;
    }
    output.result(&json!({"id": id, "state": "requested"}), || format!("{id}\nfollow it with: regrove job show {id}"))
}

async fn run_list(list: List, reach: &Reach, output: &Output) -> anyhow::Result<()> {
    let query = Query {
        states: Query::states(&list.state).map_err(refused)?,
        name: list.name,
        since: list.since,
        until: list.until,
        limit: list.limit,
        after: list.after,
    };
    let page = jobs(reach)?.list(&query).await.map_err(refused)?;
    output.result(&page.jobs, || {
        let rows = page.jobs.iter().map(|job| {
            vec![
                job.id.clone(),
                job.state.to_string(),
                job.dataset.clone().unwrap_or_default(),
                format!("{}/{}", job.shards_trained, job.shards),
                job.model.as_ref().map_or_else(String::new, |model| model.uri.clone()),
                job.requested_at.map_or_else(String::new, |at| format!("{at:.0}")),
            ]
        });
        table(&["id", "state", "data set", "shards", "model", "requested"], rows)
    })?;
    if let Some(next) = &page.next {
        output.progress(format_args!("{} of {} jobs; the next ones: --after {next}", page.jobs.len(), page.total));
    }
    Ok(())
}

async fn stop(id: &str, reason: Option<String>, wait: bool, reach: &Reach, output: &Output) -> anyhow::Result<()> {
    let event = jobs(reach)?.stop(id, reason, now()).await.map_err(refused)?;
    let control = reach.control()?;
    let after = control.log.head().await?;
    reach.emit(&event).await?;
    if wait {
        let ended = crate::watch::follow(&control, id, after, false, output).await?;
        return output.result(&summary(id, &ended.job), || format!("{id} {}", ended.job.state));
    }
    output.result(&json!({"id": id, "state": "stopping"}), || format!("{id} is asked to stop"))
}

async fn replay(id: &str, emit: bool, reach: &Reach, output: &Output) -> anyhow::Result<()> {
    if emit {
        let events = jobs(reach)?.waiting_for(id).await.map_err(refused)?;
        for event in &events {
            reach.emit(event).await?;
        }
        let ids: Vec<&str> = events.iter().map(regrove_events::CloudEvent::id).collect();
        return output.result(&json!({"id": id, "emitted": ids}), || format!("emitted again: {}", ids.join(", ")));
    }
    let steps = jobs(reach)?.steps(id).await.map_err(refused)?;
    output.result(&steps, || {
        let row = |step: &ReplayStep| {
            vec![
                step.version.to_string(),
                step.at.map_or_else(String::new, |at| format!("{at:.3}")),
                step.name.clone(),
                if step.changed { step.state.to_string() } else { "(as before)".to_owned() },
                format!("{}/{}", step.shards_trained, step.shards),
                step.text.clone(),
            ]
        };
        table(&["event", "at", "type", "state after", "shards", "says"], steps.iter().map(row))
    })
}

/// A job in one line of JSON: the shape that `demo`, `train --wait` and `job list` share.
pub(crate) fn summary(id: &str, job: &Job) -> Value {
    serde_json::to_value(Summary::of(id, job)).context("a summary is always JSON").unwrap_or_default()
}
