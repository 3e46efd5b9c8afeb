//! `regrove event`: emits events, follows the log.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;
use jiff::Timestamp;
use regrove_events::log::{Entry, TREES_PREFIX};
use regrove_events::{CloudEvent, TYPE_PREFIX, json_format};
use regrove_runtime::{ReplayError, ReplayFrom};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::output::{Output, Usage, table};
use crate::reach::{Reach, SOURCE};

/// How long one look at the log waits for news; news end it at once.
const NEWS_WAIT: Duration = Duration::from_secs(20);
/// Entries read at once.
const BATCH: usize = 1000;

/// Emit events, follow them.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Emit one event to the broker
    #[command(
        after_help = "Examples:\n  regrove event emit --type io.regrove.train-requested --subject my-job \\\n    \
        --data '{\"dataset\": {\"uri\": \"file:///data/iris.csv\", \"target\": \"species\"}}'\n  \
        regrove event emit --file event.json"
    )]
    Emit(Emit),
    /// Print the events of the log, oldest first
    #[command(after_help = "Example:\n  regrove event tail --follow --subject my-job")]
    Tail {
        /// Go on with new events as they come
        #[arg(long, short)]
        follow: bool,
        /// Only events about this job or model
        #[arg(long, value_name = "ID")]
        subject: Option<String>,
    },
    /// Show what became of an event in the local broker: each delivery, each attempt
    #[command(after_help = "Example:\n  regrove event show my-job/shard/3")]
    Show {
        /// Event id
        id: String,
    },
    /// List the events that the local broker could not deliver, newest first
    #[command(after_help = "Example:\n  regrove event dead --json")]
    Dead {
        /// How many at most
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Deliver what the local broker has kept to one trigger again
    #[command(
        after_help = "Examples:\n  regrove event replay --trigger default/greeter --from 2026-01-31T12:00:00Z\n  \
        regrove event replay --trigger default/greeter --from my-job/shard/3\n\n\
        The trigger gets every kept event that its filter lets through, from that time or event on. `regrove up \
        --event-retention` says how long events are kept."
    )]
    Replay {
        /// The trigger, as NAMESPACE/NAME
        #[arg(long, value_name = "TRIGGER")]
        trigger: String,
        /// A time (RFC 3339), or the id of the first event
        #[arg(long, value_name = "TIME|ID")]
        from: String,
    },
    /// Deliver dead letters again
    #[command(after_help = "Examples:\n  regrove event redrive 17 18\n  regrove event redrive --all")]
    Redrive {
        /// Numbers from `regrove event dead`
        #[arg(required_unless_present = "all", value_name = "NUMBER")]
        numbers: Vec<i64>,
        /// All of them
        #[arg(long, conflicts_with = "numbers")]
        all: bool,
    },
    /// Let go of dead letters: they are no longer listed; the record of their deliveries stays for a while
    #[command(after_help = "Examples:\n  regrove event discard 17 18\n  regrove event discard --all")]
    Discard {
        /// Numbers from `regrove event dead`
        #[arg(required_unless_present = "all", value_name = "NUMBER")]
        numbers: Vec<i64>,
        /// All of them
        #[arg(long, conflicts_with = "numbers")]
        all: bool,
    },
}

/// What to emit.
#[derive(Debug, clap::Args)]
pub(crate) struct Emit {
    /// A whole event as JSON (application/cloudevents+json); `-` for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ty", "subject", "data", "id"])]
    file: Option<PathBuf>,
    /// Event type
    #[arg(long = "type", value_name = "TYPE", required_unless_present = "file")]
    ty: Option<String>,
    /// Subject: a job id
    #[arg(long)]
    subject: Option<String>,
    /// Data as JSON
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
    /// Event id; a fresh one without it
    #[arg(long)]
    id: Option<String>,
}

pub(crate) async fn run(command: Command, reach: &Reach, output: &Output) -> anyhow::Result<()> {
    match command {
        Command::Emit(emit) => {
            let event = read(emit)?;
            reach.emit(&event).await?;
            output.result(&json!({"id": event.id(), "type": event.ty()}), || format!("{} accepted", event.id()))
        }
        Command::Tail { follow, subject } => tail(follow, subject.as_deref(), reach, output).await,
        Command::Show { id } => show(&id, reach, output),
        Command::Dead { limit } => dead(limit, reach, output),
        Command::Replay { trigger, from } => replay(&trigger, from, reach, output),
        Command::Redrive { numbers, .. } => {
            let count = regrove_runtime::redrive(&reach.store.home, &numbers)?;
            output.result(&json!({"redriven": count}), || format!("{count} dead letters are delivered again"))
        }
        Command::Discard { numbers, .. } => {
            let count = regrove_runtime::discard(&reach.store.home, &numbers)?;
            output.result(&json!({"discarded": count}), || format!("{count} dead letters are gone"))
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a command is where the outside, and its clock, begins")]
fn read(emit: Emit) -> anyhow::Result<CloudEvent> {
    if let Some(file) = emit.file {
        let text = if file.as_os_str() == "-" {
            std::io::read_to_string(std::io::stdin()).context("standard input")?
        } else {
            std::fs::read_to_string(&file).map_err(|error| Usage(format!("--file {}: {error}", file.display())))?
        };
        return Ok(json_format::from_slice(text.as_bytes()).map_err(|error| Usage(error.to_string()))?);
    }
    let id = emit.id.unwrap_or_else(|| Uuid::now_v7().to_string());
    let mut event = CloudEvent::builder(id, SOURCE, emit.ty.unwrap_or_default()).time(Timestamp::now());
    if let Some(subject) = emit.subject {
        event = event.subject(subject);
    }
    if let Some(data) = emit.data {
        serde_json::from_str::<Value>(&data).map_err(|error| Usage(format!("--data is not JSON: {error}")))?;
        event = event.data("application/json", data);
    }
    Ok(event.build().map_err(|error| Usage(error.to_string()))?)
}

async fn tail(follow: bool, subject: Option<&str>, reach: &Reach, output: &Output) -> anyhow::Result<()> {
    let control = reach.control()?;
    let mut after = 0;
    loop {
        let entries = control.log.tail(after, BATCH).await?;
        let last = entries.len() < BATCH;
        for entry in entries {
            after = entry.position;
            // What stands there was said in a job already.
            let again = entry.stream.starts_with(TREES_PREFIX);
            if !again && subject.is_none_or(|wanted| entry.event.subject() == Some(wanted)) {
                output.result(&as_json(&entry), || line(&entry))?;
            }
        }
        if last && !follow {
            return Ok(());
        }
        if last {
            control.log.wait(after, NEWS_WAIT).await?;
        }
    }
}

fn show(id: &str, reach: &Reach, output: &Output) -> anyhow::Result<()> {
    let records = regrove_runtime::delivery_records(&reach.store.home, id)?;
    if records.is_empty() {
        let advice = "`regrove up --event-retention` says how long the local broker keeps them";
        return Err(Usage(format!("no delivery of an event `{id}` is known; {advice}")).into());
    }
    output.result(&records, || {
        let attempts = records.iter().flat_map(|record| record.attempts.iter().map(move |attempt| (record, attempt)));
        let rows = attempts.map(|(record, attempt)| {
            let at = Timestamp::from_millisecond(attempt.at_ms).map_or_else(|_| String::new(), |at| format!("{at:.3}"));
            let latency = Duration::from_micros(u64::try_from(attempt.latency_us).unwrap_or(0));
            vec![
                at,
                record.trigger.clone(),
                attempt.code.map_or_else(|| "–".to_owned(), |code| code.to_string()),
                format!("{latency:.1?}"),
                attempt.destination.clone(),
                attempt.error.clone().unwrap_or_default(),
            ]
        });
        table(&["at", "trigger", "code", "took", "destination", "error"], rows)
    })
}

fn replay(trigger: &str, from: String, reach: &Reach, output: &Output) -> anyhow::Result<()> {
    let from = ReplayFrom::from(from);
    let request = regrove_runtime::replay(&reach.store.home, trigger, &from).map_err(|error| match error {
        ReplayError::Journal(error) => anyhow::Error::from(error),
        unknown => Usage(unknown.to_string()).into(),
    })?;
    output.result(&request, || match request.events {
        0 => format!("broker {} has kept no event from there on", request.broker),
        events => format!("{trigger} gets again what it wants of {events} events of broker {}", request.broker),
    })
}

fn dead(limit: usize, reach: &Reach, output: &Output) -> anyhow::Result<()> {
    let letters = regrove_runtime::dead_letters(&reach.store.home, limit)?;
    output.result(&letters, || {
        let rows = letters.iter().map(|letter| {
            vec![
                letter.id.to_string(),
                letter.trigger.clone(),
                letter.event.id().to_owned(),
                letter.code.map_or_else(String::new, |code| code.to_string()),
                letter.error.clone().unwrap_or_default(),
            ]
        });
        table(&["number", "trigger", "event", "code", "reason"], rows)
    })
}

fn as_json(entry: &Entry) -> Value {
    json!({
        "position": entry.position,
        "stream": entry.stream,
        "version": entry.version,
        "event": entry.event,
    })
}

fn line(entry: &Entry) -> String {
    let event = &entry.event;
    format!(
        "{:>6}  {}  {:<17} {}",
        entry.position,
        event.time_text().unwrap_or("–"),
        event.ty().strip_prefix(TYPE_PREFIX).unwrap_or(event.ty()),
        event.id()
    )
}
