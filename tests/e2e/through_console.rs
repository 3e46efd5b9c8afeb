//! The command where neither the event log nor the broker can be reached: everything goes through a console.

use std::process::Stdio;

use regrove_events::JobState;
use regrove_events::event::TrainRequested;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::jobs::{DEFAULT_MODEL, lengthy};
use crate::regrove::{self, Said};
use crate::up::{Up, UpOptions};

const TOKEN: &str = "a-token-of-the-tests";
const DATA: &str = "synthetic:make_classification?n_samples=300&n_features=8&random_state=3";

/// A machine that can reach the console and nothing else.
struct Afar {
    folder: TempDir,
    console: String,
    token: &'static str,
}

impl Afar {
    fn new(up: &Up, token: &'static str) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), console: up.console(), token }
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = regrove::command(self.folder.path());
        command.args(arguments).env("REGROVE_CONSOLE", &self.console).env("REGROVE_TOKEN", self.token);
        command
            .env("REGROVE_BROKER", "http://127.0.0.1:1/regrove/default")
            .env("REGROVE_GATEWAY", "http://127.0.0.1:1");
        command
    }

    async fn regrove(&self, arguments: &[&str]) -> Said {
        regrove::run(self.command(arguments)).await
    }
}

fn guarded() -> Up {
    Up::start(UpOptions { env: vec![("REGROVE_TOKEN".to_owned(), TOKEN.to_owned())], ..UpOptions::default() })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_answers_the_command_as_the_log_does() {
    let up = guarded();
    let afar = Afar::new(&up, TOKEN);
    let train = ["train", "--data", DATA, "--set", "n_estimators=8", "--set", "random_state=1", "--shards", "2"];
    let made = afar.regrove(&[&train[..], &["--id", "far", "--wait", "--json"]].concat()).await.ok();
    assert!(made.err.contains("far: shard 1/2") && made.err.contains("far: model-registered"), "{made:?}");
    assert_eq!(made.json()["state"], "succeeded");
    afar.regrove(&[&train[..], &["--id", "far", "--json"]].concat()).await.ok();
    afar.regrove(&["train", "--data", DATA, "--id", "far", "--shards", "3"])
        .await
        .fails(2, &["--id far", "other parameters"]);
    afar.regrove(&[&train[..], &["--set", "max_depth=2", "--id", "near", "--wait"]].concat()).await.ok();
    // What is asked twice below stands still.
    up.served(DEFAULT_MODEL, "2").await;
    let uri = up.tracking_uri();
    for arguments in [
        &["job", "show", "far", "--mlflow-tracking-uri", &uri][..],
        &["job", "list"],
        &["job", "list", "--state", "succeeded", "--name", "FA", "--limit", "1"],
        &["job", "compare", "far", "near"],
        &["job", "replay", "far"],
    ] {
        let json = [arguments, &["--json"]].concat();
        assert_eq!(afar.regrove(&json).await.ok().json(), up.regrove(&json).await.ok().json(), "{arguments:?}");
        assert_eq!(afar.regrove(arguments).await.ok().out, up.regrove(arguments).await.ok().out, "{arguments:?}");
    }
    let trace = afar.regrove(&["job", "trace", "far"]).await.ok().out;
    assert!(trace.contains("shard 0, attempt 1 [train-shard]"), "{trace}");
    let lines = |said: Said| said.json_lines().into_iter().map(|line| line["message"].clone()).collect::<Vec<Value>>();
    let written = lines(afar.regrove(&["job", "logs", "far", "--json"]).await.ok());
    assert!(written.contains(&json!("trained")) && written.contains(&json!("registered")), "{written:?}");
    assert_eq!(written, lines(up.regrove(&["job", "logs", "far", "--json"]).await.ok()));
    for (arguments, code, words) in [
        (&["job", "show", "nobody"][..], 2, &["nobody", "regrove job list"][..]),
        (&["job", "stop", "far"], 2, &["409", "has ended: succeeded"]),
        (&["job", "retry", "far"], 2, &["409", "only a job that failed or was cancelled"]),
        (&["job", "list", "--limit", "0"], 2, &["limit"]),
        (&["job", "logs", "nobody"], 2, &["nobody"]),
        (&["job", "list", "--console", "http://127.0.0.1:1"], 1, &["127.0.0.1:1"]),
    ] {
        afar.regrove(arguments).await.fails(code, words);
    }
    let stranger = Afar::new(&up, "another-token-of-the-tests");
    let refused = stranger.regrove(&["job", "list"]).await;
    refused.fails(2, &["401", "not REGROVE_TOKEN"]);
    assert!(!refused.err.contains("another-token"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_stopped_tried_again_and_swept_from_afar() {
    let up = guarded();
    let afar = Afar::new(&up, TOKEN);
    let mut endless = TrainRequested { shards: 2, ..lengthy("m") };
    endless.params.insert("n_estimators".to_owned(), json!(50_000));
    let file = afar.folder.path().join("endless.json");
    std::fs::write(&file, serde_json::to_string(&endless).unwrap()).unwrap();
    afar.regrove(&["train", "--file", "endless.json", "--id", "endless"]).await.ok();
    up.job_when("endless", "trains", |job| job.state == JobState::Training).await;
    let again = afar.regrove(&["job", "replay", "endless", "--emit", "--json"]).await.ok().json();
    assert!(
        again["emitted"].as_array().is_some_and(|ids| ids.contains(&json!("endless/shard/0/request/1"))),
        "{again}"
    );
    let stop = ["job", "stop", "endless", "--reason", "too long", "--wait", "--json"];
    let stopped = afar.regrove(&stop).await.ok().json();
    assert_eq!((&stopped["state"], &stopped["cancel_reason"]), (&json!("cancelled"), &json!("too long")));
    let next = afar.regrove(&["job", "retry", "endless", "--json"]).await.ok().json();
    assert_eq!(next["id"], "endless.retry-2");
    up.job_when("endless.retry-2", "trains", |job| job.state == JobState::Training).await;
    afar.regrove(&["job", "stop", "endless.retry-2"]).await.ok();
    up.job_end("endless.retry-2").await;

    let sweep = [
        "train",
        "--data",
        DATA,
        "--set",
        "n_estimators=6",
        "--sweep",
        "max_depth=1,5",
        "--id",
        "swept",
        "--model",
        "Swept",
    ];
    let best = afar.regrove(&[&sweep[..], &["--wait", "--json"]].concat()).await.ok().json();
    assert_eq!(
        (best["trials"].as_array().unwrap().len(), &best["model"]["uri"]),
        (2, &json!("models:/Swept/1")),
        "{best}"
    );
    assert_eq!(up.job(best["best"].as_str().unwrap()).await.unwrap().registered.unwrap().uri, "models:/Swept/1");
    let values: Vec<String> = (1..=100).map(|value| value.to_string()).collect();
    let grid = |name: &str| format!("{name}={}", values.join(","));
    let (depth, leaves, samples) = (grid("max_depth"), grid("max_leaf_nodes"), grid("min_samples_leaf"));
    let million = ["train", "--data", DATA, "--sweep", &depth, "--sweep", &leaves, "--sweep", &samples];
    let misspelt = ["train", "--data", DATA, "--sweep", "max_depth=1,5", "--metric", "acuracy"];
    for (refused, texts) in
        [(&million[..], &["1000000 combinations"][..]), (&misspelt, &["`metric` is `acuracy`", "balanced_accuracy"])]
    {
        afar.regrove(refused).await.fails(2, texts);
        up.regrove(refused).await.fails(2, texts);
    }
}

/// Follows a job's lines until one says this; then the follower is killed.
async fn follow_until(mut command: std::process::Command, wanted: &str) -> Vec<Value> {
    command.stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = Vec::new();
    let reading = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            let line: Value = serde_json::from_str(&line).unwrap();
            let last = line["message"] == wanted;
            seen.push(line);
            if last {
                return;
            }
        }
        panic!("the follower ended by itself: {seen:?}");
    };
    tokio::time::timeout(crate::polling::DEADLINE, reading).await.unwrap();
    child.kill().await.unwrap();
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_followed_from_here_and_from_afar() {
    let up = guarded();
    let afar = Afar::new(&up, TOKEN);
    for (id, is_afar) in [("here", false), ("afar", true)] {
        up.request(id, &lengthy("Followed")).await;
        up.job_when(id, "is known", |job| job.request.is_some()).await;
        let arguments = ["job", "logs", id, "-f", "--json"];
        let command = if is_afar {
            afar.command(&arguments)
        } else {
            let mut command = regrove::command(up.folder());
            command.args(arguments).env("REGROVE_HOME", up.home()).env("REGROVE_BROKER", up.broker());
            command
        };
        let seen = follow_until(command, "registered").await;
        let of = |function: &str| seen.iter().filter(|line| line["function"] == function).count();
        assert!(of("train-shard") >= crate::jobs::LENGTHY_SHARDS as usize && of("register") > 0, "{id}: {seen:?}");
        assert!(seen.iter().all(|line| line["level"] != "debug" && line["level"] != "trace"), "{seen:?}");
    }
}

/// A cluster is played by a script that prints what `kubectl logs --prefix --timestamps` prints of pods.
#[tokio::test]
async fn lines_of_a_cluster_are_those_of_its_pods() {
    let folder = tempfile::tempdir().unwrap();
    let kubectl = folder.path().join("kubectl");
    let script = r#"#!/bin/sh
echo "$@" > asked
[ "$5" = nowhere ] && { echo 'namespaces "nowhere" not found' >&2; exit 1; }
cat <<'END'
[pod/register-1/register] 2026-11-27T08:00:03Z {"timestamp":"2026-11-27T08:00:03Z","level":"INFO","message":"registered","job":"far"}
[pod/train-shard-1/train-shard] 2026-11-27T08:00:02Z {"timestamp":"2026-11-27T08:00:02Z","level":"INFO","message":"trained","job":"far"}
[pod/train-shard-1/queue-proxy] 2026-11-27T08:00:02Z {"level":"INFO","message":"far"}
[pod/train-shard-1/train-shard] 2026-11-27T08:00:02Z {"timestamp":"2026-11-27T08:00:02Z","level":"DEBUG","message":"looks","job":"far"}
[pod/aggregate-1/aggregate] 2026-11-27T08:00:01Z {"timestamp":"2026-11-27T08:00:01Z","level":"WARN","message":"late","job":"other"}
END
"#;
    std::fs::write(&kubectl, script).unwrap();
    std::fs::set_permissions(&kubectl, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let logs = |more: &[&str]| {
        let mut command = regrove::command(folder.path());
        command.args(["job", "logs", "far", "--cluster", "--json", "--kubectl"]).arg(&kubectl).args(more);
        regrove::run(command)
    };
    let said = logs(&["--context", "minikube"]).await.ok();
    let lines: Vec<(Value, Value)> =
        said.json_lines().iter().map(|line| (line["function"].clone(), line["message"].clone())).collect();
    assert_eq!(lines, [(json!("train-shard"), json!("trained")), (json!("register"), json!("registered"))]);
    let asked = std::fs::read_to_string(folder.path().join("asked")).unwrap();
    assert!(
        asked.starts_with("--context minikube logs --namespace regrove --selector serving.knative.dev/service"),
        "{asked}"
    );
    let followed = logs(&["-f", "--level", "debug"]).await.ok().json_lines();
    assert_eq!(followed.len(), 3, "as they come: {followed:?}");
    assert_eq!(followed[0]["message"], "registered");
    let failed = logs(&["--namespace", "nowhere", "--context", "y"]).await;
    failed.fails(1, &["kubectl logs", "not found"]);
}
