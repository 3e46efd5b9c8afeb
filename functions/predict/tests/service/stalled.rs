//! A store that gives out one model slowly.

use std::fs::File;

use http::StatusCode;
use regrove_events::event::{Artifact, ModelLoaded};
use regrove_events::{Event, SwitchedBy};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use serde_json::json;

use crate::stage::{Kind, NAME, Stage, model, pause};

/// An artifact that whoever reads it waits for: a pipe in the place of its file. It is empty, so its length is right.
fn stalled(stage: &Stage) -> (Artifact, std::path::PathBuf) {
    let artifact = Artifact { sha256: "0".repeat(64), bytes: 0 };
    let folder = stage.home.path().join("artifacts/sha256/00");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(&artifact.sha256);
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    (artifact, path)
}

/// The pipe's other end, once somebody reads; who reads waits until it is dropped.
async fn until_read(path: &std::path::Path) -> File {
    loop {
        match open(path, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty()) {
            Ok(end) => return File::from(end),
            Err(rustix::io::Errno::NXIO) => pause().await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_model_that_comes_slowly_holds_up_no_other() {
    let stage = Stage::empty();
    for name in [NAME, "Known", "New"] {
        stage.load(name, "1", model(Kind::Numbers, 1).0, None).await;
    }
    stage.until_version(NAME, "1").await;
    stage.until_version("Known", "1").await;
    let (artifact, path) = stalled(&stage);
    let slow = ModelLoaded::plain(NAME, "2", artifact, SwitchedBy::Request);
    stage.record(NAME, Event::ModelLoaded(slow)).await;
    let held = until_read(&path).await;

    let others = async {
        stage.load("Known", "2", model(Kind::Numbers, 2).0, None).await;
        stage.until_version("Known", "2").await;
        stage.json("/models/New/predict", &json!({"features": [[1, 2, 3]]})).await
    };
    let deadline = std::time::Duration::from_mins(1);
    let reply = tokio::time::timeout(deadline, others).await.expect("the others do not wait");
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let reply = stage.json("/predict", &json!({"features": [[1, 2, 3]]})).await;
    assert_eq!(reply.json()["model_version"], "1", "the old one answers meanwhile");

    drop(held);
    while stage.metric(&format!("regrove_model_refused_total{{model=\"{NAME}\",version=\"2\"}}")).await.is_none() {
        pause().await;
    }
    stage.load(NAME, "3", model(Kind::Numbers, 3).0, None).await;
    stage.until_version(NAME, "3").await;
}
