//! Graphs that must be refused, each by name.

use super::message::{Attribute, Graph, Model, NodeMessage, OperatorSet, Tensor, ValueInfo};
use super::{ImportError, Limits, import};
use crate::{Error, Frame, FrameLimits, RandomForestParams, fit};
use prost::Message as _;

/// A stump on feature 1: two leaves, values 1 and 2.
fn stump() -> Vec<Attribute> {
    vec![
        Attribute::int("n_targets", 1),
        Attribute::ints("nodes_treeids", vec![0, 0, 0]),
        Attribute::ints("nodes_nodeids", vec![0, 1, 2]),
        Attribute::ints("nodes_featureids", vec![1, 0, 0]),
        Attribute::floats("nodes_values", vec![0.5, 0.0, 0.0]),
        Attribute::strings("nodes_modes", &["BRANCH_LEQ", "LEAF", "LEAF"]),
        Attribute::ints("nodes_truenodeids", vec![1, 0, 0]),
        Attribute::ints("nodes_falsenodeids", vec![2, 0, 0]),
        Attribute::ints("target_treeids", vec![0, 0]),
        Attribute::ints("target_nodeids", vec![1, 2]),
        Attribute::ints("target_ids", vec![0, 0]),
        Attribute::floats("target_weights", vec![1.0, 2.0]),
    ]
}

/// The stump with one attribute in place of, or beside, its own.
fn stump_with(attribute: Attribute) -> Vec<Attribute> {
    let mut attributes = stump();
    attributes.retain(|own| own.name() != attribute.name());
    attributes.push(attribute);
    attributes
}

fn trees(attributes: Vec<Attribute>, output: &str) -> NodeMessage {
    NodeMessage::new("TreeEnsembleRegressor", "ai.onnx.ml", &["X"], &[output], attributes)
}

fn bytes(node: Vec<NodeMessage>, initializer: Vec<Tensor>, n_features: i64) -> Vec<u8> {
    let graph = Graph {
        node,
        name: "test".to_owned(),
        initializer,
        input: vec![ValueInfo::new("X", Tensor::FLOAT, &[None, Some(n_features)])],
        output: vec![ValueInfo::new("y", Tensor::FLOAT, &[None, Some(1)])],
    };
    let opset_import = vec![OperatorSet::new("", 13), OperatorSet::new("ai.onnx.ml", 1)];
    Model { ir_version: 7, graph: Some(graph), opset_import, ..Model::default() }.encode_to_vec()
}

fn refusal(bytes: &[u8], limits: &Limits) -> ImportError {
    match import(bytes, limits) {
        Err(Error::Onnx(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// What is said about a stump with this attribute.
fn stump_refusal(attribute: Attribute) -> String {
    refusal(&bytes(vec![trees(stump_with(attribute), "y")], vec![], 2), &Limits::default()).to_string()
}

/// What is said about a graph of these operators around a stump that gives `t`.
fn graph_refusal(more: Vec<NodeMessage>, initializer: Vec<Tensor>) -> String {
    let node = [vec![trees(stump(), "t")], more].concat();
    refusal(&bytes(node, initializer, 2), &Limits::default()).to_string()
}

#[test]
fn the_stump_itself_is_taken_in() {
    let model = import(&bytes(vec![trees(stump(), "y")], vec![], 2), &Limits::default()).unwrap();
    let mut out = [0.0; 3];
    model.predict_proba_rows(&[9.0, 0.5, 9.0, 0.6, 0.0, f32::NAN], 3, &mut out).unwrap();
    assert_eq!(out.map(f64::to_bits), [1.0_f64, 2.0, 2.0].map(f64::to_bits));
    assert_eq!(
        (model.feature_names(), model.n_trees(), model.is_regressor()),
        (&["x0".to_owned(), "x1".to_owned()][..], 1, true)
    );
}

#[test]
fn trees_with_wrong_nodes_are_refused() {
    let ints = |name: &str, numbers: &[i64]| stump_refusal(Attribute::ints(name, numbers.to_vec()));
    assert_eq!(
        ints("nodes_truenodeids", &[7, 0, 0]),
        "tree 0, node 0: its true branch leads to a node that is not there"
    );
    assert_eq!(
        ints("nodes_falsenodeids", &[-1, 0, 0]),
        "tree 0, node 0: its false branch leads to a node that is not there"
    );
    assert_eq!(ints("nodes_truenodeids", &[0, 0, 0]), "tree 0, node 0: it is on a cycle");
    assert_eq!(ints("nodes_truenodeids", &[2, 0, 0]), "tree 0, node 1: no path leads to it");
    assert_eq!(ints("nodes_nodeids", &[0, 1, 1]), "tree 0, node 1: it is there twice");
    assert_eq!(ints("nodes_treeids", &[0, 1, 0]), "tree 0, node 2: the tree's nodes do not lie together");
    assert_eq!(ints("target_nodeids", &[1, 9]), "tree 0, node 9: it has a weight but is not there");
}

#[test]
fn a_longer_cycle_is_found() {
    let attributes = vec![
        Attribute::int("n_targets", 1),
        Attribute::ints("nodes_treeids", vec![4; 4]),
        Attribute::ints("nodes_nodeids", vec![0, 1, 2, 3]),
        Attribute::ints("nodes_featureids", vec![0; 4]),
        Attribute::floats("nodes_values", vec![0.0; 4]),
        Attribute::strings("nodes_modes", &["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GT", "LEAF"]),
        Attribute::ints("nodes_truenodeids", vec![1, 2, 1, 0]),
        Attribute::ints("nodes_falsenodeids", vec![3, 3, 3, 0]),
    ];
    let error = refusal(&bytes(vec![trees(attributes, "y")], vec![], 1), &Limits::default());
    assert!(matches!(error, ImportError::Node { tree: 4, reason: "it is on a cycle", .. }), "{error}");
}

#[test]
fn attributes_of_wrong_kind_length_or_value_are_refused() {
    let of = |what: &str| format!("attribute `{what} of TreeEnsembleRegressor: ");
    let said = stump_refusal(Attribute::floats("nodes_treeids", vec![0.0; 3]));
    assert_eq!(said, of("nodes_treeids`") + "must be a list of whole numbers");
    let said = stump_refusal(Attribute::ints("nodes_values", vec![0; 3]));
    assert_eq!(said, of("nodes_values`") + "must be a list of float32 numbers");
    let said = stump_refusal(Attribute::ints("nodes_featureids", vec![0; 2]));
    assert_eq!(said, of("nodes_featureids`") + "has 2 elements, `nodes_treeids` has 3");
    let said = stump_refusal(Attribute::floats("target_weights", vec![1.0]));
    assert_eq!(said, of("target_weights`") + "has 1 elements, `target_treeids` has 2");
    let said = stump_refusal(Attribute::floats("target_weights", vec![1.0, f32::NAN]));
    assert_eq!(said, of("target_weights`") + "must be finite, got NaN");
    let said = stump_refusal(Attribute::ints("target_ids", vec![0, 1]));
    assert_eq!(said, of("target_ids`") + "must be in 0..1, got 1");
    let said = stump_refusal(Attribute::strings("nodes_modes", &["BRANCH_LEQ", "LEAF", "BRANCH_MEMBER"]));
    assert_eq!(said, of("nodes_modes`") + "`BRANCH_MEMBER` is unknown");
    let said = stump_refusal(Attribute::ints("nodes_featureids", vec![-1, 0, 0]));
    assert_eq!(said, of("nodes_featureids`") + "must not be negative, got -1");
    let said = stump_refusal(Attribute::string("aggregate_function", "MIN"));
    assert_eq!(said, of("aggregate_function`") + "MIN cannot be imported, SUM and AVERAGE can");
    let said = stump_refusal(Attribute::string("post_transform", "SOFTMAX"));
    assert_eq!(said, of("post_transform`") + "must be NONE or PROBIT for one target");
    let said = stump_refusal(Attribute::floats("base_values", vec![1.0, 2.0]));
    assert_eq!(said, of("base_values`") + "has 2 elements, expected 1");
    let said = stump_refusal(Attribute::ints("nodes_featureids", vec![2, 0, 0]));
    assert_eq!(said, "the graph: the trees look at feature 2, their input has 2");
}

#[test]
fn what_is_claimed_and_not_there_costs_nothing() {
    const BILLION: i64 = 1_000_000_000;
    let said = stump_refusal(Attribute::int("n_targets", BILLION));
    assert_eq!(said, "too many numbers per row: at most 65536 are taken in");
    let said = stump_refusal(Attribute::ints("nodes_featureids", vec![BILLION, 0, 0]));
    assert_eq!(said, "too many features: at most 1048576 are taken in");
    let wide = bytes(vec![trees(stump(), "y")], vec![], BILLION);
    assert_eq!(refusal(&wide, &Limits::default()).to_string(), "too many features: at most 1048576 are taken in");
    let tensor = Tensor::claiming("c", &[BILLION], &[1]);
    let gather = NodeMessage::new("Gather", "", &["t", "c"], &["y"], vec![Attribute::int("axis", 1)]);
    let said = graph_refusal(vec![gather], vec![tensor]);
    assert_eq!(said, "not an ONNX model: a tensor of shape [1000000000] has 1 elements");
}

#[test]
fn graphs_that_are_no_tree_ensemble_are_refused_by_operator() {
    let op = |op: &str, domain: &str| graph_refusal(vec![NodeMessage::new(op, domain, &["t"], &["y"], vec![])], vec![]);
    let refused = |name: &str| format!("operator `{name}` is not part of a tree ensemble that can be imported");
    assert_eq!(op("Conv", ""), refused("Conv"));
    assert_eq!(op("Scaler", "ai.onnx.ml"), refused("ai.onnx.ml.Scaler"));
    assert_eq!(op("TreeEnsembleRegressor", ""), refused("TreeEnsembleRegressor"));
    let said = graph_refusal(vec![trees(stump(), "y")], vec![]);
    assert_eq!(said, "the graph: it has more than one tree ensemble");
    let nothing = bytes(vec![NodeMessage::new("Identity", "", &["X"], &["y"], vec![])], vec![], 2);
    let said = refusal(&nothing, &Limits::default()).to_string();
    assert_eq!(said, "the graph: output `y` is neither label nor probabilities nor a number");
}

#[test]
fn graphs_with_cycles_or_loose_ends_are_refused() {
    let node = |op: &str, inputs: &[&str], output: &str| NodeMessage::new(op, "", inputs, &[output], vec![]);
    let said =
        graph_refusal(vec![node("Add", &["t", "b"], "a"), node("Exp", &["a"], "b"), node("Exp", &["b"], "y")], vec![]);
    assert_eq!(
        said,
        "the graph: Add uses `b`, which nothing before it makes: the graph has a cycle or lacks an operator"
    );
    assert_eq!(graph_refusal(vec![], vec![]), "the graph: nothing makes the output `y`");
    assert_eq!(graph_refusal(vec![node("Exp", &["t"], "t")], vec![]), "the graph: two values are called `t`");
    assert_eq!(graph_refusal(vec![node("Exp", &[], "y")], vec![]), "the graph: Exp lacks input 0");
    let said = graph_refusal(vec![node("Add", &["t", "c"], "y")], vec![Tensor::ints("c", vec![1])]);
    assert_eq!(said, "the graph: a constant in a calculation must be finite float32 or float64 numbers");
    let said = graph_refusal(vec![node("Reshape", &["t", "c"], "y")], vec![Tensor::ints("c", vec![3, -1, 2])]);
    assert_eq!(said, "the graph: Reshape to shape [3, -1, 2] mixes rows");
}

#[test]
fn every_limit_is_held() {
    let model = bytes(vec![trees(stump(), "y")], vec![], 2);
    let defaults = Limits::default();
    let said = |limits: Limits| refusal(&model, &limits).to_string();
    let too_many = |what: &str, max: usize| format!("too many {what}: at most {max} are taken in");
    assert_eq!(said(Limits { bytes_max: 10, ..defaults.clone() }), too_many("bytes", 10));
    assert_eq!(said(Limits { operators_max: 2, ..defaults.clone() }), too_many("operators and values", 2));
    assert_eq!(said(Limits { features_max: 1, ..defaults.clone() }), too_many("features", 1));
    assert_eq!(said(Limits { outputs_max: 0, ..defaults.clone() }), too_many("numbers per row", 0));
    assert_eq!(said(Limits { trees_max: 0, ..defaults.clone() }), too_many("trees", 0));
    assert_eq!(said(Limits { nodes_max: 2, ..defaults.clone() }), too_many("elements of one attribute or tensor", 2));
    assert_eq!(said(Limits { depth_max: 0, ..defaults.clone() }), too_many("levels of a tree", 0));
    assert_eq!(said(Limits { leaf_numbers_max: 1, ..defaults }), too_many("elements of one attribute or tensor", 1));
}

#[test]
fn a_test_for_equality_that_multiplies_nodes_meets_the_limit() {
    // Forty features compared one after another: the path behind each is there twice.
    let depth = 40;
    let n: i64 = 2 * depth + 1;
    let attributes = vec![
        Attribute::int("n_targets", 1),
        Attribute::ints("nodes_treeids", vec![0; 81]),
        Attribute::ints("nodes_nodeids", (0..n).collect()),
        Attribute::ints("nodes_featureids", (0..n).map(|node| if node % 2 == 0 { node / 2 } else { 0 }).collect()),
        Attribute::floats("nodes_values", vec![0.0; 81]),
        Attribute::strings(
            "nodes_modes",
            &(0..n).map(|node| if node % 2 == 0 && node < n - 1 { "BRANCH_EQ" } else { "LEAF" }).collect::<Vec<_>>(),
        ),
        Attribute::ints("nodes_truenodeids", (0..n).map(|node| node + 1).collect()),
        Attribute::ints("nodes_falsenodeids", (0..n).map(|node| node + 2).collect()),
    ];
    let limits = Limits { nodes_max: 100_000, ..Limits::default() };
    let said = refusal(&bytes(vec![trees(attributes, "y")], vec![], depth), &limits).to_string();
    assert_eq!(said, "too many tree nodes: at most 100000 are taken in");
}

#[test]
fn a_file_cut_or_flipped_anywhere_gives_an_error_or_a_model_that_answers() {
    let csv = "a,b,kind\n1,2,x\n3,1,y\n5,2,x\n7,9,y\n2,4,z\n";
    let frame = Frame::from_csv(csv.as_bytes(), "kind", &FrameLimits::default()).unwrap();
    let forest = fit(&frame, &RandomForestParams { n_estimators: 2, ..RandomForestParams::default() }).unwrap();
    let whole = super::export(&forest).unwrap();
    let check = |bytes: &[u8]| match import(bytes, &Limits::default()) {
        Ok(model) => {
            let rows = vec![0.5; 3 * model.n_features()];
            model.predict_proba_rows(&rows, 3, &mut vec![0.0; 3 * model.n_outputs()]).unwrap();
        }
        Err(error) => assert!(matches!(error, Error::Onnx(_) | Error::ModelFile(_)), "{error}"),
    };
    for len in 0..whole.len() {
        check(&whole[..len]);
        for bit in 0..8 {
            let mut changed = whole.clone();
            changed[len] ^= 1 << bit;
            check(&changed);
        }
    }
    assert!(matches!(import(&[], &Limits::default()), Err(Error::Onnx(ImportError::Malformed(_)))));
}
