//! A disk that is full: what was acknowledged is not lost, and nothing more is acknowledged.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use regrove_test_support::Port;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::sink::Sink;
use crate::stage::{programs, send};

/// Bytes of data in each event.
const DATA_BYTES: usize = 20_000;
/// Events sent at most until the disk has to be full.
const EVENTS_MAX: usize = 1_000;
/// Events sent after the first refusal.
const EVENTS_AFTER: usize = 20;

/// A shell command that makes the disk small and then starts the runtime as `"$@"`.
struct Small {
    wrapper: &'static [&'static str],
    script: &'static str,
}

/// A file system of one MiB that only the runtime sees.
const TMPFS: Small = Small {
    wrapper: &["unshare", "--map-root-user", "--mount"],
    script: "mkdir -p \"$SMALL\" && mount -t tmpfs -o size=1m tmpfs \"$SMALL\" && exec \"$@\"",
};
/// No file may grow beyond one MiB. A write beyond is an error rather than a signal.
const FILE_SIZE: Small = Small { wrapper: &[], script: "trap '' XFSZ; ulimit -f 2048; exec \"$@\"" };

async fn launch(small: Option<&Small>, manifest: &Path, home: &Path) -> (Child, String) {
    let (wrapper, script) = small.map_or((&[][..], "exec \"$@\""), |small| (small.wrapper, small.script));
    let mut words = wrapper.iter().copied().chain(["sh", "-c", script, "sh"]);
    let mut child = Command::new(words.next().unwrap())
        .args(words)
        .arg(programs().join("runtime_process"))
        .args([manifest, home, &programs()])
        .env("SMALL", home)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let line = BufReader::new(child.stdout.take().unwrap()).lines().next_line().await.unwrap();
    let ingress = line.expect("the runtime starts").split_once(' ').unwrap().1.to_owned();
    (child, ingress)
}

fn eventing(subscriber: &str) -> String {
    format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: default}}\n---\napiVersion: \
         eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: t}}\nspec:\n  broker: default\n  subscriber: \
         {{uri: \"{subscriber}\"}}\n  delivery: {{retry: 1000, backoffPolicy: linear, backoffDelay: PT0.1S}}\n"
    )
}

async fn emit(ingress: &str, id: &str) -> u16 {
    let request = Request::post(format!("http://{ingress}/default/default"))
        .header("ce-specversion", "1.0")
        .header("ce-id", id)
        .header("ce-source", "/disk")
        .header("ce-type", "t")
        .header("content-type", "application/octet-stream");
    send(request.body(Full::new(Bytes::from(vec![b'x'; DATA_BYTES]))).unwrap()).await.status
}

/// Emits until an event is refused and a little longer; returns the ids of those that were acknowledged.
async fn fill(ingress: &str) -> BTreeSet<String> {
    let mut acknowledged = BTreeSet::new();
    let mut left = EVENTS_AFTER;
    let mut refused = 0;
    for number in 0..EVENTS_MAX {
        let id = format!("event-{number}");
        match emit(ingress, &id).await {
            202 => {
                acknowledged.insert(id);
            }
            500..=599 => refused += 1,
            other => panic!("{id}: {other}"),
        }
        if refused > 0 {
            left -= 1;
            if left == 0 {
                break;
            }
        }
    }
    assert!(refused > 0, "the disk never filled up");
    assert!(acknowledged.len() > 5, "{acknowledged:?}");
    acknowledged
}

/// The ids that arrived, once all of `wanted` have.
async fn arrived(sink: &Sink, wanted: &BTreeSet<String>) -> BTreeSet<String> {
    let mut count = wanted.len();
    loop {
        let received = sink.wait_for(count).await;
        let ids: BTreeSet<String> = received.iter().map(|request| request.header("ce-id").to_owned()).collect();
        if wanted.is_subset(&ids) {
            return ids;
        }
        // Some came twice.
        count = received.len() + 1;
    }
}

#[tokio::test]
async fn a_full_file_system_refuses_events_and_loses_none_that_it_took() {
    let sink = Sink::start(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("app.yaml");
    std::fs::write(&manifest, eventing(&sink.url)).unwrap();
    let (mut runtime, ingress) = launch(Some(&TMPFS), &manifest, &folder.path().join("home")).await;
    let acknowledged = fill(&ingress).await;
    arrived(&sink, &acknowledged).await;
    assert_eq!(runtime.try_wait().unwrap(), None, "it still runs");
    runtime.kill().await.unwrap();
}

#[tokio::test]
async fn what_a_full_disk_held_is_delivered_after_the_death_of_the_runtime() {
    // Nobody listens there: everything stays in the journal.
    let nobody = Port::reserve().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (manifest, home) = (folder.path().join("app.yaml"), folder.path().join("home"));
    std::fs::write(&manifest, eventing(&format!("http://{}/", nobody.address()))).unwrap();
    let (mut runtime, ingress) = launch(Some(&FILE_SIZE), &manifest, &home).await;
    let acknowledged = fill(&ingress).await;
    assert_eq!(runtime.try_wait().unwrap(), None, "it still runs");
    runtime.kill().await.unwrap();
    let sink = Sink::start(&[]).await;
    std::fs::write(&manifest, eventing(&sink.url)).unwrap();
    let (_again, ingress) = launch(None, &manifest, &home).await;
    arrived(&sink, &acknowledged).await;
    assert_eq!(emit(&ingress, "after").await, 202, "there is room again");
}
