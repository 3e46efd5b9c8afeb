//! ONNX out: a graph that every ONNX Runtime since 1.20 answers right.
//!
//! ```text
//! X ─ TreeEnsembleRegressor (one target per class, AVERAGE) ─┬─ ArgMax ─ [Gather labels] ─ label
//!                                                            └─ Split ─ probability_<class>, …
//! ```
//!
//! The regressor, because runtimes disagree about `TreeEnsembleClassifier` with two classes; one output per class,
//! because MLflow makes a column of every output.

mod message;

use prost::Message as _;

use crate::Error;
use crate::forest::Forest;
use crate::frame::Label;
use crate::model_file::round_down;
use message::{Attribute, Graph, Model, NodeMessage, OperatorSet, Tensor, ValueInfo};

/// The operator set of the graph.
const OPSET: i64 = 13;
/// The machine-learning operator set.
const OPSET_ML: i64 = 1;
/// The version of the file format.
const IR_VERSION: i64 = 7;

/// The forest as an ONNX model (opset 13, ai.onnx.ml 1, IR 7): input `X` `(N, n_features)` float32. Outputs of a
/// classifier are `label` `(N,)`, int64 or string, and one `probability_<class>` `(N, 1)` float32 per class, in the order
/// of the classes; the output of a regressor is `prediction` `(N, 1)` float32.
///
/// Thresholds are rounded down to float32, so every float32 row takes the path it takes here. Outputs are float32
/// sums and differ from [`Forest::predict_proba`] by rounding.
///
/// # Errors
///
/// A forest whose trees have more nodes than ONNX can number.
pub fn export(forest: &Forest) -> Result<Vec<u8>, Error> {
    let ensemble = ensemble(forest)?;
    let n_features = i64::try_from(forest.n_features()).unwrap_or(i64::MAX);
    let graph = Graph {
        name: "forest".to_owned(),
        input: vec![ValueInfo::new("X", Tensor::FLOAT, &[None, Some(n_features)])],
        ..if forest.classes().is_empty() { regressor(ensemble) } else { classifier(forest.classes(), ensemble) }
    };
    let model = Model {
        ir_version: IR_VERSION,
        producer_name: "regrove".to_owned(),
        graph: Some(graph),
        opset_import: vec![OperatorSet::new("", OPSET), OperatorSet::new("ai.onnx.ml", OPSET_ML)],
    };
    Ok(model.encode_to_vec())
}

fn regressor(ensemble: Vec<Attribute>) -> Graph {
    Graph {
        node: vec![NodeMessage::new("TreeEnsembleRegressor", "ai.onnx.ml", &["X"], &["prediction"], ensemble)],
        output: vec![ValueInfo::new("prediction", Tensor::FLOAT, &[None, Some(1)])],
        ..Graph::default()
    }
}

fn classifier(classes: &[Label], ensemble: Vec<Attribute>) -> Graph {
    let columns: Vec<String> = classes.iter().map(|class| format!("probability_{class}")).collect();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let axis = |axis| Attribute::int("axis", axis);
    let node = vec![
        NodeMessage::new("TreeEnsembleRegressor", "ai.onnx.ml", &["X"], &["probabilities"], ensemble),
        NodeMessage::new(
            "ArgMax",
            "",
            &["probabilities"],
            &["class_index"],
            vec![axis(1), Attribute::int("keepdims", 0)],
        ),
        NodeMessage::new("Gather", "", &["labels", "class_index"], &["label"], vec![axis(0)]),
        NodeMessage::new("Split", "", &["probabilities", "widths"], &columns, vec![axis(1)]),
    ];
    let labels = labels(classes);
    let mut output = vec![ValueInfo::new("label", labels.data_type, &[None])];
    output.extend(columns.iter().map(|name| ValueInfo::new(name, Tensor::FLOAT, &[None, Some(1)])));
    let initializer = vec![labels, Tensor::ints("widths", vec![1; classes.len()])];
    Graph { node, initializer, output, ..Graph::default() }
}

/// Labels as whole numbers if all are, else as texts.
fn labels(classes: &[Label]) -> Tensor {
    let numbers: Option<Vec<i64>> = classes
        .iter()
        .map(|class| match class {
            Label::Int(number) => Some(*number),
            _ => None,
        })
        .collect();
    match numbers {
        Some(numbers) => Tensor::ints("labels", numbers),
        None => Tensor::strings("labels", classes.iter().map(Label::to_string).collect()),
    }
}

/// The parallel arrays of `TreeEnsembleRegressor`.
#[derive(Default)]
struct Ensemble {
    tree_ids: Vec<i64>,
    node_ids: Vec<i64>,
    feature_ids: Vec<i64>,
    thresholds: Vec<f32>,
    modes: Vec<&'static str>,
    true_ids: Vec<i64>,
    false_ids: Vec<i64>,
    missing_true: Vec<i64>,
    target_tree_ids: Vec<i64>,
    target_node_ids: Vec<i64>,
    target_ids: Vec<i64>,
    target_weights: Vec<f32>,
}

fn ensemble(forest: &Forest) -> Result<Vec<Attribute>, Error> {
    let mut arrays = Ensemble::default();
    for (tree_id, tree) in (0_i64..).zip(forest.trees()) {
        if i32::try_from(tree.node_count()).is_err() {
            return Err(Error::Unsupported("a tree has more nodes than ONNX can number".to_owned()));
        }
        for (node_id, node) in (0_i64..).zip(0..tree.node_count()) {
            arrays.push(tree_id, node_id, tree, node);
        }
    }
    let n_targets = i64::try_from(forest.n_outputs()).unwrap_or(i64::MAX);
    Ok(arrays.into_attributes(n_targets))
}

impl Ensemble {
    #[expect(clippy::cast_possible_truncation, reason = "the operator's weights are float32")]
    fn push(&mut self, tree_id: i64, node_id: i64, tree: &crate::Tree, node: usize) {
        let leaf = tree.is_leaf(node);
        self.tree_ids.push(tree_id);
        self.node_ids.push(node_id);
        self.feature_ids.push(if leaf { 0 } else { i64::from(tree.feature[node]) });
        self.thresholds.push(if leaf { 0.0 } else { round_down(tree.threshold[node]) });
        self.modes.push(if leaf { "LEAF" } else { "BRANCH_LEQ" });
        self.true_ids.push(if leaf { 0 } else { i64::from(tree.children_left[node]) });
        self.false_ids.push(if leaf { 0 } else { i64::from(tree.children_right[node]) });
        self.missing_true.push(i64::from(tree.missing_go_to_left[node]));
        if leaf {
            for (target, weight) in (0_i64..).zip(tree.node_value(node)) {
                self.target_tree_ids.push(tree_id);
                self.target_node_ids.push(node_id);
                self.target_ids.push(target);
                self.target_weights.push(*weight as f32);
            }
        }
    }

    fn into_attributes(self, n_targets: i64) -> Vec<Attribute> {
        vec![
            Attribute::int("n_targets", n_targets),
            Attribute::string("aggregate_function", "AVERAGE"),
            Attribute::string("post_transform", "NONE"),
            Attribute::ints("nodes_treeids", self.tree_ids),
            Attribute::ints("nodes_nodeids", self.node_ids),
            Attribute::ints("nodes_featureids", self.feature_ids),
            Attribute::floats("nodes_values", self.thresholds),
            Attribute::strings("nodes_modes", &self.modes),
            Attribute::ints("nodes_truenodeids", self.true_ids),
            Attribute::ints("nodes_falsenodeids", self.false_ids),
            Attribute::ints("nodes_missing_value_tracks_true", self.missing_true),
            Attribute::ints("target_treeids", self.target_tree_ids),
            Attribute::ints("target_nodeids", self.target_node_ids),
            Attribute::ints("target_ids", self.target_ids),
            Attribute::floats("target_weights", self.target_weights),
        ]
    }
}
