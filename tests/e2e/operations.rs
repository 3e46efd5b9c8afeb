//! Procedures of docs/operations.md, as far as they can be run without a cluster.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;
use regrove_events::JobState;
use regrove_test_support::programs::{venv_program, workspace};
use regrove_test_support::{MlflowServer, RedisServer};
use serde_json::json;

use crate::jobs::{one_to_twenty, small};
use crate::polling::until;
use crate::readiness::Function;
use crate::record;
use crate::up::{Up, UpOptions};

/// Clients that ask while functions are replaced.
const CLIENTS: usize = 4;
/// Copies MLflow's database while it is in use: what `docs/operations.md` runs in MLflow's pod.
const COPY_DATABASE: &str = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).backup(sqlite3.connect(sys.argv[2]))";

/// "Backup and restore": MLflow first, then Redis, while both are in use; everything is lost; both are put back.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_brings_back_jobs_and_models() {
    let (mut redis, mut mlflow) = (RedisServer::start().unwrap(), MlflowServer::start().unwrap());
    let options = UpOptions { redis: Some(redis.url()), mlflow: Some(mlflow.uri()), ..UpOptions::default() };
    let backup = tempfile::tempdir().unwrap();
    let row = json!([one_to_twenty()]);
    let before = {
        let up = Up::start(options.clone());
        up.request("kept", &small("Kept", 1)).await;
        assert_eq!(up.job_end("kept").await.state, JobState::Succeeded);
        up.served("Kept", "1").await;
        back_up(&redis, &mlflow, backup.path());
        // What comes after the backup is lost with the machine.
        up.request("lost", &small("Kept", 2)).await;
        assert_eq!(up.job_end("lost").await.state, JobState::Succeeded);
        up.served("Kept", "2").await;
        up.call("load-model", http::Method::POST, "/model/load", Some(&json!({"name": "Kept", "version": 1}))).await;
        up.served("Kept", "1").await;
        up.predict(Some("Kept"), &row).await.json["probabilities"].clone()
    };
    redis.kill().unwrap();
    mlflow.kill().unwrap();
    fs::remove_dir_all(redis.directory().join("appendonlydir")).unwrap();
    fs::remove_file(mlflow.directory().join("mlflow.db")).unwrap();
    fs::remove_dir_all(mlflow.directory().join("artifacts")).unwrap();
    for (name, place) in
        [("appendonlydir", redis.directory()), ("mlflow.db", mlflow.directory()), ("artifacts", mlflow.directory())]
    {
        copy(&backup.path().join(name), &place.join(name));
    }
    redis.restart().unwrap();
    mlflow.restart().unwrap();

    let up = Up::start(options);
    assert_eq!(up.job("kept").await.unwrap().state, JobState::Succeeded);
    assert_eq!(up.job("lost").await.unwrap().state, JobState::Unknown);
    let versions = record::versions(&mlflow.uri(), "Kept").await;
    assert_eq!(versions.iter().map(|version| version.version).collect::<Vec<_>>(), [1]);
    up.served("Kept", "1").await;
    let answer = up.predict(Some("Kept"), &row).await;
    assert_eq!(answer.json["probabilities"], before, "{answer:?}");
    // What was lost is asked for again under the same id, and gets the number that it had.
    up.request("lost", &small("Kept", 2)).await;
    let again = up.job_end("lost").await;
    assert_eq!(again.registered.map(|version| version.version).as_deref(), Some("2"), "{:?}", again.failure);
}

fn back_up(redis: &RedisServer, mlflow: &MlflowServer, to: &Path) {
    let python = venv_program("python").unwrap();
    let (database, copy_of_it) = (mlflow.directory().join("mlflow.db"), to.join("mlflow.db"));
    run(Command::new(python).args(["-c", COPY_DATABASE]).arg(database).arg(copy_of_it));
    copy(&mlflow.directory().join("artifacts"), &to.join("artifacts"));
    let cli =
        |arguments: &[&str]| run(Command::new("redis-cli").args(["-p", &redis.port().to_string()]).args(arguments));
    cli(&["BGREWRITEAOF"]);
    let rewritten = || cli(&["INFO", "persistence"]).contains("aof_rewrite_in_progress:0").then_some(());
    crate::polling::until_blocking(crate::polling::DEADLINE, rewritten).unwrap();
    copy(&redis.directory().join("appendonlydir"), &to.join("appendonlydir"));
}

/// "Rotating secrets": a second password before the first one goes, and nobody is locked out in between.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_rotated_without_locking_anybody_out() {
    let redis = RedisServer::start().unwrap();
    let url = redis.url();
    let cli = |password: &str, arguments: &[&str]| {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &redis.port().to_string()]).env("REDISCLI_AUTH", password);
        run(command.args(arguments))
    };
    let start = |password: &str| Function::start("predict", &[("REDIS_URL", &url), ("REDIS_PASSWORD", password)]);
    let ready = async |function: &Function| {
        until("a function that is ready", async || {
            function.health().await.filter(|(status, _)| *status == StatusCode::OK)
        })
        .await;
    };
    cli("", &["CONFIG", "SET", "requirepass", "old"]);
    let old = start("old");
    ready(&old).await;
    cli("old", &["ACL", "SETUSER", "default", ">new"]);
    let new = start("new");
    ready(&new).await;
    // Both work now, and a replica that still starts with the old password does too.
    ready(&start("old")).await;
    cli("new", &["ACL", "SETUSER", "default", "<old"]);
    cli("new", &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    ready(&start("new")).await;
    let late = start("old");
    let refused = until("a refusal that names the setting", async || {
        let (status, problem) = late.health().await?;
        let detail = problem["detail"].as_str()?.to_owned();
        (status == StatusCode::SERVICE_UNAVAILABLE && detail.starts_with("REDIS_URL: ")).then_some(detail)
    })
    .await;
    assert!(refused.contains("Password authentication failed"), "{refused}");
}

/// "Upgrade without a dropped request": a new revision of `predict` while clients ask, and one of `train-shard` while a job
/// is under way.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_drops_no_request_and_no_job() {
    let folder = tempfile::tempdir().unwrap();
    let manifests = folder.path().join("k8s");
    copy(&workspace().join("k8s"), &manifests);
    // A revision that nobody asks any more ends after the autoscaler's window: here after 3 s instead of 60.
    let options = UpOptions { watched: Some(manifests.clone()), fast_time: Some(20.0), ..UpOptions::default() };
    let up = Arc::new(Up::start(options));
    up.request("first", &small("Upgraded", 1)).await;
    assert_eq!(up.job_end("first").await.state, JobState::Succeeded);
    up.served("Upgraded", "1").await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS).map(|_| tokio::spawn(ask(Arc::clone(&up), Arc::clone(&stop)))).collect();
    up.request("second", &crate::jobs::lengthy("Other")).await;
    up.job_when("second", "has a shard", |job| job.shards_trained() > 0).await;
    for function in ["predict", "train-shard", "aggregate", "register"] {
        let file = manifests.join(format!("functions/{function}.yaml"));
        let text = fs::read_to_string(&file).unwrap();
        let release = "      annotations:\n        example.com/release: \"2\"\n";
        assert_eq!(text.matches("      annotations:\n").count(), 1, "{function}");
        // In one go: a manifest that is seen half written would be another one.
        let changed = folder.path().join("changed.yaml");
        fs::write(&changed, text.replace("      annotations:\n", release)).unwrap();
        fs::rename(&changed, &file).unwrap();
    }
    // Both revisions have served when the first one is gone.
    until("the old revision of predict is gone", async || {
        let gone =
            |event: &serde_json::Value| event["replica"].as_str().is_some_and(|name| name.starts_with("predict-00001"));
        up.reported("replica-stopped", Some("predict")).iter().any(gone).then_some(())
    })
    .await;
    let job = up.job_end("second").await;
    assert_eq!(job.state, JobState::Succeeded, "{:?}", job.failure);
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        let answers = client.await.unwrap();
        assert!(answers > 10, "{answers} answers show little");
    }
}

/// Asks until it is told to stop; returns how often it was answered.
async fn ask(up: Arc<Up>, stop: Arc<AtomicBool>) -> usize {
    let row = json!([one_to_twenty()]);
    let mut answers = 0;
    while !stop.load(Ordering::Relaxed) {
        let answer = up.predict(Some("Upgraded"), &row).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answers += 1;
    }
    answers
}

/// Copies a folder to where there is none.
pub(crate) fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg(from).arg(to));
}

/// Runs a program that has to succeed; returns what it prints.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (said, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && !said.starts_with("(error)"), "{command:?}: {said}{error}");
    said.into_owned()
}
