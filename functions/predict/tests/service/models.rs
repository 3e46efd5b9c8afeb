//! Which version answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use http::{Request, StatusCode};
use regrove_events::Event;
use regrove_events::event::{Canary, Example, ModelLoaded, ServedVersion, TrafficChanged};
use regrove_forest::Model;
use serde_json::json;

use crate::stage::{Kind, NAME, Stage, artifact, model, outputs, pause};

fn row() -> String {
    json!({"features": [[1.5, -2.0, 3.25]]}).to_string()
}

async fn version(stage: &Stage, session: Option<&str>) -> String {
    let mut request = Request::post("/predict").header("content-type", "application/json");
    if let Some(session) = session {
        request = request.header("regrove-session", session);
    }
    let reply = stage.ask(request.body(Body::from(row())).unwrap()).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    reply.json()["model_version"].as_str().unwrap().to_owned()
}

async fn beside(stage: &Stage, number: &str, seed: u32) -> ServedVersion {
    ServedVersion::from(&stage.loaded(NAME, number, model(Kind::Numbers, seed).0, None).await)
}

fn change(canary: Option<(ServedVersion, u8)>, shadow: Option<ServedVersion>) -> TrafficChanged {
    let canary = canary.map(|(version, percent)| Canary { version, percent });
    TrafficChanged { name: NAME.to_owned(), canary, shadow, actor: None, reason: None }
}

/// Waits until the replica follows a change: the versions in service say so.
async fn until_versions(stage: &Stage, expected: &[&str]) {
    while stage.get(&format!("/v2/models/{NAME}")).await.json()["versions"] != json!(expected) {
        pause().await;
    }
}

#[tokio::test]
async fn a_canary_gets_its_exact_share_and_keeps_its_sessions() {
    let (stage, _) = Stage::of(Kind::Numbers).await;
    stage.until_version(NAME, "1").await;
    let second = beside(&stage, "2", 2).await;
    stage.traffic(change(Some((second.clone(), 10)), None)).await;
    until_versions(&stage, &["1", "2"]).await;
    let mut canary = 0;
    for _ in 0..100 {
        canary += u32::from(version(&stage, None).await == "2");
    }
    assert_eq!(canary, 10);
    let mut at_ten = Vec::new();
    for session in 0..100 {
        let name = format!("session-{session}");
        let first = version(&stage, Some(&name)).await;
        assert_eq!(version(&stage, Some(&name)).await, first, "sticky");
        at_ten.push(first);
    }
    let share = at_ten.iter().filter(|version| *version == "2").count();
    assert!((1..=30).contains(&share), "about a tenth of 100: {share}");
    stage.traffic(change(Some((second, 50)), None)).await;
    // The table has the new share when a session of the old remainder moves.
    loop {
        let mut moved = 0;
        for (session, before) in at_ten.iter().enumerate() {
            let now = version(&stage, Some(&format!("session-{session}"))).await;
            assert!(before != "2" || now == "2", "a larger share keeps the sessions it had");
            moved += usize::from(*before == "1" && now == "2");
        }
        if moved > 0 {
            break;
        }
        pause().await;
    }
    stage.traffic(change(None, None)).await;
    until_versions(&stage, &["1"]).await;
    assert_eq!(version(&stage, None).await, "1");
}

/// A session has one version whatever protocol it speaks.
#[tokio::test]
async fn every_protocol_keeps_its_sessions() {
    let (stage, first) = Stage::of(Kind::Numbers).await;
    stage.until_version(NAME, "1").await;
    let second = beside(&stage, "2", 2).await;
    stage.traffic(change(Some((second, 50)), None)).await;
    until_versions(&stage, &["1", "2"]).await;
    let said = |model: &Model| outputs(model, &[[1.5, -2.0, 3.25]]);
    let (first, second) = (said(&first), said(&model(Kind::Numbers, 2).1));
    assert_ne!(first, second);
    let ask = async |path: &str, body: &serde_json::Value, session: &str| {
        let request = Request::post(path).header("content-type", "application/json").header("regrove-session", session);
        stage.ask(request.body(Body::from(body.to_string())).unwrap()).await.json()
    };
    let tensor = json!({"name": "x", "shape": [1, 3], "datatype": "FP64", "data": [1.5, -2.0, 3.25]});
    let mut canaries = 0;
    for session in (0..20).map(|session| format!("session-{session}")) {
        let version = version(&stage, Some(&session)).await;
        let expected = if version == "2" { &second } else { &first };
        canaries += usize::from(version == "2");
        let infer = ask(&format!("/v2/models/{NAME}/infer"), &json!({"inputs": [tensor]}), &session).await;
        assert_eq!((&infer["model_version"], &infer["outputs"][1]["data"]), (&json!(version), &json!(expected)));
        let scores = ask("/invocations", &json!({"instances": [[1.5, -2.0, 3.25]]}), &session).await;
        let probabilities = [0, 1, 5].map(|class| scores["predictions"][0][format!("probability_{class}")].clone());
        assert_eq!(json!(probabilities), json!(expected), "{session}");
    }
    assert!((1..20).contains(&canaries), "both versions answer: {canaries}");
}

#[tokio::test]
async fn a_shadow_is_compared_and_never_answers() {
    let (stage, _) = Stage::of(Kind::Numbers).await;
    let compared = |outcome: &str| {
        format!("regrove_shadow_compared_total{{model=\"{NAME}\",version=\"2\",outcome=\"{outcome}\"}}")
    };
    for (seed, outcome) in [(1, "equal"), (99, "different")] {
        let shadow = beside(&stage, "2", seed).await;
        stage.traffic(change(None, Some(shadow))).await;
        while stage.metric(&compared(outcome)).await.unwrap_or_default() < 3.0 {
            assert_eq!(version(&stage, None).await, "1");
            pause().await;
        }
    }
    assert_eq!(stage.metric(&compared("failed")).await, None);
}

/// What is compared is the served version: a canary's answers are not.
#[tokio::test]
async fn a_shadow_hears_nothing_of_the_canary() {
    let (stage, _) = Stage::of(Kind::Numbers).await;
    stage.until_version(NAME, "1").await;
    let canary = (beside(&stage, "2", 99).await, 50);
    let shadow = beside(&stage, "3", 1).await;
    stage.traffic(change(Some(canary), Some(shadow))).await;
    until_versions(&stage, &["1", "2", "3"]).await;
    let (mut by_served, mut by_canary) = (0.0, 0);
    while by_canary < 4 {
        match version(&stage, None).await.as_str() {
            "1" => by_served += 1.0,
            _ => by_canary += 1,
        }
    }
    let compared = async |outcome: &str| {
        let line = format!("regrove_shadow_compared_total{{model=\"{NAME}\",version=\"3\",outcome=\"{outcome}\"}}");
        stage.metric(&line).await.unwrap_or_default()
    };
    let all = async || {
        let mut all = 0.0;
        for outcome in ["equal", "skipped", "failed", "different"] {
            all += compared(outcome).await;
        }
        all
    };
    while all().await < by_served {
        pause().await;
    }
    // Everything that is under way has been heard of, for nothing more is asked.
    assert_eq!(all().await.to_bits(), by_served.to_bits());
    assert_eq!(compared("different").await.to_bits(), 0, "the canary grew from another seed");
}

/// The stage has one turn to compute: as long as another has it, small requests are answered and not compared.
#[tokio::test]
async fn a_shadow_computes_only_in_a_turn_that_is_free() {
    let (stage, _) = Stage::of(Kind::Numbers).await;
    stage.until_version(NAME, "1").await;
    let shadow = beside(&stage, "2", 1).await;
    stage.traffic(change(None, Some(shadow))).await;
    until_versions(&stage, &["1", "2"]).await;
    let compared = async |outcome: &str| {
        let line = format!("regrove_shadow_compared_total{{model=\"{NAME}\",version=\"2\",outcome=\"{outcome}\"}}");
        stage.metric(&line).await.unwrap_or_default()
    };
    let turn = stage.gate.turn().await;
    for _ in 0..3 {
        assert_eq!(version(&stage, None).await, "1");
    }
    while compared("skipped").await + compared("equal").await < 3.0 {
        pause().await;
    }
    assert_eq!((compared("skipped").await.to_bits(), compared("equal").await.to_bits()), (3_f64.to_bits(), 0));
    drop(turn);
    assert_eq!(version(&stage, None).await, "1");
    while compared("equal").await + compared("skipped").await < 4.0 {
        pause().await;
    }
    assert_eq!(compared("equal").await.to_bits(), 1_f64.to_bits(), "a free turn is taken");
}

#[tokio::test]
async fn a_version_that_fails_its_self_check_is_not_served() {
    let (stage, _) = Stage::of(Kind::Numbers).await;
    stage.until_version(NAME, "1").await;
    let (bytes, second) = model(Kind::Numbers, 2);
    let said = outputs(&second, &[[1.5, -2.0, 3.25]]);
    let example = |output: Vec<f64>| Some(Example { input: vec![1.5, -2.0, 3.25], output });
    let mut wrong = said.clone();
    wrong[0] += 0.125;
    stage.load(NAME, "2", bytes.clone(), example(wrong)).await;
    let refused = format!("regrove_model_refused_total{{model=\"{NAME}\",version=\"2\"}}");
    while stage.metric(&refused).await.is_none() {
        pause().await;
    }
    assert_eq!(version(&stage, None).await, "1", "the old one stays");
    // A replica that starts now comes to the same.
    let late = Stage::empty();
    for number in ["1", "2"] {
        let output =
            if number == "2" { vec![0.0; 3] } else { outputs(&model(Kind::Numbers, 1).1, &[[1.5, -2.0, 3.25]]) };
        late.load(NAME, number, model(Kind::Numbers, number.parse().unwrap()).0, example(output)).await;
    }
    assert_eq!(version(&late, None).await, "1");
    stage.load(NAME, "3", bytes, example(said)).await;
    stage.until_version(NAME, "3").await;
}

#[tokio::test]
async fn the_smaller_file_is_served_and_the_whole_one_without_it() {
    let (whole, model) = model(Kind::Numbers, 1);
    let small = model.to_forest().unwrap().to_serving_bytes().unwrap();
    assert!(small.len() * 2 < whole.len());
    let another = crate::stage::model(Kind::Numbers, 2).1.to_forest().unwrap().to_serving_bytes().unwrap();
    let expected = outputs(&model, &[[1.5, -2.0, 3.25]]);
    for (whole_is, small_is) in [
        ("there", "there"),
        ("gone", "there"),
        ("there", "gone"),
        ("there", "cut"),
        ("there", "flipped"),
        ("there", "another's"),
        ("gone", "gone"),
    ] {
        let stage = Stage::empty();
        let small = if small_is == "another's" { &another } else { &small };
        let serving = Some(stage.control.artifacts.put(small.clone()).await.unwrap());
        let example = Some(Example { input: vec![1.5, -2.0, 3.25], output: expected.clone() });
        let loaded = stage.loaded(NAME, "1", whole.clone(), example).await;
        stage.record(NAME, Event::ModelLoaded(ModelLoaded { serving, ..loaded })).await;
        for (bytes, state) in [(&whole, whole_is), (small, small_is)] {
            let file = artifact(&stage, bytes);
            match state {
                "gone" => std::fs::remove_file(file).unwrap(),
                "cut" => std::fs::write(file, &bytes[..bytes.len() - 1]).unwrap(),
                "flipped" => {
                    let mut flipped = bytes.clone();
                    flipped[bytes.len() / 2] ^= 1;
                    std::fs::write(file, flipped).unwrap();
                }
                _ => {}
            }
        }
        let reply = stage.post("/predict", "application/json", row()).await;
        if (whole_is, small_is) == ("gone", "gone") {
            reply.is_problem(503, "model-not-loaded", "can be served");
            continue;
        }
        assert_eq!(reply.status, StatusCode::OK, "{whole_is} {small_is}: {reply:?}");
        assert_eq!(reply.json()["probabilities"][0], serde_json::json!(expected), "{whole_is} {small_is}");
    }
}

#[tokio::test]
async fn damaged_models_are_not_served() {
    let (bytes, _) = model(Kind::Numbers, 1);
    for damaged in
        [bytes[..bytes.len() / 2].to_vec(), bytes[..40].to_vec(), Vec::new(), b"<html>not a model</html>".to_vec()]
    {
        let stage = Stage::empty();
        stage.load(NAME, "1", damaged, None).await;
        let reply = stage.post("/predict", "application/json", row()).await;
        reply.is_problem(503, "model-not-loaded", "can be served");
    }
    // A byte that changed in the store after it was put there.
    let stage = Stage::empty();
    stage.load(NAME, "1", bytes.clone(), None).await;
    let file = artifact(&stage, &bytes);
    for at in [0, bytes.len() / 2, bytes.len() - 1] {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        std::fs::write(&file, flipped).unwrap();
        let reply = stage.post("/predict", "application/json", row()).await;
        reply.is_problem(503, "model-not-loaded", "can be served");
    }
}

#[tokio::test]
async fn models_beyond_the_limit_leave_memory_and_come_back() {
    let (bytes, _) = model(Kind::Numbers, 1);
    let stage = Stage::with(bytes.len() as u64 * 2 + 10);
    for name in ["A", "B", "C", NAME] {
        stage.load(name, "1", bytes.clone(), None).await;
        stage.until_version(name, "1").await;
    }
    assert!(stage.metric("regrove_models_loaded").await.unwrap() <= 2.0);
    for name in ["A", "B", "C", "A"] {
        let reply = stage.post(&format!("/models/{name}/predict"), "application/json", row()).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    }
    assert!(stage.metric("regrove_models_loaded").await.unwrap() <= 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_swaps_under_load_lose_no_request_and_mix_no_answers() {
    let stage = Arc::new(Stage::empty());
    let models: Vec<_> = (1..=2).map(|seed| model(Kind::Numbers, seed)).collect();
    let expected: Vec<_> = models.iter().map(|(_, model)| json!([outputs(model, &[[1.5, -2.0, 3.25]])])).collect();
    assert_ne!(expected[0], expected[1]);
    stage.load(NAME, "1", models[0].0.clone(), None).await;
    stage.until_version(NAME, "1").await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..2)
        .map(|_| {
            let (stage, stop, expected) = (Arc::clone(&stage), Arc::clone(&stop), expected.clone());
            tokio::spawn(async move {
                let mut answers = 0_u32;
                while !stop.load(Ordering::Relaxed) {
                    let reply = stage.post("/predict", "application/json", row()).await;
                    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
                    let json = reply.json();
                    let at = usize::from(json["model_version"] == "2");
                    assert_eq!(json["probabilities"], expected[at]);
                    answers += 1;
                    tokio::task::yield_now().await;
                }
                answers
            })
        })
        .collect();
    for switch in 0..100 {
        let at = (switch + 1) % 2;
        let number = (at + 1).to_string();
        stage.load(NAME, &number, models[at].0.clone(), None).await;
        stage.until_version(NAME, &number).await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        assert!(client.await.unwrap() > 0);
    }
    assert_eq!(stage.switches(NAME).await, 101);
    assert_eq!(stage.metric(&format!("regrove_model_swaps_total{{model=\"{NAME}\"}}")).await, Some(100.0));
}
