//! MLflow or Redis is away for ten seconds in the middle of a job: what needs it is tried again, nothing is lost, and
//! no process ends because of it.

use std::time::{Duration, Instant};

use regrove_events::{Job, JobState};
use regrove_mlflow::RunStatus;
use regrove_test_support::{MlflowServer, RedisServer};

use crate::jobs::{LENGTHY_SHARDS, lengthy};
use crate::record;
use crate::up::{Up, UpOptions};

/// How long the server is away, at least.
const AWAY: Duration = Duration::from_secs(10);
/// Processes of one function that a job and an outage may start: more would be a crash loop.
const STARTS_MAX: usize = 10;

/// Lets what is left of [`AWAY`] go by: that time is what the test is about.
async fn stay_away(since: Instant) {
    tokio::time::sleep(AWAY.saturating_sub(since.elapsed())).await;
}

async fn assert_nothing_lost(up: &Up, job: &str, ended: &Job, uri: &str) {
    assert_eq!(ended.state, JobState::Succeeded, "{:?}", ended.failure);
    let runs = record::runs(uri, job).await;
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert_eq!(runs[0].info.status, RunStatus::Finished);
    assert_eq!(runs[0].metric("shards_trained"), Some(f64::from(LENGTHY_SHARDS)), "a shard was not heard of");
    assert_eq!(record::versions(uri, "Away").await.len(), 1);
    up.served("Away", "1").await;
    let crashed = up.reported("replica-crashed", None);
    assert!(crashed.is_empty(), "{crashed:?}");
    for function in ["aggregate", "train-shard", "register", "load-model", "predict"] {
        let starts = up.reported("replica-starting", Some(function)).len();
        assert!((1..=STARTS_MAX).contains(&starts), "{function} was started {starts} times");
    }
    let dead = up.reported("event-dead", None);
    assert!(dead.is_empty(), "{dead:?}");
    // Some of it was done before, and the rest could only be done after.
    let first = ended.shards.values().filter_map(|shard| shard.trained_at).min().unwrap();
    let spanned = Duration::try_from(ended.registered_at.unwrap().duration_since(first)).unwrap();
    assert!(spanned >= AWAY, "the job was over within {spanned:?}: nothing was away from it");
}

#[tokio::test(flavor = "multi_thread")]
async fn mlflow_is_away_for_ten_seconds() {
    let mut mlflow = MlflowServer::start().unwrap();
    let up = Up::start(UpOptions { mlflow: Some(mlflow.uri()), ..UpOptions::default() });
    up.request("patient", &lengthy("Away")).await;
    up.job_when("patient", "has a shard", |job| job.shards_trained() > 0).await;
    mlflow.kill().unwrap();
    let since = Instant::now();
    let waiting = up.job_when("patient", "waits for MLflow", |job| job.model.is_some()).await;
    assert_eq!(waiting.state, JobState::Registering, "the forest does not wait for MLflow");
    stay_away(since).await;
    assert_eq!(up.job("patient").await.unwrap().state, JobState::Registering);
    mlflow.restart().unwrap();
    let ended = up.job_end("patient").await;
    assert_nothing_lost(&up, "patient", &ended, &mlflow.uri()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_away_for_ten_seconds() {
    let mut redis = RedisServer::start().unwrap();
    let up = Up::start(UpOptions { redis: Some(redis.url()), ..UpOptions::default() });
    up.request("patient", &lengthy("Away")).await;
    let before = up.job_when("patient", "has a shard", |job| job.shards_trained() > 0).await;
    assert!(!before.state.is_terminal(), "the job was too quick to be disturbed");
    redis.kill().unwrap();
    let since = Instant::now();
    stay_away(since).await;
    redis.restart().unwrap();
    let after = up.job_when("patient", "is there again", |_| true).await;
    assert!(after.shards_trained() >= before.shards_trained(), "Redis forgot what it had confirmed");
    let ended = up.job_end("patient").await;
    assert_nothing_lost(&up, "patient", &ended, &up.tracking_uri()).await;
    // A replica that was following the log when it went away follows it again.
    up.request("next", &lengthy("Away")).await;
    assert_eq!(up.job_end("next").await.state, JobState::Succeeded);
    up.served("Away", "2").await;
}
