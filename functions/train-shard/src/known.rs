//! Trees that are there already: a tree depends on its data, parameters, seed and index only, so whoever has grown it has
//! grown it for everybody.
//!
//! What was trained is also kept in the stream `trees/KEY`, where KEY is the hash of all that the trees depend on. The
//! number of trees is not part of it, unless shards divide the rows: a job with more trees uses those that exist.

use regrove_events::event::{ShardRequested, ShardTrained, TreeRange};
use regrove_events::log::{self, TREES_PREFIX, append_once};
use regrove_events::{CloudEvent, Event};
use regrove_forest::RandomForestParams;
use regrove_store::{Control, artifact};
use serde_json::json;

use crate::train::Piece;

/// The stream of the trees that a request asks for.
pub fn stream(request: &ShardRequested, params: &RandomForestParams) -> String {
    // What `Forest::for_params` may change does not tell trees apart.
    let n_estimators = if params.row_parts.is_none() { 1 } else { params.n_estimators };
    let same = RandomForestParams { n_estimators, oob_score: false, ..params.clone() };
    let meaning = json!({"data": request.dataset.frame.sha256, "params": same, "test_size": request.test_size});
    format!("{TREES_PREFIX}{}", artifact::sha256(meaning.to_string().as_bytes()))
}

/// Which trees of `wanted` to take from which fact: in ascending order, none twice.
pub fn choose(history: &[CloudEvent], wanted: TreeRange, held_out: bool) -> Vec<(TreeRange, ShardTrained)> {
    let mut facts: Vec<ShardTrained> = history
        .iter()
        .filter_map(|event| match Event::read(event) {
            Ok(Event::ShardTrained(trained)) if trained.holdout.is_some() == held_out => Some(trained),
            _ => None,
        })
        .collect();
    // Of those that begin at the same place the longest saves most.
    facts.sort_by_key(|fact| (fact.trees.from, std::cmp::Reverse(fact.trees.to)));
    let mut chosen = Vec::new();
    let mut next = wanted.from;
    for fact in facts {
        let (from, to) = (fact.trees.from.max(next), fact.trees.to.min(wanted.to));
        if from < to {
            next = to;
            chosen.push((TreeRange { from, to }, fact));
        }
    }
    chosen
}

/// The trees that are there, with their bytes. What has left the artifact store meanwhile is not there.
///
/// # Errors
/// What the log says.
pub async fn find(control: &Control, stream: &str, request: &ShardRequested) -> Result<Vec<Piece>, log::Error> {
    let history = control.log.read(stream, 0).await?;
    let mut pieces = Vec::new();
    for (trees, fact) in choose(&history, request.trees, request.test_size > 0.0) {
        let Ok(model) = control.artifacts.get(&fact.model).await else { continue };
        let holdout = match &fact.holdout {
            None => None,
            Some(holdout) => match control.artifacts.get(holdout).await {
                Ok(bytes) => Some(bytes.to_vec()),
                Err(_) => continue,
            },
        };
        pieces.push(Piece { trees, model: model.to_vec(), holdout });
    }
    Ok(pieces)
}

/// Keeps a fact for other jobs, unless all of its trees were there before.
///
/// # Errors
/// What the log says.
pub async fn keep(
    control: &Control,
    stream: &str,
    fact: &CloudEvent,
    trained: &ShardTrained,
) -> Result<(), log::Error> {
    if trained.trees_reused < trained.trees.to - trained.trees.from {
        append_once(&*control.log, stream, fact.clone()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use regrove_events::{Artifact, ids};

    use super::*;

    fn fact(job: &str, from: u32, to: u32) -> CloudEvent {
        let model = Artifact { sha256: "0".repeat(64), bytes: 1 };
        let trees = TreeRange { from, to };
        let trained = ShardTrained {
            shard: 0,
            of: 1,
            trees,
            model,
            holdout: None,
            n_nodes: 1,
            seconds: 0.0,
            worker: None,
            trees_reused: 0,
        };
        let at = "2026-11-23T08:00:00Z".parse().unwrap();
        Event::ShardTrained(trained).first(&ids::shard_trained(job, 0), "/test", job, at).unwrap()
    }

    #[test]
    fn trees_are_the_same_whatever_their_number_unless_shards_divide_the_rows() {
        let path = format!("{}/../../events/testdata/shard-requested.v1+part.json", env!("CARGO_MANIFEST_DIR"));
        let event = regrove_events::json_format::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let Ok(Event::ShardRequested(request)) = Event::read(&event) else { panic!("golden") };
        let key = |n_estimators, row_parts| {
            stream(&request, &RandomForestParams { n_estimators, row_parts, ..RandomForestParams::default() })
        };
        assert_eq!(key(10, None), key(20, None));
        assert_ne!(key(10, Some(2)), key(20, Some(2)), "other trees learn from a part");
        assert_ne!(key(10, Some(2)), key(10, Some(5)));
        assert_ne!(key(10, Some(2)), key(10, None));
    }

    #[test]
    fn trees_are_taken_once_and_in_order() {
        let taken = |facts: &[(u32, u32)], from: u32, to: u32| {
            let history: Vec<CloudEvent> = facts.iter().map(|(from, to)| fact("job", *from, *to)).collect();
            let chosen = choose(&history, TreeRange { from, to }, false);
            chosen.into_iter().map(|(trees, _)| (trees.from, trees.to)).collect::<Vec<_>>()
        };
        assert_eq!(taken(&[], 0, 10), []);
        assert_eq!(taken(&[(0, 10)], 0, 10), [(0, 10)]);
        assert_eq!(taken(&[(50, 100), (0, 50)], 0, 200), [(0, 50), (50, 100)], "a job with more trees");
        assert_eq!(taken(&[(0, 100)], 30, 60), [(30, 60)], "a job with more shards");
        assert_eq!(taken(&[(0, 40), (20, 60), (0, 10)], 5, 100), [(5, 40), (40, 60)], "each tree once");
        assert_eq!(taken(&[(0, 10), (20, 30)], 10, 20), []);
        assert_eq!(choose(&[fact("job", 0, 9)], TreeRange { from: 0, to: 9 }, true), [], "nothing was held out there");
    }
}
