//! Whether a forest that is grown in rounds goes on. Pure.

use regrove_events::event::{EarlyStop, RoundEvaluated, TreeRange};

/// What becomes of a forest after a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// These trees are grown next.
    Grow(TreeRange),
    /// It is whole with so many trees.
    Whole(u32),
}

/// The trees of the first round.
pub fn first(stop: Option<&EarlyStop>, n_estimators: u32) -> TreeRange {
    TreeRange { from: 0, to: stop.map_or(n_estimators, |stop| stop.trees.min(n_estimators)) }
}

/// Decides from the scores so far, the last one of all trees that were grown.
pub fn after(stop: &EarlyStop, rounds: &[RoundEvaluated], n_estimators: u32) -> After {
    let (mut best, mut idle) = (None::<&RoundEvaluated>, 0);
    for round in rounds {
        if best.is_none_or(|best| round.score > best.score + stop.min_gain) {
            (best, idle) = (Some(round), 0);
        } else {
            idle += 1;
        }
    }
    let grown = rounds.last().map_or(0, |last| last.trees);
    if idle >= stop.rounds || grown >= n_estimators {
        return After::Whole(best.map_or(n_estimators, |best| best.trees));
    }
    After::Grow(TreeRange { from: grown, to: grown.saturating_add(stop.trees).min(n_estimators) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(rounds: u32, min_gain: f64, scores: &[f64]) -> After {
        let stop = EarlyStop { trees: 10, rounds, min_gain, ..EarlyStop::default() };
        let rows = (1..).zip(scores).map(|(round, &score)| RoundEvaluated {
            trees: (10 * round).min(45),
            metric: "holdout_accuracy".to_owned(),
            score,
        });
        after(&stop, &rows.collect::<Vec<_>>(), 45)
    }

    #[test]
    fn a_forest_grows_while_it_gains_and_keeps_the_trees_of_the_last_gain() {
        let grow = |from, to| After::Grow(TreeRange { from, to });
        for (rounds, min_gain, scores, then) in [
            (1, 0.0, &[0.8][..], grow(10, 20)),
            (1, 0.0, &[0.8, 0.9], grow(20, 30)),
            (1, 0.0, &[0.8, 0.9, 0.9], After::Whole(20)),
            (2, 0.0, &[0.8, 0.9, 0.9], grow(30, 40)),
            (2, 0.0, &[0.8, 0.9, 0.9, 0.85], After::Whole(20)),
            (2, 0.0, &[0.8, 0.9, 0.85, 0.91], grow(40, 45)),
            (2, 0.0, &[0.8, 0.9, 0.85, 0.91, 0.9], After::Whole(40)),
            (9, 0.0, &[0.5, 0.6, 0.7, 0.8, 0.9], After::Whole(45)),
            (1, 0.05, &[0.8, 0.84], After::Whole(10)),
            (2, 0.05, &[0.8, 0.84, 0.86], grow(30, 40)),
            (1, 0.0, &[-0.7, -0.6], grow(20, 30)),
        ] {
            assert_eq!(decided(rounds, min_gain, scores), then, "{rounds} {min_gain} {scores:?}");
        }
    }

    #[test]
    fn without_early_stop_there_is_one_round() {
        assert_eq!(first(None, 45), TreeRange { from: 0, to: 45 });
        let stop = EarlyStop::default();
        assert_eq!((first(Some(&stop), 45).to, first(Some(&stop), 200).to), (45, 50));
    }
}
