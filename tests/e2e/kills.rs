//! SIGKILL at random points of a job, of the functions and of the runtime itself: the job completes as if nothing had
//! happened, and nothing exists twice.

use std::time::{Duration, Instant};

use rand_mt::Mt;
use regrove_events::{Job, JobState};
use regrove_mlflow::RunStatus;
use regrove_test_support::{MlflowServer, RedisServer};

use crate::jobs::lengthy;
use crate::polling::seed;
use crate::record;
use crate::up::{Up, UpOptions};

/// Jobs with kills on the embedded stores.
const JOBS: u32 = 10;
/// Jobs with kills on real ones, where each takes longer.
const JOBS_ON_SERVERS: u32 = 4;
/// How many times as many jobs are run until that many kills have hit something.
const JOBS_MAX_FACTOR: u32 = 3;
/// Most kills in one job.
const KILLS_MAX: u32 = 3;
/// Who is killed.
const VICTIMS: [&str; 4] = ["train-shard", "aggregate", "register", "runtime"];
/// Time between two looks for a victim that is not there yet.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_job_makes_what_an_undisturbed_one_makes() {
    let up = Up::start(UpOptions::default());
    disturb(up, JOBS, 1_123).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_real_redis_and_a_real_mlflow_too() {
    let redis = RedisServer::start().unwrap();
    let mlflow = MlflowServer::start().unwrap();
    let up = Up::start(UpOptions { redis: Some(redis.url()), mlflow: Some(mlflow.uri()), ..UpOptions::default() });
    disturb(up, JOBS_ON_SERVERS, 2_606).await;
}

async fn disturb(mut up: Up, jobs: u32, own_seed: u32) {
    let mut luck = Mt::new(seed(own_seed));
    let started = Instant::now();
    up.request("undisturbed", &lengthy("Killed")).await;
    let expected = up.job_end("undisturbed").await;
    check(&up, "undisturbed", &expected, &expected).await;
    let length = started.elapsed();
    eprintln!("undisturbed: {} ms", length.as_millis());
    let (mut hits, mut number) = (0, 0);
    // Jobs that are over before anybody kills them, as on a machine that was slower a while ago, are made up for.
    while number < jobs || (hits < jobs && number < JOBS_MAX_FACTOR * jobs) {
        let id = format!("killed-{number}");
        up.request(&id, &lengthy("Killed")).await;
        let asked = Instant::now();
        let kills = 1 + luck.next_u32() % KILLS_MAX;
        let mut moments: Vec<Duration> = (0..kills).map(|_| length.mul_f64(share(&mut luck))).collect();
        moments.sort();
        for moment in moments {
            // The point of the job is what is random, so it is chosen by the clock.
            tokio::time::sleep(moment.saturating_sub(asked.elapsed())).await;
            let victim = VICTIMS[luck.next_u32() as usize % VICTIMS.len()];
            let hit = kill(&mut up, victim, &id).await;
            eprintln!(
                "{id}: {victim} at {} ms: {}",
                asked.elapsed().as_millis(),
                if hit { "killed" } else { "not there" }
            );
            hits += u32::from(hit);
        }
        let job = up.job_end(&id).await;
        check(&up, &id, &job, &expected).await;
        number += 1;
    }
    assert!(hits >= jobs, "only {hits} kills hit anything");
    let versions = record::versions(&up.tracking_uri(), "Killed").await;
    assert_eq!(versions.len(), number as usize + 1, "one version per job");
    let latest = versions.iter().map(|version| version.version).max().unwrap();
    up.served("Killed", &latest.to_string()).await;
}

/// Between 0 and 1.
fn share(luck: &mut Mt) -> f64 {
    f64::from(luck.next_u32()) / f64::from(u32::MAX)
}

/// Kills a function's processes, as soon as there are any, or the runtime. `false` when the job ended before.
async fn kill(up: &mut Up, victim: &str, job: &str) -> bool {
    if victim == "runtime" {
        up.kill();
        up.run();
        return true;
    }
    loop {
        let killed = up.functions().iter().filter(|process| process.name == victim && process.kill()).count();
        if killed > 0 {
            return true;
        }
        if up.job(job).await.is_some_and(|job| job.state.is_terminal()) {
            return false;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// The job has one run and one version, with the bytes of an undisturbed one.
async fn check(up: &Up, id: &str, job: &Job, expected: &Job) {
    assert_eq!(job.state, JobState::Succeeded, "{id}: {:?}", job.failure);
    let (model, same) = (job.model.as_ref().unwrap(), expected.model.as_ref().unwrap());
    assert_eq!(model.model, same.model, "{id}");
    assert_eq!(model.onnx, same.onnx, "{id}");
    assert_eq!(model.metrics, same.metrics, "{id}");
    let registered = job.registered.as_ref().unwrap();
    assert_eq!(registered.model, same.model, "{id}");
    let uri = up.tracking_uri();
    let runs = record::runs(&uri, id).await;
    assert_eq!(runs.len(), 1, "{id}: {runs:?}");
    assert_eq!(runs[0].info.run_id, registered.run_id, "{id}");
    assert_eq!(runs[0].info.status, RunStatus::Finished, "{id}");
    let versions = record::versions_of_job(&uri, "Killed", id).await;
    assert_eq!(versions.len(), 1, "{id}: {versions:?}");
    assert_eq!(versions[0].version.to_string(), registered.version, "{id}");
    assert_eq!(versions[0].tag("regrove.sha256"), Some(same.model.sha256.as_str()), "{id}");
}
