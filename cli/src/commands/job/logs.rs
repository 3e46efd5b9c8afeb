//! What the functions wrote while they worked on a job.

use anyhow::{Context as _, bail};
use futures_util::StreamExt as _;
use jiff::Timestamp;
use regrove_jobs::{Level, LogLine};
use serde_json::Value;

use crate::commands::job::{jobs, refused};
use crate::output::Output;
use crate::reach::Reach;

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
}

fn level(name: &str) -> Result<Level, String> {
    Level::named(name).ok_or_else(|| "expected trace, debug, info, warn or error".to_owned())
}

pub(super) async fn run(args: Args, reach: &Reach, output: &Output) -> anyhow::Result<()> {
    jobs(reach)?.history(&args.id).await.map_err(refused)?;
    let mut address = reach.broker.join("/-/logs")?;
    let follow = args.follow.to_string();
    let wanted = [("job", args.id.as_str()), ("level", args.level.as_str()), ("follow", &follow)];
    address.query_pairs_mut().extend_pairs(wanted);
    let response = reqwest::Client::builder().no_proxy().build()?.get(address).send().await.with_context(|| {
        format!(
            "the local runtime at {} does not answer; in a cluster use `kubectl logs -n {}`",
            reach.broker, reach.namespace
        )
    })?;
    if !response.status().is_success() {
        bail!(
            "{} keeps no lines of functions (it answered {}); in a cluster use `kubectl logs -n {}`",
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
    let line = LogLine::read(function, text("replica"), at, text("text"));
    output.result(&line, || {
        let at = line.at.map_or_else(|| "–".to_owned(), |at| format!("{at:.3}"));
        let fields: Vec<String> = line.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("{at}  {:<5} {:<12} {} {}", line.level, line.function, line.message, fields.join(" "))
            .trim_end()
            .to_owned()
    })
}
