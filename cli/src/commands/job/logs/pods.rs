//! Lines of the functions' pods, as `kubectl logs` prints them.

use std::process::Stdio;

use anyhow::{Context as _, bail};
use regrove_jobs::LogLine;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

use super::{Args, say};
use crate::output::Output;

/// Label of the pods of Knative Services.
const SERVICE_LABEL: &str = "serving.knative.dev/service";
/// Knative's own container beside each function.
const QUEUE_PROXY: &str = "queue-proxy";
/// Pods that are followed at once.
const PODS_MAX: &str = "100";

/// Prints what pods that still exist have written about a job: in order of time, or as it comes when it is followed.
pub(super) async fn print(args: &Args, namespace: &str, output: &Output) -> anyhow::Result<()> {
    let mut command = args.kubectl.command();
    command.args(["logs", "--namespace", namespace, "--selector", SERVICE_LABEL, "--all-containers", "--prefix"]);
    command.args(["--timestamps", "--tail=-1", "--max-log-requests", PODS_MAX]);
    if args.follow {
        command.arg("--follow");
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut kubectl = command.spawn().context("kubectl cannot be run")?;
    let mut errors = kubectl.stderr.take().context("kubectl has no standard error")?;
    let failed = tokio::spawn(async move {
        let mut text = String::new();
        errors.read_to_string(&mut text).await.map(|_| text)
    });
    let mut lines = BufReader::new(kubectl.stdout.take().context("kubectl has no standard output")?).lines();
    let mut kept = Vec::new();
    while let Some(text) = lines.next_line().await? {
        let Some(line) = read(&text).filter(|line| line.is_about(&args.id) && line.level >= args.level) else {
            continue;
        };
        if args.follow {
            say(&line, output)?;
        } else {
            kept.push(line);
        }
    }
    let status = kubectl.wait().await?;
    if !status.success() {
        bail!("kubectl logs: {}", failed.await??.trim());
    }
    kept.sort_by_key(|line| line.at);
    kept.iter().try_for_each(|line| say(line, output))
}

/// `[pod/NAME/CONTAINER] TIME TEXT`; nothing for Knative's own lines.
fn read(text: &str) -> Option<LogLine> {
    let (prefix, rest) = text.strip_prefix("[pod/")?.split_once("] ")?;
    let (pod, container) = prefix.split_once('/')?;
    let (at, said) = rest.split_once(' ').unwrap_or((rest, ""));
    (container != QUEUE_PROXY).then(|| LogLine::read(container, pod, at.parse().ok(), said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_functions_are_read_and_those_of_knative_are_not() {
        let line = read(
            r#"[pod/train-shard-00001-deployment-5d/train-shard] 2026-11-27T08:00:01.5Z {"level":"INFO","message":"trained","job":"a"}"#,
        );
        let line = line.unwrap();
        assert_eq!((line.function.as_str(), line.message.as_str()), ("train-shard", "trained"));
        assert_eq!(line.replica, "train-shard-00001-deployment-5d");
        assert_eq!(line.at, "2026-11-27T08:00:01.5Z".parse().ok());
        assert!(line.is_about("a"));
        assert_eq!(read("[pod/aggregate-1/queue-proxy] 2026-11-27T08:00:01Z {}"), None);
        assert_eq!(read("error: no pods"), None);
    }
}
