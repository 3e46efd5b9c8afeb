//! The functions and the record in one process, under a broker that delivers as badly as it may: twice, late, in
//! reverse, with answers lost. Whatever it does, a job has one run, one version and the same bytes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod aliases;
mod bad_input;
mod damaged_models;
mod delivery;
mod early_stop;
mod forgotten_artifacts;
mod row_shards;
mod self_checks;
mod sweeps;
mod switches;
mod world;

use regrove_events::event::{DatasetRequest, ModelRequest, ShardBy, TrainRequested};
use serde_json::json;

/// A small job: 12 trees in 4 shards on 300 rows.
fn request() -> TrainRequested {
    let params = json!({"n_estimators": 12, "max_depth": 6, "random_state": 7});
    TrainRequested {
        dataset: DatasetRequest::new(
            "synthetic:make_classification?n_samples=300&n_features=8&n_informative=4&n_redundant=2&n_classes=3&random_state=3",
            "target",
        ),
        params: params.as_object().unwrap().clone(),
        shards: 4,
        shard_by: ShardBy::Trees,
        test_size: 0.25,
        model: ModelRequest { alias: Some("champion".to_owned()), ..ModelRequest::named("Simulated") },
        experiment: "simulation".to_owned(),
        objective: None,
        early_stop: None,
        sweep: None,
    }
}
