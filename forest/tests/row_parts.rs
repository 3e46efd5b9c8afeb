//! Trees that each learn from one part of the rows.

#![expect(clippy::unwrap_used, reason = "tests: a failure is the answer")]

use regrove_forest::datasets::Synthetic;
use regrove_forest::random::RandomState;
use regrove_forest::row_parts::{part_of_trees, trees};
use regrove_forest::{
    FitOptions, Forest, Frame, Label, RandomForestParams, RowParts, Target, fit, fit_part, fit_range,
};

fn frame() -> Frame {
    let uri = "make_classification?n_samples=203&n_features=8&n_informative=4&n_classes=3&random_state=1";
    Synthetic::parse(uri).unwrap().frame().unwrap()
}

fn params(row_parts: u32) -> RandomForestParams {
    let row_parts = Some(row_parts);
    RandomForestParams { n_estimators: 10, random_state: 9, row_parts, ..RandomForestParams::default() }
}

#[test]
fn rows_are_permuted_and_cut_evenly() {
    let parts = RowParts::new(203, 4, 9).unwrap();
    let order = RandomState::new(9).permutation(203);
    let mut from = 0;
    for (part, size) in [(0, 51), (1, 51), (2, 51), (3, 50)] {
        let mut expected = order[from..from + size].to_vec();
        expected.sort_unstable();
        assert_eq!(parts.rows(part), expected, "part {part}");
        from += size;
    }
    assert_eq!(RowParts::new(203, 4, 8).unwrap().rows(0).len(), 51);
    assert_ne!(RowParts::new(203, 4, 8).unwrap(), parts, "another seed");
}

#[test]
fn trees_are_shared_out_in_index_order() {
    let shares = |parts: u32| (0..parts).map(|part| trees(&params(parts), part)).collect::<Vec<_>>();
    assert_eq!(shares(4), [0..3, 3..6, 6..8, 8..10]);
    assert_eq!(shares(10).len(), 10);
    assert_eq!(part_of_trees(&params(4), &(6..8)), Some(2));
    assert_eq!(part_of_trees(&params(4), &(4..5)), Some(1));
    assert_eq!(part_of_trees(&params(4), &(5..7)), None);
}

/// Each tree is the one that a forest of its part alone would have at its index.
#[test]
fn a_tree_learns_from_its_part_only() {
    let (frame, params) = (frame(), params(4));
    let forest = fit(&frame, &params).unwrap();
    let parts = RowParts::new(frame.n_samples(), 4, 9).unwrap();
    let alone = RandomForestParams { row_parts: None, ..params.clone() };
    for part in 0..4 {
        let of_part = fit(&parts.frame(&frame, part).unwrap(), &alone).unwrap();
        for tree in trees(&params, part) {
            assert_eq!(forest.trees()[tree as usize], of_part.trees()[tree as usize], "tree {tree}");
        }
    }
    let whole = fit(&frame, &alone).unwrap();
    assert_ne!(whole.trees(), forest.trees(), "another model than scikit-learn's");
    let one = fit(&frame, &RandomForestParams { row_parts: Some(1), ..params }).unwrap();
    assert_eq!(one.trees(), whole.trees(), "one part is no cut");
}

/// Workers that hold one part each, and processes that hold all and grow any ranges, make the same bytes.
#[test]
fn parts_and_ranges_make_the_same_forest() {
    let (frame, params) = (frame(), params(3));
    let expected = fit(&frame, &params).unwrap().to_bytes().unwrap();
    let parts = RowParts::new(frame.n_samples(), 3, 9).unwrap();
    let hash = frame.sha256().unwrap();
    let options = FitOptions::default();
    let by_part = |part| {
        let part_frame = parts.frame(&frame, part).unwrap();
        fit_part(&part_frame, &hash, &params, trees(&params, part), &options).unwrap()
    };
    let merged = Forest::merge(vec![by_part(2), by_part(0), by_part(1)]).unwrap();
    assert_eq!(merged.to_bytes().unwrap(), expected);
    let ranges = [0..1, 1..6, 6..10].map(|range| fit_range(&frame, &params, range, &options).unwrap());
    assert_eq!(Forest::merge(ranges.into()).unwrap().to_bytes().unwrap(), expected);
    let error = fit_part(&frame, &hash, &params, 3..5, &options).unwrap_err().to_string();
    assert!(error.contains("`range` must be trees of one part of the rows, got 3..5"), "{error}");
}

#[test]
fn a_row_is_out_of_the_bag_of_other_parts_trees() {
    let (frame, params) = (frame(), params(5));
    let forest = fit(&frame, &params).unwrap();
    let whole = forest.oob(&frame).unwrap();
    assert_eq!(whole.n_never_out, 0, "eight of ten trees have never seen it");
    let parts = RowParts::new(frame.n_samples(), 5, 9).unwrap();
    let rows = frame.rows();
    for part in 0..5 {
        let own = trees(&params, part);
        let of_part = forest.oob_part(&parts.frame(&frame, part).unwrap(), part).unwrap();
        for (row, votes) in parts.rows(part).into_iter().zip(of_part.decision_function.chunks(3)) {
            assert_eq!(votes, &whole.decision_function[row * 3..][..3]);
            // The trees of other parts are all counted: what is left are the part's own two.
            let strangers = (0..10).filter(|tree| !own.contains(tree)).map(|tree| &forest.trees()[tree as usize]);
            let sum: f64 = strangers.map(|tree| tree.predict(&rows[row * 8..][..8])[0]).sum();
            let own_trees = own.clone().map(|tree| forest.trees()[tree as usize].predict(&rows[row * 8..][..8])[0]);
            let possible = subsets(&own_trees.collect::<Vec<_>>());
            let close = |(extra, n): &(f64, f64)| ((sum + extra) / (8.0 + n) - votes[0]).abs() < 1e-12;
            assert!(possible.iter().any(close), "row {row}: {votes:?}");
        }
    }
    assert!(whole.score > 0.5 && whole.score < 1.0, "{}", whole.score);
}

/// Sum and size of every subset of two numbers.
fn subsets(of: &[f64]) -> Vec<(f64, f64)> {
    vec![(0.0, 0.0), (of[0], 1.0), (of[1], 1.0), (of[0] + of[1], 2.0)]
}

/// A rare class has no row in some part: its trees give it no vote, and the forest has the class all the same.
#[test]
fn a_class_may_be_missing_in_a_part() {
    let column: Vec<f32> = (0..40_u8).map(f32::from).collect();
    let indexes = (0..40).map(|row| if row == 17 { 2 } else { u32::from(row >= 20) }).collect();
    let classes = ["a", "b", "rare"].map(|name| Label::Str(name.to_owned())).to_vec();
    let frame = Frame::new(vec!["x".into()], column, "y", Target::Classes { classes, indexes }).unwrap();
    let forest = fit(&frame, &params(4)).unwrap();
    assert_eq!(forest.classes().len(), 3);
    let knowing =
        forest.trees().iter().filter(|tree| (0..tree.node_count()).any(|node| tree.node_value(node)[2] > 0.0));
    assert!((1..=3).contains(&knowing.count()), "the trees of one part only");
    assert_eq!(forest.predict(&[30.0]).unwrap(), [Label::Str("b".to_owned())]);
}

#[test]
fn what_cannot_be_cut_is_refused() {
    let refused = |params: &RandomForestParams| fit(&frame(), params).unwrap_err().to_string();
    assert!(
        refused(&params(0)).contains("`row_parts` must be a whole number in 1..=10 (`n_estimators`), or null, got 0")
    );
    assert!(refused(&params(11)).contains("`row_parts` must be a whole number in 1..=10"));
    let few = frame().take(&[0, 50, 100]).unwrap();
    let error = fit(&few, &params(4)).unwrap_err().to_string();
    assert!(error.contains("`row_parts` must be a whole number in 1..=3, the number of rows, got 4"), "{error}");
    let four = fit(&frame(), &params(4)).unwrap();
    let more = RandomForestParams { n_estimators: 20, ..params(4) };
    assert!(four.for_params(&more).is_err(), "with more trees, other trees learn from a part");
}

/// What models did not say before there was a choice stays unsaid.
#[test]
fn the_parameter_is_written_only_when_it_is_set() {
    let written = |params: &RandomForestParams| serde_json::to_value(params).unwrap();
    assert_eq!(written(&RandomForestParams::default()).get("row_parts"), None);
    assert_eq!(written(&params(4))["row_parts"], 4);
    let read: RandomForestParams = serde_json::from_value(written(&params(4))).unwrap();
    assert_eq!(read, params(4));
}
