//! A forest that no longer gains stops growing, the same whatever the shards.

use regrove_events::event::{EarlyStop, RoundEvaluated, ShardBy, TrainRequested};
use regrove_events::log::job_stream;
use regrove_events::{Event, Job, JobState};
use serde_json::json;

use crate::request;
use crate::world::{Weather, World};

/// Trees that are asked for at most.
const TREES: u32 = 40;

fn wish(shards: u32, rounds: u32) -> TrainRequested {
    let mut wish = TrainRequested { shards, ..request() };
    wish.params.insert("n_estimators".to_owned(), TREES.into());
    wish.params.insert("max_depth".to_owned(), 3.into());
    wish.early_stop = Some(EarlyStop { trees: 4, rounds, ..EarlyStop::default() });
    wish
}

async fn grown(wish: &TrainRequested, weather: Weather) -> (World, Job) {
    let mut world = World::new().await;
    world.request("early", wish);
    world.settle(weather).await;
    let job = world.job("early").await;
    assert_eq!(job.state, JobState::Succeeded, "{weather:?}: {:?}", job.failure);
    (world, job)
}

/// What the scores ask for, worked out once more in the plainest way.
fn expected(rounds: &[RoundEvaluated], patience: usize) -> (u32, usize) {
    for end in 1..=rounds.len() {
        let top = rounds[..end].iter().map(|round| round.score).fold(f64::NEG_INFINITY, f64::max);
        let first = rounds.iter().position(|round| round.score.total_cmp(&top).is_eq()).unwrap();
        if end - 1 - first >= patience || end == rounds.len() {
            return (rounds[first].trees, end);
        }
    }
    unreachable!("there is a round")
}

#[tokio::test]
async fn a_forest_that_no_longer_gains_is_that_of_a_job_with_just_so_many_trees() {
    let (world, job) = grown(&wish(3, 2), Weather::Fair).await;
    let model = job.model.clone().unwrap();
    assert!(job.trees_asked() < TREES, "it stopped: {:?}", job.rounds);
    assert_eq!(
        job.rounds.iter().map(|round| round.trees).collect::<Vec<_>>(),
        (1..=job.trees_asked() / 4).map(|round| round * 4).collect::<Vec<_>>()
    );
    let (trees, rounds) = expected(&job.rounds, 2);
    assert_eq!((model.n_estimators, job.rounds.len()), (trees, rounds), "{:?}", job.rounds);
    assert_eq!(model.params["n_estimators"], json!(trees));
    let best = job.rounds.iter().find(|round| round.trees == trees).unwrap();
    assert_eq!(
        (best.metric.as_str(), best.score.to_bits()),
        ("holdout_accuracy", model.metrics["holdout_accuracy"].to_bits())
    );
    // The same trees from a job that asks for no more.
    let mut plain = request();
    plain.params = model.params.clone();
    let mut other = World::new().await;
    other.request("plain", &plain);
    other.settle(Weather::Fair).await;
    let plain = other.job("plain").await.model.unwrap();
    assert_eq!((&model.model, &model.onnx, &model.metrics), (&plain.model, &plain.onnx, &plain.metrics));
    let run = &world.runs("early").await[0];
    assert!(run.data.params.iter().any(|param| param.key == "early_stop.rounds" && param.value == "2"));
    let curve = world.record.client().metric_history(&run.info.run_id, "round_score").await.unwrap();
    assert_eq!(curve.len(), job.rounds.len());
}

#[tokio::test]
async fn the_number_of_shards_changes_nothing() {
    let (_, once) = grown(&wish(1, 1), Weather::Fair).await;
    for shards in [2, 5] {
        let (_, job) = grown(&wish(shards, 1), Weather::Fair).await;
        assert_eq!(job.rounds, once.rounds, "{shards} shards");
        assert_eq!(job.model.unwrap().model, once.model.clone().unwrap().model);
    }
}

#[tokio::test]
async fn where_nothing_is_held_out_the_score_is_out_of_bag() {
    let (_, job) = grown(&TrainRequested { test_size: 0.0, ..wish(2, 1) }, Weather::Fair).await;
    assert!(job.rounds.iter().all(|round| round.metric == "oob_accuracy"), "{:?}", job.rounds);
    assert_eq!(job.model.unwrap().n_estimators, expected(&job.rounds, 1).0);
}

#[tokio::test]
async fn an_early_stop_that_makes_no_sense_is_refused_by_field() {
    let early = |stop: EarlyStop| TrainRequested { early_stop: Some(stop), ..wish(1, 1) };
    let metric = |metric: &str| EarlyStop { metric: Some(metric.to_owned()), ..EarlyStop::default() };
    let mut bare = TrainRequested { test_size: 0.0, ..early(EarlyStop::default()) };
    bare.params.insert("bootstrap".to_owned(), false.into());
    for (wish, says) in [
        (early(EarlyStop { trees: 0, ..EarlyStop::default() }), "`early_stop.trees` is 0"),
        (early(EarlyStop { rounds: 0, ..EarlyStop::default() }), "`early_stop.rounds` is 0"),
        (early(EarlyStop { min_gain: -0.1, ..EarlyStop::default() }), "`early_stop.min_gain` is -0.1"),
        (early(metric("beauty")), "`early_stop.metric` is `beauty`, it must be one of accuracy"),
        (TrainRequested { test_size: 0.0, ..early(metric("roc_auc")) }, "it must be accuracy"),
        (bare, "needs held-out rows"),
        (
            TrainRequested { shard_by: ShardBy::Rows, ..early(EarlyStop::default()) },
            "needs shards that divide the trees, and `shard_by` is `rows`: leave one of them out",
        ),
    ] {
        let mut world = World::new().await;
        world.request("wrong", &wish);
        world.settle(Weather::Fair).await;
        let failure = world.job("wrong").await.failure.unwrap();
        assert!(failure.reason.contains(says), "{}", failure.reason);
    }
}

/// The event that asked for a round's shards may come again after they were recorded and before anybody heard of them.
#[tokio::test]
async fn shards_of_the_next_round_that_nobody_heard_of_are_said_again() {
    let mut world = World::new().await;
    world.request("early", &wish(1, 9));
    world.settle(Weather::Fair).await;
    let history = world.control.log.read(&job_stream("early"), 0).await.unwrap();
    let round = history.iter().position(|event| matches!(Event::read(event), Ok(Event::RoundEvaluated(_)))).unwrap();
    let asked = &history[round + 1];
    assert!(
        matches!(Event::read(asked), Ok(Event::ShardRequested(shard)) if shard.shard == 1 && shard.trees.from == 4)
    );
    let cause =
        history.iter().find(|event| asked.attribute("causationid").is_some_and(|cause| cause == event.id())).unwrap();
    let cut = &history[..=round + 1];
    let state = regrove_events::job::replay(cut);
    let decided = regrove_aggregate::decide::complete(&state, cut, cause);
    assert_eq!(decided, regrove_aggregate::decide::Completion::Repeat(vec![asked.clone()]));
}
