//! A registered model whose file is not what it was when it was registered.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::StatusCode;
use regrove_forest::Model;
use regrove_mlflow::model_dir::NATIVE_FILE;
use serde_json::json;

use crate::request;
use crate::world::{Weather, World};

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn a_file_that_is_cut_or_changed_is_not_served() {
    let mut world = World::new().await;
    world.request("job-1", &request());
    world.settle(Weather::Fair).await;
    let before = world.serving("Simulated").await;
    let artifacts = world.home.path().join("state/artifacts");
    let registered = files(&world.home.path().join("record"));
    let mut registered = registered.iter().filter(|path| path.ends_with(NATIVE_FILE));
    let file = registered.next().unwrap();
    assert_eq!(registered.next(), None);
    let whole = std::fs::read(file).unwrap();
    let served = before.current.clone().unwrap().serving.unwrap();
    let small = Model::from_bytes(Arc::new(whole.clone())).unwrap().to_forest().unwrap().to_serving_bytes().unwrap();
    assert_eq!(
        world.control.artifacts.get(&served).await.unwrap(),
        small,
        "what predict reads, made of the registered file"
    );
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let half = whole[..whole.len() / 2].to_vec();
    let page = b"<!doctype html><title>Log in</title>".to_vec();
    for damaged in [half, Vec::new(), page, flipped(0), flipped(whole.len() / 2), flipped(whole.len() - 1)] {
        std::fs::write(file, damaged).unwrap();
        // Elsewhere there is no copy of it.
        std::fs::remove_dir_all(&artifacts).unwrap();
        let (status, problem) = world.load(&json!({"version": 1})).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
        assert_eq!(problem["type"], "urn:regrove:problem:model-checksum", "{problem}");
    }
    assert_eq!(world.serving("Simulated").await, before);
    std::fs::write(file, whole).unwrap();
    std::fs::remove_dir_all(&artifacts).unwrap();
    let (status, answer) = world.load(&json!({"version": 1})).await;
    assert_eq!(status, StatusCode::OK, "the same file as it was: {answer}");
}

/// MLflow has the right bytes: whoever asks for a version again has the store mended.
#[tokio::test]
async fn what_is_damaged_in_the_store_is_fetched_again() {
    let mut world = World::new().await;
    world.train("job-1", 1).await;
    world.train("job-2", 2).await;
    let artifacts = world.home.path().join("state/artifacts");
    let ways = [
        ("/model/load", json!({"version": 2}), "2"),
        ("/model/rollback", json!({}), "1"),
        ("/model/load", json!({}), "2"),
    ];
    for (path, wish, version) in ways {
        let known = world.serving("Simulated").await.known[version].clone();
        for artifact in [known.model, known.serving.unwrap()] {
            let file = files(&artifacts).into_iter().find(|file| file.ends_with(&artifact.sha256)).unwrap();
            let mut flipped = std::fs::read(&file).unwrap();
            let middle = flipped.len() / 2;
            flipped[middle] ^= 1;
            std::fs::write(&file, flipped).unwrap();
            let (status, answer) = world.ask(path, &wish).await;
            assert_eq!(status, StatusCode::OK, "{path}: {answer}");
            assert_eq!(answer["model_info"]["version"], version);
            world.control.artifacts.get(&artifact).await.unwrap();
            if path == "/model/rollback" {
                // To go back from once more.
                let (status, answer) = world.load(&json!({"version": 2})).await;
                assert_eq!(status, StatusCode::OK, "{answer}");
            }
        }
    }
}

/// Neither store nor MLflow has the file: who asks is told, and nothing stands beside what is served.
#[tokio::test]
async fn a_canary_or_shadow_whose_file_is_gone_everywhere_is_refused() {
    let mut world = World::new().await;
    world.train("job-1", 1).await;
    world.train("job-2", 2).await;
    let before = world.serving("Simulated").await;
    for folder in ["record", "state/artifacts"] {
        for file in files(&world.home.path().join(folder)) {
            if folder != "record" || file.ends_with(NATIVE_FILE) {
                std::fs::remove_file(file).unwrap();
            }
        }
    }
    for wish in [json!({"canary": {"version": 1, "percent": 10}}), json!({"shadow": {"version": 1}})] {
        let (status, problem) = world.ask("/model/traffic", &wish).await;
        assert!(status.is_client_error(), "{status} {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(NATIVE_FILE), "{problem}");
    }
    assert_eq!(world.serving("Simulated").await, before);
}
