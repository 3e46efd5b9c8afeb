//! What the functions wrote while they worked on a job.

mod pods;

use anyhow::{Context as _, bail};
use futures_util::StreamExt as _;
use jiff::Timestamp;
use regrove_jobs::{Console, Level, Lines, LogLine};
use serde_json::Value;

use crate::kubectl::KubectlArgs;
use crate::output::Output;
use crate::reach::Reach;
use crate::source::Source;

/// Which lines.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Job id
    id: String,
    /// Go on with new lines as they come
    #[arg(long, short)]
    follow: bool,
    /// Least level: trace, debug, info, warn, error
    #[arg(long, default_value = "info", value_parser = level)]
    level: Level,
    /// Ask the cluster's pods, with kubectl
    #[arg(long)]
    cluster: bool,
    #[command(flatten)]
    kubectl: KubectlArgs,
}

fn level(name: &str) -> Result<Level, String> {
    Level::named(name).ok_or_else(|| "expected trace, debug, info, warn or error".to_owned())
}

pub(super) async fn run(args: Args, reach: &Reach, output: &Output) -> anyhow::Result<()> {
    if args.cluster {
        // Pods are asked by whoever may look at them; the log need not be within reach.
        return pods::print(&args, &reach.namespace, output).await;
    }
    let source = Source::of(reach)?;
    source.show(&args.id).await?;
    match &source {
        Source::Log { reach, .. } => from_runtime(&args, reach, output).await,
        Source::Console(console) => from_console(&args, console, output).await,
    }
}

async fn from_console(args: &Args, console: &Console, output: &Output) -> anyhow::Result<()> {
    let (id, level) = (&args.id, args.level.as_str());
    if !args.follow {
        let Lines { lines, unavailable } = console.lines(id, level, 0).await?;
        if let Some(reason) = unavailable {
            bail!("{reason}");
        }
        return lines.iter().try_for_each(|line| print(line, output));
    }
    let mut last = 0;
    loop {
        // A stream ends after a while: the next one goes on after its last line.
        let mut lines = console.follow_lines(id, level, last).await?;
        while let Some(line) = lines.next().await? {
            last = line.get("number").and_then(Value::as_u64).unwrap_or(last);
            print(&line, output)?;
        }
    }
}

async fn from_runtime(args: &Args, reach: &Reach, output: &Output) -> anyhow::Result<()> {
    let mut address = reach.broker.join("/-/logs")?;
    let follow = args.follow.to_string();
    let wanted = [("job", args.id.as_str()), ("level", args.level.as_str()), ("follow", &follow)];
    address.query_pairs_mut().extend_pairs(wanted);
    let response = reqwest::Client::builder().no_proxy().build()?.get(address).send().await.with_context(|| {
        format!(
            "the local runtime at {} does not answer; in a cluster say --cluster (namespace {})",
            reach.broker, reach.namespace
        )
    })?;
    if !response.status().is_success() {
        bail!(
            "{} keeps no lines of functions (it answered {}); in a cluster say --cluster (namespace {})",
            reach.broker,
            response.status(),
            reach.namespace
        );
    }
    if !args.follow {
        let lines: Vec<Value> = response.json().await.context("the runtime's lines are not JSON")?;
        return lines.iter().try_for_each(|line| print(line, output));
    }
    let mut pieces = response.bytes_stream();
    let mut rest: Vec<u8> = Vec::new();
    while let Some(piece) = pieces.next().await {
        rest.extend_from_slice(&piece.context("the runtime has gone")?);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            print(&serde_json::from_slice(&line)?, output)?;
        }
    }
    Ok(())
}

fn print(line: &Value, output: &Output) -> anyhow::Result<()> {
    let text = |name: &str| line.get(name).and_then(Value::as_str).unwrap_or_default();
    let at = line.get("at_ms").and_then(Value::as_i64).and_then(|at| Timestamp::from_millisecond(at).ok());
    let function = text("service").rsplit('/').next().unwrap_or_default();
    say(&LogLine::read(function, text("replica"), at, text("text")), output)
}

fn say(line: &LogLine, output: &Output) -> anyhow::Result<()> {
    output.result(line, || {
        let at = line.at.map_or_else(|| "–".to_owned(), |at| format!("{at:.3}"));
        let fields: Vec<String> = line.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("{at}  {:<5} {:<12} {} {}", line.level, line.function, line.message, fields.join(" "))
            .trim_end()
            .to_owned()
    })
}
