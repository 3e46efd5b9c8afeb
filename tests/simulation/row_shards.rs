//! Jobs whose shards divide the rows.

use regrove_events::event::{ShardBy, SweepRequested, TrainRequested};
use regrove_events::{Event, Job, JobState, ShardRequested};
use regrove_forest::datasets::Synthetic;
use regrove_forest::model_selection::train_test_split_stratified;
use regrove_forest::{Frame, Model, RandomForestParams, RowParts, fit, metrics};
use serde_json::json;

use crate::request;
use crate::world::{Weather, World};

fn by_rows(shards: u32) -> TrainRequested {
    TrainRequested { shards, shard_by: ShardBy::Rows, ..request() }
}

async fn outcome(wish: &TrainRequested, weather: Weather) -> (Job, World) {
    let mut world = World::new().await;
    world.request("job-1", wish);
    world.settle(weather).await;
    (world.job("job-1").await, world)
}

/// The whole data set of [`request`].
fn frame() -> Frame {
    let call = request().dataset.uri;
    Synthetic::parse(call.strip_prefix("synthetic:").unwrap()).unwrap().frame().unwrap()
}

fn params(shards: u32) -> RandomForestParams {
    let mut params = request().params;
    params.insert("row_parts".to_owned(), shards.into());
    serde_json::from_value(params.into()).unwrap()
}

fn asked(job: &Job) -> Vec<ShardRequested> {
    let read = |shard: &regrove_events::job::Shard| match Event::read(&shard.request) {
        Ok(Event::ShardRequested(request)) => request,
        other => unreachable!("{other:?}"),
    };
    job.shards.values().map(read).collect()
}

/// The job's model is the one that the library grows on the whole data set, and each shard was given its part alone.
#[tokio::test]
async fn each_shard_learns_from_its_part_and_the_forest_is_the_librarys() {
    let (job, world) = outcome(&by_rows(4), Weather::Fair).await;
    assert_eq!(job.state, JobState::Succeeded, "{:?}", job.failure);
    let (frame, params) = (frame(), params(4));
    let expected = fit(&frame, &params).unwrap();
    let model = job.model.clone().unwrap();
    let bytes = world.control.artifacts.get(&model.model).await.unwrap();
    assert_eq!(bytes, expected.to_bytes().unwrap());
    assert_eq!(model.params["row_parts"], 4);

    let parts = RowParts::new(frame.n_samples(), 4, params.random_state).unwrap();
    let dataset = job.dataset.clone().unwrap();
    assert_eq!(dataset.frame.sha256, frame.sha256().unwrap(), "the data set's identity is that of all rows");
    assert!(!world.control.artifacts.contains(&dataset.frame).await.unwrap(), "nobody needs it whole");
    let mut held_classes = Vec::new();
    for (index, request) in (0..).zip(asked(&job)) {
        let part = request.part.unwrap();
        let own = parts.frame(&frame, index).unwrap();
        assert_eq!((part.index, part.n_samples), (index, own.n_samples() as u64));
        assert_eq!(world.control.artifacts.get(&part.frame).await.unwrap(), own.to_bytes().unwrap());
        let (_, held) = train_test_split_stratified(&own, 0.25, params.random_state).unwrap();
        held_classes.extend(held.class_indexes().to_vec());
    }
    assert_eq!(model.metrics["oob_accuracy"].to_bits(), expected.oob(&frame).unwrap().score.to_bits());
    let by_part = (0..4).map(|part| parts.frame(&frame, part).unwrap());
    let (mut truth, mut proba) = (Vec::new(), Vec::new());
    for part in by_part {
        truth.extend(part.class_indexes().to_vec());
        proba.extend(expected.predict_proba(&part.rows()).unwrap());
    }
    let measured = metrics::classification(&truth, &proba, 3).unwrap();
    assert_eq!(model.metrics["accuracy"].to_bits(), measured.accuracy.to_bits());
    let right = model.metrics["holdout_accuracy"] * f64::from(u32::try_from(held_classes.len()).unwrap());
    assert!((right - right.round()).abs() < 1e-9 && right.round() > 0.4 * 75.0, "{right} of {}", held_classes.len());

    let run = &world.runs("job-1").await[0];
    assert_eq!(run.param("shard_by"), Some("rows"));
    assert_eq!(run.param("row_parts"), Some("4"));
}

/// The held-out forest of each part never saw the rows that it is scored on.
#[tokio::test]
async fn rows_are_held_out_of_each_part() {
    let (job, world) = outcome(&by_rows(3), Weather::Fair).await;
    let (frame, params) = (frame(), params(3));
    let parts = RowParts::new(frame.n_samples(), 3, params.random_state).unwrap();
    let alone = RandomForestParams { row_parts: None, ..params.clone() };
    for (number, shard) in &job.shards {
        let bytes =
            world.control.artifacts.get(shard.trained.as_ref().unwrap().holdout.as_ref().unwrap()).await.unwrap();
        let held = Model::from_verified_bytes(std::sync::Arc::new(bytes)).unwrap().to_forest().unwrap();
        let (seen, _) = train_test_split_stratified(&parts.frame(&frame, *number).unwrap(), 0.25, 7).unwrap();
        let expected = fit(&seen, &alone).unwrap();
        let range = shard.trees.from as usize..shard.trees.to as usize;
        assert_eq!(held.trees(), &expected.trees()[range], "part {number}");
    }
}

#[tokio::test]
async fn any_delivery_gives_the_same_model_and_the_number_of_parts_another() {
    let expected = outcome(&by_rows(4), Weather::Fair).await.0.model.unwrap();
    for weather in [Weather::Twice, Weather::Reversed, Weather::Stormy(3), Weather::Stormy(11)] {
        let (job, world) = outcome(&by_rows(4), weather).await;
        let model = job.model.unwrap();
        assert_eq!((model.model, model.metrics), (expected.model.clone(), expected.metrics.clone()), "{weather:?}");
        assert_eq!(world.versions("Simulated").await, 1);
        assert!(world.dead.is_empty(), "{weather:?}: {:?}", world.dead);
    }
    let three = outcome(&by_rows(3), Weather::Fair).await.0.model.unwrap();
    assert_ne!(three.model, expected.model);
    let by_trees = outcome(&request(), Weather::Fair).await.0.model.unwrap();
    assert_ne!(by_trees.model, expected.model);
    // One part is no cut: the trees are scikit-learn's, though the parameters say more.
    let one = outcome(&by_rows(1), Weather::Fair).await.0.model.unwrap();
    assert_eq!(one.metrics, by_trees.metrics);
}

#[tokio::test]
async fn a_sweep_may_divide_rows_and_its_trials_share_no_wrong_trees() {
    let mut world = World::new().await;
    let grid = [("n_estimators".to_owned(), vec![8.into(), 12.into()])].into();
    let sweep = SweepRequested { train: by_rows(4), grid, metric: None };
    let at = "2026-11-23T08:00:00Z".parse().unwrap();
    world.emit(Event::SweepRequested(sweep).first("sweep-1/request", "/test", "sweep-1", at).unwrap());
    world.settle(Weather::Fair).await;
    for (trial, n_estimators) in [("sweep-1.1", 8), ("sweep-1.2", 12)] {
        let job = world.job(trial).await;
        assert_eq!(job.state, JobState::Succeeded, "{:?}", job.failure);
        let bytes = world.control.artifacts.get(&job.model.unwrap().model).await.unwrap();
        let expected = fit(&frame(), &RandomForestParams { n_estimators, ..params(4) }).unwrap();
        assert_eq!(bytes, expected.to_bytes().unwrap(), "{n_estimators} trees");
    }
    assert_eq!(world.versions("Simulated").await, 1);
}

/// Fewer rows of a class than parts: the job goes on, and says which part lacks which class.
#[tokio::test]
async fn a_class_that_is_missing_in_a_part_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rare.csv");
    let row = |row: u32| {
        format!(
            "{},{},{}\n",
            row,
            row * 7 % 13,
            if row == 17 || row == 30 { "rare" } else { ["a", "b"][row as usize / 20] }
        )
    };
    std::fs::write(&path, format!("x,z,target\n{}", (0..40).map(row).collect::<String>())).unwrap();
    let mut wish = TrainRequested { test_size: 0.0, ..by_rows(4) };
    wish.dataset.uri = format!("file://{}", path.display());
    let (job, _) = outcome(&wish, Weather::Fair).await;
    assert_eq!(job.state, JobState::Succeeded, "{:?}", job.failure);
    let missing: Vec<_> = asked(&job).into_iter().map(|request| request.part.unwrap().classes_missing).collect();
    assert_eq!(
        missing,
        [vec![], vec![json!("rare")], vec![], vec![json!("rare")]],
        "rows 17 and 30 are in parts 0 and 2"
    );
    assert_eq!(job.model.unwrap().dataset.classes, ["a", "b", "rare"]);

    // A row held out needs a second one of its class in the same part.
    let (job, _) = outcome(&TrainRequested { test_size: 0.25, ..wish }, Weather::Fair).await;
    let failure = job.failure.unwrap();
    assert_eq!(failure.problem, "invalid-parameter");
    assert!(failure.reason.contains("of the rows: a stratified split needs at least two rows"), "{}", failure.reason);
}

#[tokio::test]
async fn what_cannot_be_divided_fails_with_the_reason() {
    let mut few = by_rows(12);
    few.dataset.uri =
        "synthetic:make_classification?n_samples=11&n_features=8&n_informative=4&random_state=3".to_owned();
    few.test_size = 0.0;
    let mut twice = request();
    twice.params.insert("row_parts".to_owned(), 4.into());
    let cases = [
        (by_rows(13), "`shards` is 13 by rows, it must be at most 12 (`n_estimators`)"),
        (few, "`shards` is 12 by rows, it must be at most 11, the number of rows"),
        (twice, "`params.row_parts` is set by `shard_by`"),
        (TrainRequested { test_size: 0.9, ..by_rows(12) }, "part 0 of the rows"),
    ];
    for (wish, says) in cases {
        let failure = outcome(&wish, Weather::Fair).await.0.failure.unwrap();
        assert_eq!(failure.problem, "invalid-parameter");
        assert!(failure.reason.contains(says), "`{}` does not say `{says}`", failure.reason);
    }
}
