//! Small files that claim much work: each bound on a part holds, and those on what parts make together.

#![expect(clippy::cast_precision_loss, reason = "whole numbers below 2^24")]

use super::*;

/// Numbers of a wide leaf, almost the most that there may be.
const WIDE: u16 = u16::MAX;

/// A leaf of [`WIDE`] numbers, called `v0`, and so many operators one after another, of which the last one's first column is the answer.
fn chain(operators: usize, op: impl Fn(&str, &str) -> NodeMessage) -> Vec<u8> {
    let mut nodes = vec![trees(with(stump(), Attribute::int("n_targets", i64::from(WIDE))), "v0")];
    nodes.extend((0..operators).map(|at| op(&format!("v{at}"), &format!("v{}", at + 1))));
    let axis = vec![Attribute::int("axis", 1)];
    nodes.push(NodeMessage::new("Gather", "", &[&format!("v{operators}"), "c"], &["y"], axis));
    bytes(nodes, vec![Tensor::ints("c", vec![0]), Tensor::doubles("k", vec![1.0; WIDE.into()])], 2)
}

/// Each vector of a chain is there at once while a row is answered.
#[test]
fn steps_that_make_many_numbers_together_are_refused() {
    let functions = |n| chain(n, |from, to| NodeMessage::new("Sigmoid", "", &[from], &[to], vec![]));
    assert!(import(&functions(10), &Limits::default()).is_ok());
    let said = refusal(&functions(2000), &Limits::default()).to_string();
    assert_eq!(said, "the graph: steps give too many numbers together");
    let constants = |n| chain(n, |from, to| NodeMessage::new("Add", "", &[from, "k"], &[to], vec![]));
    assert!(import(&constants(5), &Limits::default()).is_ok());
    let said = refusal(&constants(2000), &Limits::default()).to_string();
    assert_eq!(said, "the graph: steps give too many numbers together");
}

/// Columns are listed where they are chosen, and only there.
#[test]
fn lists_of_columns_are_counted_where_they_are_made() {
    let width = 100_000;
    let named = |op: &str, at: usize, more: &[&str]| {
        let from = format!("f{at}");
        NodeMessage::new(op, "", &[&[from.as_str()], more].concat(), &[&format!("f{}", at + 1)], vec![])
    };
    let graph = |n: usize, op: &str, more: &[&str]| {
        let mut nodes = vec![NodeMessage::new("Identity", "", &["X"], &["f0"], vec![])];
        nodes.extend((0..n).map(|at| named(op, at, more)));
        let last = format!("f{n}");
        nodes.push(NodeMessage::new("TreeEnsembleRegressor", "ai.onnx.ml", &[&last], &["y"], stump()));
        let numbers = [("from", 0), ("to", width), ("axis", 1)];
        bytes(nodes, numbers.map(|(name, number)| Tensor::ints(name, vec![number])).into(), width)
    };
    assert!(import(&graph(5000, "Identity", &[]), &Limits::default()).is_ok());
    assert!(import(&graph(20, "Slice", &["from", "to", "axis"]), &Limits::default()).is_ok());
    let said = refusal(&graph(5000, "Slice", &["from", "to", "axis"]), &Limits::default()).to_string();
    assert_eq!(said, "too many numbers in constants and lists of columns: at most 4194304 are taken in");
}

/// So many tests whose two branches both lead to the next one: as a tree, 2 to that power.
fn ladder(levels: i64, n_targets: i64) -> Vec<u8> {
    let next: Vec<i64> = (1..levels).chain([0]).collect();
    let is_leaf: Vec<i64> = (0..levels).map(|level| i64::from(level == levels - 1)).collect();
    let some = usize::try_from(levels).unwrap();
    let mut attributes = version5();
    for attribute in [
        Attribute::int("n_targets", n_targets),
        Attribute::ints("nodes_featureids", vec![0; some]),
        Attribute::tensor("nodes_modes", Tensor::ints("m", vec![0; some])),
        Attribute::tensor("nodes_splits", Tensor::floats("s", (0..levels).map(|level| level as f32).collect())),
        Attribute::ints("nodes_truenodeids", next.clone()),
        Attribute::ints("nodes_trueleafs", is_leaf.clone()),
        Attribute::ints("nodes_falsenodeids", next),
        Attribute::ints("nodes_falseleafs", is_leaf),
    ] {
        attributes = with(attributes, attribute);
    }
    let ensemble = NodeMessage::new("TreeEnsemble", "ai.onnx.ml", &["X"], &["v"], attributes);
    let first = NodeMessage::new("Gather", "", &["v", "c"], &["y"], vec![Attribute::int("axis", 1)]);
    bytes(vec![ensemble, first], vec![Tensor::ints("c", vec![0])], 2)
}

#[test]
fn paths_that_meet_make_so_many_nodes_as_the_file_is_worth() {
    assert!(import(&ladder(12, 1), &Limits::default()).is_ok());
    let said = refusal(&ladder(24, 1), &Limits::default()).to_string();
    // 24 tests and one leaf that they lead to.
    assert_eq!(said, format!("too many tree nodes: at most {} are taken in", 25 * 4096));
    // A leaf that many paths lead to is written once, however wide it is.
    assert!(import(&ladder(12, i64::from(WIDE)), &Limits::default()).is_ok());
}

/// A set of so many members, in no order.
fn membership(members: usize) -> Vec<u8> {
    let numbers = (0..members).map(|at| (at * 7919 % members) as f32).chain([f32::NAN]).collect();
    let attributes = with(version5(), Attribute::tensor("nodes_modes", Tensor::ints("m", vec![6])));
    version5_bytes(with(attributes, Attribute::tensor("membership_values", Tensor::floats("v", numbers))))
}

#[test]
fn a_large_set_is_searched_by_halves() {
    let members = 100_003;
    let model = import(&membership(members), &Limits::default()).unwrap();
    let rows = [0.0, 0.0, 0.0, 50_000.0, 0.0, 100_002.0, 0.0, 0.5, 0.0, 100_003.0, 0.0, -1.0, 0.0, f32::NAN];
    let mut out = [0.0; 7];
    model.predict_proba_rows(&rows, 7, &mut out).unwrap();
    assert_eq!(out.map(f64::to_bits), [1.0_f64, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0].map(f64::to_bits));
}

/// Every range between members asks the whole chain anew.
#[test]
fn a_chain_of_equalities_is_walked_for_so_long() {
    let n: i64 = 300;
    let some = usize::try_from(n).unwrap();
    let attributes = vec![
        Attribute::int("n_targets", 1),
        Attribute::ints("nodes_treeids", vec![0; 2 * some + 1]),
        Attribute::ints("nodes_nodeids", (0..=2 * n).collect()),
        Attribute::ints("nodes_featureids", vec![0; 2 * some + 1]),
        Attribute::floats("nodes_values", (0..=2 * n).map(|node| (node * 7 % n) as f32).collect()),
        Attribute::strings("nodes_modes", &[vec!["BRANCH_EQ"; some], vec!["LEAF"; some + 1]].concat()),
        Attribute::ints("nodes_truenodeids", (0..=2 * n).map(|node| (n + 1 + node).min(2 * n)).collect()),
        Attribute::ints("nodes_falsenodeids", (0..=2 * n).map(|node| node + 1).collect()),
    ];
    let chain = bytes(vec![trees(attributes, "y")], vec![], 1);
    assert!(import(&chain, &Limits::default()).is_ok());
    let said = refusal(&chain, &Limits { steps_max: 10_000, ..Limits::default() }).to_string();
    assert_eq!(said, "too many steps through tests for membership: at most 10000 are taken in");
}
