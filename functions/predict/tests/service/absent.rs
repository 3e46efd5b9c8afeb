//! What the pointer names and the store does not have, for now.

use http::StatusCode;
use regrove_events::Event;
use regrove_events::event::{Canary, Example, ModelLoaded, ServedVersion, TrafficChanged};
use regrove_predict::models::Models;
use serde_json::json;

use crate::stage::{Kind, NAME, Stage, artifact, model, outputs, pause};

/// A name that the replica does not open by itself.
const ASKED: &str = "Asked";

/// The metric that tells of a version that is named and not served.
fn not_served(name: &str, version: &str, role: &str) -> String {
    format!("regrove_model_not_served{{model=\"{name}\",version=\"{version}\",role=\"{role}\"}}")
}

async fn until_said(stage: &Stage, line: &str, value: Option<f64>) {
    while stage.metric(line).await != value {
        pause().await;
    }
}

async fn answers(stage: &Stage, name: &str, version: &str) {
    let body = json!({"features": [[1.5, -2.0, 3.25]]});
    let reply = stage.json(&format!("/models/{name}/predict"), &body).await;
    assert_eq!((reply.status, &reply.json()["model_version"]), (StatusCode::OK, &json!(version)), "{reply:?}");
}

/// Versions 1 and 3, the latter without its files; returns these.
async fn without_the_newest(stage: &Stage, name: &str) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    stage.load(name, "1", model(Kind::Numbers, 1).0, None).await;
    let (whole, third) = model(Kind::Numbers, 3);
    let small = third.to_forest().unwrap().to_serving_bytes().unwrap();
    let serving = Some(stage.control.artifacts.put(small.clone()).await.unwrap());
    let loaded = stage.loaded(name, "3", whole.clone(), None).await;
    let files = [whole, small].map(|bytes| (artifact(stage, &bytes), bytes));
    for (file, _) in &files {
        std::fs::remove_file(file).unwrap();
    }
    stage.record(name, Event::ModelLoaded(ModelLoaded { serving, ..loaded })).await;
    files.into()
}

fn put_back(files: &[(std::path::PathBuf, Vec<u8>)]) {
    for (file, bytes) in files {
        std::fs::write(file, bytes).unwrap();
    }
}

#[tokio::test]
async fn a_replica_that_starts_without_the_newest_serves_it_as_soon_as_it_is_back() {
    let stage = Stage::empty();
    let files = without_the_newest(&stage, ASKED).await;
    // The pointer's first state that this replica hears of.
    let models = Models::follow(stage.control.clone(), ASKED, 1 << 30);
    assert_eq!(models.get(ASKED, None).await.unwrap().served.version.version, "1", "the newest that is there");
    put_back(&files);
    while models.get(ASKED, None).await.unwrap().served.version.version != "3" {
        pause().await;
    }
}

#[tokio::test]
async fn a_name_that_is_first_asked_for_without_its_newest_version_is_no_other() {
    let stage = Stage::empty();
    let files = without_the_newest(&stage, ASKED).await;
    answers(&stage, ASKED, "1").await;
    assert_eq!(stage.metric(&not_served(ASKED, "3", "served")).await, Some(1.0));
    // Half of it is damaged: the other half will do.
    put_back(&files);
    std::fs::write(&files[1].0, b"damaged").unwrap();
    stage.until_version(ASKED, "3").await;
    assert_eq!(stage.metric(&not_served(ASKED, "3", "served")).await, None);
}

#[tokio::test]
async fn a_replica_that_runs_keeps_what_it_serves_until_the_newest_is_back() {
    let stage = Stage::empty();
    stage.load(NAME, "1", model(Kind::Numbers, 1).0, None).await;
    stage.until_version(NAME, "1").await;
    let files = without_the_newest(&stage, NAME).await;
    until_said(&stage, &not_served(NAME, "3", "served"), Some(1.0)).await;
    answers(&stage, NAME, "1").await;
    put_back(&files);
    stage.until_version(NAME, "3").await;
    until_said(&stage, &not_served(NAME, "3", "served"), None).await;
}

#[tokio::test]
async fn a_pointer_of_which_nothing_is_there_is_served_as_soon_as_it_is() {
    let stage = Stage::empty();
    let (bytes, _) = model(Kind::Numbers, 1);
    let loaded = stage.loaded(NAME, "1", bytes.clone(), None).await;
    let file = artifact(&stage, &bytes);
    std::fs::remove_file(&file).unwrap();
    stage.record(NAME, Event::ModelLoaded(loaded)).await;
    let refused = format!("regrove_model_refused_total{{model=\"{NAME}\",version=\"1\"}}");
    // Only the replica itself looks: nobody asks for the model.
    while stage.metric(&refused).await.unwrap_or_default() < 2.0 {
        pause().await;
    }
    std::fs::write(&file, bytes).unwrap();
    let in_service = format!("regrove_model_in_service{{model=\"{NAME}\",version=\"1\",role=\"served\"");
    loop {
        let text = String::from_utf8(stage.get("/metrics").await.body).unwrap();
        if text.contains(&in_service) {
            break;
        }
        pause().await;
    }
}

#[tokio::test]
async fn a_canary_and_a_shadow_that_are_not_there_are_told_and_cost_no_answer() {
    let (stage, _) = Stage::of(Kind::Numbers).await;
    stage.until_version(NAME, "1").await;
    let (bytes, _) = model(Kind::Numbers, 2);
    let beside = ServedVersion::from(&stage.loaded(NAME, "2", bytes.clone(), None).await);
    let file = artifact(&stage, &bytes);
    std::fs::remove_file(&file).unwrap();
    let canary = Some(Canary { version: beside.clone(), percent: 50 });
    let change = TrafficChanged { name: NAME.to_owned(), canary, shadow: Some(beside), actor: None, reason: None };
    stage.traffic(change).await;
    for role in ["canary", "shadow"] {
        until_said(&stage, &not_served(NAME, "2", role), Some(1.0)).await;
    }
    assert_eq!(stage.metric(&not_served(NAME, "1", "served")).await, None);
    let versions = async || stage.get(&format!("/v2/models/{NAME}")).await.json()["versions"].clone();
    assert_eq!(versions().await, json!(["1"]));
    for _ in 0..4 {
        answers(&stage, NAME, "1").await;
    }
    // Asked for by its number it says what is missing.
    let reply = stage.get(&format!("/v2/models/{NAME}/versions/2/ready")).await;
    assert_ne!(reply.status, StatusCode::OK);
    std::fs::write(&file, bytes).unwrap();
    while versions().await != json!(["1", "2", "2"]) {
        pause().await;
    }
    for role in ["canary", "shadow"] {
        assert_eq!(stage.metric(&not_served(NAME, "2", role)).await, None);
    }
}

/// What is said of a version may change while its bytes stay: every replica goes by what was said last.
#[tokio::test]
async fn a_version_is_what_was_last_said_of_it() {
    let (stage, first) = Stage::of(Kind::Numbers).await;
    stage.until_version(NAME, "1").await;
    let (bytes, second) = model(Kind::Numbers, 2);
    let input = vec![1.5, -2.0, 3.25];
    let said = |model: &regrove_forest::Model| outputs(model, &[[1.5, -2.0, 3.25]]);
    let wrong = Example { input: input.clone(), output: said(&first) };
    let right = Example { input, output: said(&second) };
    stage.load(NAME, "2", bytes.clone(), Some(wrong)).await;
    until_said(&stage, &not_served(NAME, "2", "served"), Some(1.0)).await;
    stage.load(NAME, "3", model(Kind::Numbers, 3).0, None).await;
    stage.until_version(NAME, "3").await;
    stage.load(NAME, "2", bytes.clone(), Some(right.clone())).await;
    stage.until_version(NAME, "2").await;
    let loaded = stage.loaded(NAME, "2", bytes, Some(right)).await;
    let described = ModelLoaded { description: "mended".to_owned(), ..loaded };
    stage.record(NAME, Event::ModelLoaded(described)).await;
    while stage.get("/model/info").await.json()["model_info"]["description"] != "mended" {
        pause().await;
    }
}
