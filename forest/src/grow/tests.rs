//! Every way to grow a forest gives the same trees.

use std::sync::atomic::AtomicBool;

use super::measure::SquaredError;
use super::ordered::OrderedSplitter;
use super::{Cancel, Ground, Plan, Prepared, Presort, Ranks, RowWeights, Workspace, grow, grow_with};
use crate::frame::{Frame, Label, Target};
use crate::kernel::Level;
use crate::pages::Pages;
use crate::params::{Criterion, Estimator, MaxFeatures, RandomForestParams};
use crate::random::RandomState;
use crate::tree::Tree;

/// What distinguishes a random frame.
#[derive(Debug, Clone, Copy)]
struct Kind {
    n_rows: u32,
    n_classes: u32,
    /// Distinct values of every other column; the rest are continuous.
    levels: u32,
    missing: bool,
}

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "any float32 will do")]
fn frame(stream: &mut RandomState, kind: Kind) -> Frame {
    let n_features = 5;
    let mut columns = Vec::new();
    for feature in 0..n_features {
        for _ in 0..kind.n_rows {
            let value = if feature % 2 == 0 {
                stream.randint(kind.levels) as f32
            } else {
                // Some neighbours are closer than the threshold below which values count as equal.
                (stream.standard_normal() * 1e-3) as f32
            };
            columns.push(if kind.missing && feature < 2 && stream.randint(5) == 0 { f32::NAN } else { value });
        }
    }
    let labels: Vec<Label> = (0..kind.n_rows)
        .map(|row| {
            let sign = columns[(kind.n_rows + row) as usize] > 0.0;
            let class = if stream.randint(4) == 0 { stream.randint(kind.n_classes) } else { u32::from(sign) };
            Label::Int(i64::from(class))
        })
        .collect();
    let names = (0..n_features).map(|feature| format!("f{feature}")).collect();
    Frame::new(names, columns, "target", Target::from_labels(&labels)).unwrap()
}

fn counts(stream: &mut RandomState, n_rows: u32) -> Vec<u32> {
    let mut counts = vec![0; n_rows as usize];
    for _ in 0..n_rows {
        counts[stream.randint(n_rows) as usize] += 1;
    }
    counts
}

fn ground<'a>(frame: &'a Frame, plan: &Plan, prepared: Prepared) -> Ground<'a> {
    let (plan, level) = (plan.clone(), Level::best());
    Ground { frame, plan, level, cancel: Cancel::default(), prepared, needs_order: false }
}

fn grown(ground: &Ground<'_>, counts: &[u32], work: &mut Workspace) -> Tree {
    grow(ground, RowWeights::Counts(Pages::Plain(counts.to_vec())), 5, work)
}

#[test]
fn sorted_columns_at_every_level_and_sorting_in_every_node_grow_the_same_trees() {
    let mut stream = RandomState::new(11);
    let mut work = Workspace::default();
    for (n_rows, n_classes, levels, missing) in [
        (5000, 2, 20, false),
        (40, 2, 3, false),
        (6000, 2, 4000, true),
        (3000, 4, 7, false),
        (2500, 3, 500, true),
        (7, 2, 2, false),
        (20_000, 2, 300, false),
    ] {
        let kind = Kind { n_rows, n_classes, levels, missing };
        let frame = frame(&mut stream, kind);
        let all = RandomForestParams { max_features: MaxFeatures::All, ..RandomForestParams::default() };
        for params in [
            RandomForestParams::default(),
            RandomForestParams { criterion: Criterion::Entropy, ..all.clone() },
            RandomForestParams { max_leaf_nodes: Some(30), ..all.clone() },
            RandomForestParams { max_depth: Some(6), min_weight_fraction_leaf: 0.01, ..all },
        ] {
            let counts = counts(&mut stream, n_rows);
            let plan = Plan::new(&frame, &params).unwrap();
            let by_node = ground(&frame, &plan, Prepared::No);
            let expected = grown(&by_node, &counts, &mut work);
            for level in Level::all() {
                let sorted = Presort::new(&frame, level, Cancel::default()).map(Prepared::Sorted).unwrap();
                let by_columns = ground(&frame, &plan, sorted);
                assert_eq!(grown(&by_columns, &counts, &mut work), expected, "sorted {level:?} {kind:?} {params:?}");
                // Codes are moved from the root on, or from some node below.
                for moved_rows in [usize::MAX, 1500] {
                    let ranks = Ranks::new(&frame, level, Cancel::default());
                    let Some(mut ranks) = ranks.filter(|_| plan.criterion == Criterion::Gini) else { continue };
                    ranks.moved_rows = moved_rows;
                    let by_ranks = ground(&frame, &plan, Prepared::Ranked(ranks));
                    let tree = grown(&by_ranks, &counts, &mut work);
                    assert_eq!(tree, expected, "ranked {level:?} {moved_rows} {kind:?} {params:?}");
                }
            }
        }
    }
}

#[test]
fn weights_beyond_the_items_bits_are_grown_all_the_same() {
    let mut stream = RandomState::new(4);
    let kind = Kind { n_rows: 60, n_classes: 2, levels: 9, missing: false };
    let frame = frame(&mut stream, kind);
    let mut counts = vec![1; 60];
    counts[7] = 16;
    let plan = Plan::new(&frame, &RandomForestParams::default()).unwrap();
    let prepared = Ground::new(&frame, plan.clone(), Level::best(), Cancel::default());
    let by_node = ground(&frame, &plan, Prepared::No);
    let mut work = Workspace::default();
    let tree = grown(&prepared, &counts, &mut work);
    assert_eq!(tree, grown(&by_node, &counts, &mut work));
    assert!((tree.weighted_n_node_samples[0] - 75.0).abs() < 1e-9);
}

#[test]
fn what_was_given_up_grows_no_further() {
    let mut stream = RandomState::new(4);
    let frame = frame(&mut stream, Kind { n_rows: 300, n_classes: 2, levels: 90, missing: false });
    let given_up = AtomicBool::new(true);
    let cancel = Cancel(Some(&given_up));
    let mut work = Workspace::default();
    for (leaves, whole, part) in [(None, 9, 0), (Some(20), 9, 1)] {
        for max_bins in [None, Some(255)] {
            let params = RandomForestParams { max_leaf_nodes: leaves, ..RandomForestParams::default() };
            let plan = Plan { max_bins, ..Plan::new(&frame, &params).unwrap() };
            let mut ground = Ground::new(&frame, plan, Level::best(), Cancel::default());
            assert!(grow(&ground, RowWeights::Once, 1, &mut work).node_count() > whole);
            ground.cancel = cancel;
            assert_eq!(grow(&ground, RowWeights::Once, 1, &mut work).node_count(), part, "{leaves:?} {max_bins:?}");
        }
    }
    assert!(Ranks::new(&frame, Level::best(), Cancel::default()).is_some());
    assert!(Ranks::new(&frame, Level::best(), cancel).is_none());
}

/// Where rows' numbers are summed, what is kept of sorted columns changes no tree: nothing, all from the root on, or below nodes of
/// some size.
#[test]
fn columns_kept_from_node_to_node_grow_the_same_trees() {
    let mut stream = RandomState::new(12);
    for (n_rows, levels, missing) in [(3000, 9, false), (2000, 1500, true), (1000, 1_000_000, false)] {
        let classes = frame(&mut stream, Kind { n_rows, n_classes: 2, levels, missing });
        let numbers = (0..n_rows).map(|_| stream.standard_normal()).collect();
        let (names, columns) = (classes.feature_names().to_vec(), classes.columns().to_vec());
        let frame = Frame::new(names, columns, "target", Target::Values(numbers)).unwrap();
        let counts = counts(&mut stream, n_rows);
        for max_leaf_nodes in [None, Some(200)] {
            let forest = RandomForestParams::of(Estimator::RandomForestRegressor);
            let params = RandomForestParams { max_leaf_nodes, max_features: MaxFeatures::Fraction(0.8), ..forest };
            let plan = Plan::new(&frame, &params).unwrap();
            let ground = Ground::new(&frame, plan, Level::best(), Cancel::default());
            let trees = [0, 17, 300, 1200, usize::MAX].map(|rows_max| {
                let weights = RowWeights::Counts(Pages::Plain(counts.clone()));
                let splitter = OrderedSplitter::new(&ground, &weights, SquaredError::new(&frame)).keeping(rows_max);
                grow_with(splitter, &ground, weights, 5)
            });
            assert!(trees[0].node_count() > 300 && trees.iter().all(|tree| *tree == trees[0]), "{n_rows} rows");
        }
    }
}

#[test]
fn random_cuts_are_the_same_whether_classes_are_counted_or_rows_kept_in_order() {
    let mut stream = RandomState::new(12);
    let mut work = Workspace::default();
    for (n_rows, n_classes, missing) in [(40, 2, true), (3000, 2, false), (3000, 4, true)] {
        let kind = Kind { n_rows, n_classes, levels: 50, missing };
        let frame = frame(&mut stream, kind);
        let counts = counts(&mut stream, n_rows);
        let params = RandomForestParams::of(Estimator::ExtraTreesClassifier);
        let plan = Plan::new(&frame, &params).unwrap();
        let counted = Ground::new(&frame, plan, Level::best(), Cancel::default());
        let expected = grown(&counted, &counts, &mut work);
        assert!(expected.node_count() > 10, "{kind:?}");
        let in_order = Ground { needs_order: true, ..counted };
        assert_eq!(grown(&in_order, &counts, &mut work), expected, "{kind:?}");
    }
}
