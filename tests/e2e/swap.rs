//! Switching the served version drops no request and mixes no answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Method, StatusCode};
use regrove_events::JobState;
use serde_json::{Value, json};

use crate::jobs::{one_to_twenty, small};
use crate::up::{Up, UpOptions};

const CLIENTS: usize = 4;
const SWITCHES: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn switching_versions_drops_no_request() {
    let up = Arc::new(Up::start(UpOptions::default()));
    let row = json!([one_to_twenty()]);
    let mut expected = BTreeMap::new();
    for version in ["1", "2"] {
        let id = format!("job-{version}");
        up.request(&id, &small("Swapped", version.parse().unwrap())).await;
        let job = up.job_end(&id).await;
        assert_eq!(job.state, JobState::Succeeded, "{:?}", job.failure);
        assert_eq!(job.registered.unwrap().version, version);
        up.served("Swapped", version).await;
        let answer = up.predict(Some("Swapped"), &row).await;
        expected.insert(version.to_owned(), answer.json["probabilities"].clone());
    }
    assert_ne!(expected["1"], expected["2"], "two versions that say the same show nothing");

    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| tokio::spawn(ask(Arc::clone(&up), row.clone(), expected.clone(), Arc::clone(&stop))))
        .collect();
    for switch in 0..SWITCHES {
        let version = if switch % 2 == 0 { "1" } else { "2" };
        let body = json!({"name": "Swapped", "version": version});
        let answer = up.call("load-model", Method::POST, "/model/load", Some(&body)).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(answer.json["model_info"]["version"], version);
        up.served("Swapped", version).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for client in clients {
        for (version, count) in client.await.unwrap() {
            *seen.entry(version).or_default() += count;
        }
    }
    eprintln!("answers by version: {seen:?}");
    assert!(seen.len() == 2 && seen.values().all(|&count| count >= SWITCHES), "{seen:?}");
    let shown = up.regrove(&["model", "show", "Swapped", "--json"]).await.ok().json();
    // The two registrations, then the switches that were asked for.
    assert_eq!(shown["switches"].as_array().unwrap().len(), 2 + SWITCHES);
    assert_eq!(up.reported("replica-starting", Some("predict")).len(), 1, "a switch needs no other process");
}

/// Asks until it is told to stop; returns how often each version answered.
async fn ask(
    up: Arc<Up>,
    row: Value,
    expected: BTreeMap<String, Value>,
    stop: Arc<AtomicBool>,
) -> BTreeMap<String, usize> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    while !stop.load(Ordering::Relaxed) {
        let answer = up.predict(Some("Swapped"), &row).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let version = answer.json["model_version"].as_str().unwrap().to_owned();
        assert_eq!(answer.json["probabilities"], expected[&version], "the answer is not that of version {version}");
        *seen.entry(version).or_default() += 1;
    }
    seen
}
