//! Redis forgets artifacts after some days; what is served is fetched from MLflow again.

use http::StatusCode;
use regrove_events::SwitchedBy;
use regrove_events::event::{Artifact, ModelLoaded};
use serde_json::json;

use crate::world::World;

/// What predict reads of a version.
fn artifacts(loaded: &ModelLoaded) -> [Artifact; 2] {
    [loaded.model.clone(), loaded.serving.clone().unwrap()]
}

async fn there(world: &World, artifacts: &[Artifact; 2]) -> [bool; 2] {
    let [model, serving] = artifacts.each_ref().map(|artifact| world.control.artifacts.contains(artifact));
    [model.await.unwrap(), serving.await.unwrap()]
}

#[tokio::test]
async fn whatever_is_in_service_and_whatever_is_gone_back_to_is_fetched_again() {
    let mut world = World::new().await;
    let mut served = Vec::new();
    for number in 1..=3_u32 {
        world.train(&format!("job-{number}"), number).await;
        served.push(artifacts(&world.serving("Simulated").await.current.unwrap()));
    }
    let canary = json!({"canary": {"version": 1, "percent": 10}});
    let (status, answer) = world.ask("/model/traffic", &canary).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    std::fs::remove_dir_all(world.home.path().join("state/artifacts")).unwrap();

    assert_eq!(world.tick().await, StatusCode::ACCEPTED);
    assert_eq!(there(&world, &served[2]).await, [true, true], "the version in service");
    assert_eq!(there(&world, &served[0]).await, [true, true], "the canary");
    assert_eq!(there(&world, &served[1]).await, [false, false], "nobody needs it");

    let (status, answer) = world.ask("/model/rollback", &json!({})).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let current = world.serving("Simulated").await.current.unwrap();
    assert_eq!((current.version.as_str(), current.by), ("2", SwitchedBy::Rollback));
    assert_eq!(there(&world, &served[1]).await, [true, true], "gone back to");
}
