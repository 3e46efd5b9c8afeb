//! `regrove job`: jobs as the log or a console has them. What can be done with a job is decided in `regrove-jobs`.

mod compare;
mod logs;
mod show;
mod trace;

use clap::Subcommand;
use jiff::Timestamp;
use regrove_events::log::Version;
use regrove_jobs::{LIMIT_DEFAULT, Query, ReplayStep};
use regrove_mlflow::DEFAULT_TRACKING_URI;
use serde_json::json;
use url::Url;

use crate::commands::train;
use crate::output::{Output, Usage, table};
use crate::reach::Reach;
use crate::source::Source;

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
        /// MLflow, for links to its pages
        #[arg(long, env = "MLFLOW_TRACKING_URI", default_value = DEFAULT_TRACKING_URI, hide_env_values = true, value_name = "URL")]
        mlflow_tracking_uri: Url,
    },
    /// Print what the functions wrote while they worked on a job, oldest first
    #[command(after_help = "Examples:\n  regrove job logs my-job\n  regrove job logs my-job -f --level warn\n\n\
        The local runtime keeps the lines; with --console it is asked through its console. In a cluster --cluster asks the \
        pods that still exist, with kubectl.")]
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

pub(crate) async fn run(command: Command, reach: &Reach, output: &Output) -> anyhow::Result<()> {
    let source = Source::of(reach)?;
    match command {
        Command::List(list) => run_list(list, &source, output).await,
        Command::Show { id, mlflow_tracking_uri } => {
            let view = source.show(&id).await?;
            let view = if view.links.is_some() {
                view
            } else {
                view.linked_to(without_userinfo(mlflow_tracking_uri).as_str())
            };
            output.result(&view, || show::describe(&view))
        }
        Command::Logs(args) => logs::run(args, reach, output).await,
        Command::Stop { id, reason, wait } => stop(&id, reason, wait, &source, output).await,
        Command::Retry { id, wait } => {
            let next = source.retry(&id).await?;
            asked(&next, 0, wait, &source, output).await
        }
        Command::Replay { id, emit } => replay(&id, emit, &source, output).await,
        Command::Compare { left, right } => {
            let compared = source.compare(&left, &right).await?;
            output.result(&compared, || compare::describe(&compared))
        }
        Command::Trace { id } => {
            let root = source.trace(&id).await?;
            output.result(&root, || trace::describe(&root))
        }
    }
}

/// An address as it may be shown.
fn without_userinfo(mut uri: Url) -> Url {
    // What has no host has no user either.
    let _ = uri.set_username("");
    let _ = uri.set_password(None);
    uri
}

/// How many events a job has so far.
pub(crate) async fn version(source: &Source, id: &str) -> anyhow::Result<Version> {
    Ok(source.find(id).await?.map_or(0, |job| job.timeline.len() as Version))
}

/// Says that a job is asked for, and follows it if asked to: from its `known`-th event.
pub(crate) async fn asked(
    id: &str,
    known: Version,
    wait: bool,
    source: &Source,
    output: &Output,
) -> anyhow::Result<()> {
    if wait {
        return train::wait_for(id, known, source, output).await;
    }
    output.result(&json!({"id": id, "state": "requested"}), || format!("{id}\nfollow it with: regrove job show {id}"))
}

async fn run_list(list: List, source: &Source, output: &Output) -> anyhow::Result<()> {
    let query = Query {
        states: Query::states(&list.state).map_err(|error| Usage(error.to_string()))?,
        name: list.name,
        since: list.since,
        until: list.until,
        limit: list.limit,
        after: list.after,
    };
    let page = source.list(&query).await?;
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

async fn stop(id: &str, reason: Option<String>, wait: bool, source: &Source, output: &Output) -> anyhow::Result<()> {
    let known = version(source, id).await?;
    source.stop(id, reason).await?;
    if wait {
        let ended = crate::watch::follow(source, id, known, output).await?.summary;
        return output.result(&ended, || format!("{id} {}", ended.state));
    }
    output.result(&json!({"id": id, "state": "stopping"}), || format!("{id} is asked to stop"))
}

async fn replay(id: &str, emit: bool, source: &Source, output: &Output) -> anyhow::Result<()> {
    if emit {
        let ids = source.say_again(id).await?;
        return output.result(&json!({"id": id, "emitted": ids}), || format!("emitted again: {}", ids.join(", ")));
    }
    let steps = source.steps(id).await?;
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
