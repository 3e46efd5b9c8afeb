//! Graphs that must be refused, each by name.

use super::message::{Attribute, Graph, Model, NodeMessage, OperatorSet, Tensor, ValueInfo};
use super::{ImportError, Limits, import};
use crate::{Error, Estimator, Frame, FrameLimits, Label, RandomForestParams, Target, fit};
use prost::Message as _;

mod costs;

/// More of anything than a file can hold.
const BILLION: i64 = 1_000_000_000;

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

/// These attributes with one in place of, or beside, its own.
fn with(mut attributes: Vec<Attribute>, attribute: Attribute) -> Vec<Attribute> {
    attributes.retain(|own| own.name() != attribute.name());
    attributes.push(attribute);
    attributes
}

fn trees(attributes: Vec<Attribute>, output: &str) -> NodeMessage {
    NodeMessage::new("TreeEnsembleRegressor", "ai.onnx.ml", &["X"], &[output], attributes)
}

fn bytes(node: Vec<NodeMessage>, initializer: Vec<Tensor>, n_features: i64) -> Vec<u8> {
    bytes_for(ValueInfo::new("X", Tensor::FLOAT, &[None, Some(n_features)]), node, initializer)
}

fn bytes_for(input: ValueInfo, node: Vec<NodeMessage>, initializer: Vec<Tensor>) -> Vec<u8> {
    bytes_of(vec![OperatorSet::new("", 13), OperatorSet::new("ai.onnx.ml", 1)], input, node, initializer)
}

fn bytes_of(
    opset_import: Vec<OperatorSet>,
    input: ValueInfo,
    node: Vec<NodeMessage>,
    initializer: Vec<Tensor>,
) -> Vec<u8> {
    let graph = Graph {
        node,
        name: "test".to_owned(),
        initializer,
        input: vec![input],
        output: vec![ValueInfo::new("y", Tensor::FLOAT, &[None, Some(1)])],
    };
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
    refusal(&bytes(vec![trees(with(stump(), attribute), "y")], vec![], 2), &Limits::default()).to_string()
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

/// Infinity was written in its place, which no import reads: found by fuzzing.
#[test]
fn what_is_not_within_float32_is_not_exported() {
    let refused = "the model holds 1e39, an ONNX graph numbers within float32: scale the target";
    let values = Target::Values(vec![0.0, 1e39]);
    let frame = Frame::new(vec!["a".to_owned()], vec![0.0, 1.0], "target", values).unwrap();
    let forest = fit(&frame, &RandomForestParams::of(Estimator::DecisionTreeRegressor)).unwrap();
    assert_eq!(super::export(&forest).unwrap_err().to_string(), refused);
    let scaled = NodeMessage::new("Mul", "", &["t", "c"], &["y"], vec![]);
    let whole = Tensor::doubles("c", vec![1e39]);
    let model = import(&bytes(vec![trees(stump(), "t"), scaled], vec![whole], 2), &Limits::default()).unwrap();
    assert_eq!(super::export_model(&model).unwrap_err().to_string(), refused);
}

/// Its columns would have one name, which is no graph.
#[test]
fn classes_that_read_the_same_are_not_exported() {
    let classes = Target::from_labels(&[Label::Int(1), Label::Str("1".to_owned())]);
    let frame = Frame::new(vec!["a".to_owned()], vec![0.0, 1.0], "target", classes).unwrap();
    let forest = fit(&frame, &RandomForestParams::of(Estimator::DecisionTreeClassifier)).unwrap();
    let refused = "two columns of the graph would be called `probability_1`: rename a class";
    assert_eq!(super::export(&forest).unwrap_err().to_string(), refused);
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

/// What operators mean is told by their version.
#[test]
fn operators_of_unknown_versions_are_refused() {
    let import_with = |opsets: &[(&str, i64)], node| {
        let opsets = opsets.iter().map(|(domain, version)| OperatorSet::new(domain, *version)).collect();
        let input = ValueInfo::new("X", Tensor::FLOAT, &[None, Some(2)]);
        import(&bytes_of(opsets, input, node, vec![]), &Limits::default()).map_err(|error| error.to_string())
    };
    let said = |opsets: &[(&str, i64)]| import_with(opsets, vec![trees(stump(), "y")]).unwrap_err();
    let lacks = "not an ONNX model: it does not say which version of `ai.onnx.ml` it uses (`opset_import`)";
    assert_eq!(said(&[("", 13)]), lacks);
    for version in [0, 6, 99] {
        let refused = format!("not an ONNX model: it uses version {version} of `ai.onnx.ml`, known are 1 to 5");
        assert_eq!(said(&[("", 13), ("ai.onnx.ml", version)]), refused);
    }
    // The standard's other name of its own operators.
    let copied = NodeMessage::new("Identity", "ai.onnx", &["t"], &["y"], vec![]);
    assert!(import_with(&[("ai.onnx", 13), ("ai.onnx.ml", 3)], vec![trees(stump(), "t"), copied]).is_ok());
    let twice = [stump(), vec![Attribute::int("n_targets", 1)]].concat();
    let said = refusal(&bytes(vec![trees(twice, "y")], vec![], 2), &Limits::default()).to_string();
    assert_eq!(said, "not an ONNX model: an operator has two attributes `n_targets`");
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
fn a_regressor_of_several_targets_is_refused_by_its_operator() {
    let several = |operator: &str| {
        format!(
            "the graph: {operator} gives 2 numbers per row and no classes for them: a regressor of several targets cannot \
             be imported, one of each target can"
        )
    };
    assert_eq!(stump_refusal(Attribute::int("n_targets", 2)), several("TreeEnsembleRegressor"));
    assert_eq!(version5_refusal(Attribute::int("n_targets", 2)), several("TreeEnsemble"));
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
    assert_eq!(said(Limits { leaf_work_max: 1, ..defaults.clone() }), too_many("numbers in leaves", 1));
    assert_eq!(
        said(Limits { numbers_max: 1, ..defaults.clone() }),
        too_many("numbers in constants and lists of columns", 1)
    );
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

#[test]
fn inputs_of_a_wrong_type_or_shape_are_refused() {
    let said = |elem_type, dims: &[Option<i64>]| {
        let model = bytes_for(ValueInfo::new("X", elem_type, dims), vec![trees(stump(), "y")], vec![]);
        refusal(&model, &Limits::default()).to_string()
    };
    for (elem_type, name) in [(0, "undefined"), (8, "string"), (9, "bool"), (10, "float16")] {
        let expected = "the graph: input `X` must be a tensor of float32, float64, int32 or int64, its element type is";
        assert_eq!(said(elem_type, &[None, Some(2)]), format!("{expected} {elem_type}"), "{name}");
    }
    assert_eq!(said(Tensor::FLOAT, &[None, Some(2), Some(1)]), "the graph: input `X` has 3 dimensions, not 2");
}

/// The stump as a classifier: classes 3 and 5.
fn classifier() -> Vec<Attribute> {
    let mut attributes = stump();
    attributes.retain(|own| own.name().starts_with("nodes_"));
    attributes.extend([
        Attribute::ints("classlabels_int64s", vec![3, 5]),
        Attribute::ints("class_treeids", vec![0, 0]),
        Attribute::ints("class_nodeids", vec![1, 2]),
        Attribute::ints("class_ids", vec![0, 1]),
        Attribute::floats("class_weights", vec![1.0, 1.0]),
    ]);
    attributes
}

fn classifier_bytes(attributes: Vec<Attribute>) -> Vec<u8> {
    let node = NodeMessage::new("TreeEnsembleClassifier", "ai.onnx.ml", &["X"], &["y", "p"], attributes);
    bytes(vec![node], vec![], 2)
}

#[test]
fn classifiers_with_wrong_nodes_attributes_or_claims_are_refused() {
    let model = import(&classifier_bytes(classifier()), &Limits::default()).unwrap();
    assert_eq!((model.classes().len(), model.n_features()), (2, 2));
    let said = |attribute| refusal(&classifier_bytes(with(classifier(), attribute)), &Limits::default()).to_string();
    let ints = |name: &str, numbers: &[i64]| said(Attribute::ints(name, numbers.to_vec()));
    let of = |what: &str| format!("attribute `{what} of TreeEnsembleClassifier: ");
    let lost = "tree 0, node 0: its true branch leads to a node that is not there";
    assert_eq!(ints("nodes_truenodeids", &[7, 0, 0]), lost);
    assert_eq!(ints("class_nodeids", &[1, 9]), "tree 0, node 9: it has a weight but is not there");
    assert_eq!(ints("class_ids", &[0, 2]), of("class_ids`") + "must be in 0..2, got 2");
    assert_eq!(ints("classlabels_int64s", &[3]), of("classlabels_int64s`") + "must name two classes or more");
    let wrong_kind = said(Attribute::floats("nodes_nodeids", vec![0.0; 3]));
    assert_eq!(wrong_kind, of("nodes_nodeids`") + "must be a list of whole numbers");
    let wrong_kind = said(Attribute::ints("class_weights", vec![1, 1]));
    assert_eq!(wrong_kind, of("class_weights`") + "must be a list of float32 numbers");
    let far = "tree 0, node 0: its false branch leads to a node that is not there";
    assert_eq!(ints("nodes_nodeids", &[0, 1, BILLION]), far);
    assert_eq!(ints("nodes_featureids", &[BILLION, 0, 0]), "too many features: at most 1048576 are taken in");
}

/// The stump as a `TreeEnsemble` of ai.onnx.ml 5: one inner node, two leaves.
fn version5() -> Vec<Attribute> {
    let ints = |name: &str, numbers: &[i64]| Attribute::ints(name, numbers.to_vec());
    let floats = |name: &str, numbers: &[f32]| Attribute::tensor(name, Tensor::floats(name, numbers.to_vec()));
    vec![
        Attribute::int("n_targets", 1),
        ints("tree_roots", &[0]),
        ints("nodes_featureids", &[1]),
        Attribute::tensor("nodes_modes", Tensor::ints("nodes_modes", vec![0])),
        floats("nodes_splits", &[0.5]),
        ints("nodes_truenodeids", &[0]),
        ints("nodes_trueleafs", &[1]),
        ints("nodes_falsenodeids", &[1]),
        ints("nodes_falseleafs", &[1]),
        ints("leaf_targetids", &[0, 0]),
        floats("leaf_weights", &[1.0, 2.0]),
    ]
}

fn version5_bytes(attributes: Vec<Attribute>) -> Vec<u8> {
    bytes(vec![NodeMessage::new("TreeEnsemble", "ai.onnx.ml", &["X"], &["y"], attributes)], vec![], 2)
}

fn version5_refusal(attribute: Attribute) -> String {
    refusal(&version5_bytes(with(version5(), attribute)), &Limits::default()).to_string()
}

#[test]
fn ensembles_of_version_5_with_wrong_nodes_are_refused() {
    let model = import(&version5_bytes(version5()), &Limits::default()).unwrap();
    let mut out = [0.0; 3];
    model.predict_proba_rows(&[9.0, 0.5, 9.0, 0.6, 0.0, f32::NAN], 3, &mut out).unwrap();
    assert_eq!(out.map(f64::to_bits), [1.0_f64, 2.0, 2.0].map(f64::to_bits));
    let ints = |name: &str, numbers: &[i64]| version5_refusal(Attribute::ints(name, numbers.to_vec()));
    let lost = "tree 0, node 0: a branch leads to a node or leaf that is not there";
    assert_eq!(ints("nodes_truenodeids", &[7]), lost);
    assert_eq!(ints("nodes_falsenodeids", &[-1]), lost);
    assert_eq!(ints("nodes_trueleafs", &[0]), "tree 0, node 0: it is on a cycle");
    assert_eq!(ints("tree_roots", &[1]), "attribute `tree_roots` of TreeEnsemble: must be in 0..1, got 1");
    assert_eq!(ints("tree_roots", &[]), "attribute `tree_roots` of TreeEnsemble: there are no trees");
}

#[test]
fn ensembles_of_version_5_with_wrong_attributes_or_claims_are_refused() {
    let of = |what: &str| format!("attribute `{what} of TreeEnsemble: ");
    let tensor = |name: &str, tensor: Tensor| version5_refusal(Attribute::tensor(name, tensor));
    let ints = |name: &str, numbers: &[i64]| version5_refusal(Attribute::ints(name, numbers.to_vec()));
    let floats = |name: &str| version5_refusal(Attribute::floats(name, vec![0.0]));
    assert_eq!(floats("nodes_truenodeids"), of("nodes_truenodeids`") + "must be a list of whole numbers");
    assert_eq!(floats("nodes_splits"), of("nodes_splits`") + "must be a tensor");
    let splits = tensor("nodes_splits", Tensor::ints("s", vec![0]));
    assert_eq!(splits, of("nodes_splits`") + "must be a tensor of float32 or float64");
    let modes = |tensor_of| tensor("nodes_modes", tensor_of);
    assert_eq!(modes(Tensor::floats("m", vec![0.0])), of("nodes_modes`") + "must be a tensor of uint8");
    assert_eq!(modes(Tensor::ints("m", vec![9])), of("nodes_modes`") + "9 is unknown");
    assert_eq!(ints("nodes_falseleafs", &[1, 1]), of("nodes_falseleafs`") + "has 2 elements, expected 1");
    assert_eq!(ints("leaf_targetids", &[0, 1]), of("leaf_targetids`") + "must be in 0..1, got 1");
    for code in [1, 2] {
        let said = version5_refusal(Attribute::int("post_transform", code));
        assert!(said.contains("ONNX and ONNX Runtime number them differently"), "{said}");
    }
    let minimum = version5_refusal(Attribute::int("aggregate_function", 2));
    assert_eq!(minimum, of("aggregate_function`") + "MIN cannot be imported, SUM and AVERAGE can");
    let claimed = modes(Tensor::claiming("m", &[BILLION], &[0]));
    assert_eq!(claimed, "not an ONNX model: a tensor of shape [1000000000] has 1 elements");
    assert_eq!(ints("tree_roots", &[BILLION]), of("tree_roots`") + "must be in 0..1, got 1000000000");
    assert_eq!(ints("nodes_featureids", &[BILLION]), "too many features: at most 1048576 are taken in");
    let targets = version5_refusal(Attribute::int("n_targets", BILLION));
    assert_eq!(targets, "too many numbers per row: at most 65536 are taken in");
}
