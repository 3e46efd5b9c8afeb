//! ONNX out: a graph that every ONNX Runtime since 1.20 answers right.
//!
//! ```text
//! X ─ TreeEnsembleRegressor (AVERAGE or SUM) ─ steps of an imported model ─┬─ ArgMax ─ Gather labels ─ label
//!                                                                          └─ Split ─ probability_<class>, …
//! ```
//!
//! The regressor, because runtimes disagree about `TreeEnsembleClassifier` with two classes; one output per class,
//! because MLflow makes a column of every output.

use std::sync::Arc;

use prost::Message as _;

use super::import::FEATURE_NAMES;
use super::message::{Attribute, Graph, Model, NodeMessage, OperatorSet, Property, Tensor, ValueInfo};
use crate::Error;
use crate::finish::{Binary, Finish, Function, Operand, Step};
use crate::forest::Forest;
use crate::frame::{Label, twice};
use crate::model_file::{Model as NativeModel, nodes::Node};

/// The operator set of the graph.
const OPSET: i64 = 13;
/// The machine-learning operator set.
const OPSET_ML: i64 = 1;
/// The version of the file format.
const IR_VERSION: i64 = 7;
/// What a regressor's answer is called.
const PREDICTION: &str = "prediction";

/// The forest as an ONNX model (opset 13, ai.onnx.ml 1, IR 7): input `X` `(N, n_features)` float32. Outputs of a
/// classifier are `label` `(N,)`, int64 or string, and one `probability_<class>` `(N, 1)` float32 per class, in the order
/// of the classes; the output of a regressor is `prediction` `(N, 1)` float32.
///
/// Thresholds are rounded down to float32, so every float32 row takes the path it takes here. Outputs are float32
/// sums and differ from [`Forest::predict_proba`] by rounding: with ONNX Runtime 1.32 by 2e-7 at most with 100 trees, 6e-7 with
/// 1,000, 2e-6 with 5,000 and 5e-6 with 20,000 (2,500 rows, depth 8).
///
/// # Errors
///
/// A forest whose trees have more nodes than ONNX can number, or values that are not within float32;
/// classes that read the same.
pub fn export(forest: &Forest) -> Result<Vec<u8>, Error> {
    export_model(&NativeModel::from_verified_bytes(Arc::new(forest.to_bytes()?))?)
}

/// A model as [`export`] writes a forest; an imported one with the steps that follow its trees.
///
/// # Errors
///
/// As [`export`]; a file that holds no nodes, as those written for serving only; steps that ONNX has no operator for.
pub fn export_model(model: &NativeModel) -> Result<Vec<u8>, Error> {
    if !model.has_nodes() {
        let reason =
            "the file holds what predictions walk through, but not the trees: convert the file that was trained";
        return Err(Error::Unsupported(reason.to_owned()));
    }
    let n_features = i64::try_from(model.n_features()).unwrap_or(i64::MAX);
    let mut graph = Graph {
        name: "forest".to_owned(),
        input: vec![ValueInfo::new("X", Tensor::FLOAT, &[None, Some(n_features)])],
        ..Graph::default()
    };
    let finish = model.finish();
    let answer = if model.is_regressor() { PREDICTION } else { "probabilities" };
    let value = |vector: usize| match finish {
        Some(finish) if vector != finish.answer => format!("vector_{vector}"),
        None if vector != 0 => format!("vector_{vector}"),
        _ => answer.to_owned(),
    };
    let trees = ensemble(model, finish.is_some_and(|finish| finish.sum))?;
    graph.node.push(NodeMessage::new("TreeEnsembleRegressor", "ai.onnx.ml", &["X"], &[&value(0)], trees));
    if let Some(finish) = finish {
        steps(finish, &value, &mut graph)?;
    }
    if model.is_regressor() {
        graph.output.push(ValueInfo::new(PREDICTION, Tensor::FLOAT, &[None, Some(1)]));
    } else {
        classifier(model.classes(), answer, &mut graph)?;
    }
    let names = serde_json::to_string(model.feature_names()).map_err(|error| Error::Unsupported(error.to_string()))?;
    let message = Model {
        ir_version: IR_VERSION,
        producer_name: "regrove".to_owned(),
        graph: Some(graph),
        opset_import: vec![OperatorSet::new("", OPSET), OperatorSet::new("ai.onnx.ml", OPSET_ML)],
        metadata_props: vec![Property { key: FEATURE_NAMES.to_owned(), value: names }],
    };
    Ok(message.encode_to_vec())
}

/// Label and columns of the probabilities.
fn classifier(classes: &[Label], probabilities: &str, graph: &mut Graph) -> Result<(), Error> {
    let columns: Vec<String> = classes.iter().map(|class| format!("probability_{class}")).collect();
    if let Some(column) = twice(columns.iter().map(String::as_str)) {
        return Err(Error::Unsupported(format!("two columns of the graph would be called `{column}`: rename a class")));
    }
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let axis = |axis| Attribute::int("axis", axis);
    let attributes = vec![axis(1), Attribute::int("keepdims", 0)];
    graph.node.extend([
        NodeMessage::new("ArgMax", "", &[probabilities], &["class_index"], attributes),
        NodeMessage::new("Gather", "", &["labels", "class_index"], &["label"], vec![axis(0)]),
        NodeMessage::new("Split", "", &[probabilities, "widths"], &columns, vec![axis(1)]),
    ]);
    let labels = labels(classes);
    graph.output.push(ValueInfo::new("label", labels.data_type, &[None]));
    graph.output.extend(columns.iter().map(|name| ValueInfo::new(name, Tensor::FLOAT, &[None, Some(1)])));
    graph.initializer.extend([labels, Tensor::ints("widths", vec![1; classes.len()])]);
    Ok(())
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

/// The steps of an imported model as operators.
fn steps(finish: &Finish, value: &impl Fn(usize) -> String, graph: &mut Graph) -> Result<(), Error> {
    for (at, step) in finish.steps.iter().enumerate() {
        let made = value(at + 1);
        let (op, domain, inputs, attributes) = match step {
            Step::Binary { op, left, right } => {
                let op = match op {
                    Binary::Add => "Add",
                    Binary::Sub => "Sub",
                    Binary::Mul => "Mul",
                    Binary::Div => "Div",
                };
                let mut side = |operand: &Operand, side: &str| match operand {
                    Operand::Vector(vector) => Ok(value(*vector)),
                    Operand::Constant(numbers) => {
                        let name = format!("{side}_{at}");
                        let numbers = numbers.iter().map(|number| float32(*number)).collect::<Result<_, _>>()?;
                        graph.initializer.push(Tensor::floats(&name, numbers));
                        Ok::<_, Error>(name)
                    }
                };
                (op, "", vec![side(left, "left")?, side(right, "right")?], Vec::new())
            }
            Step::Apply { function, to } => {
                let (op, domain, attributes) = operator(*function)?;
                (op, domain, vec![value(*to)], attributes)
            }
            Step::Columns { of, columns } => {
                let name = format!("columns_{at}");
                let columns = columns.iter().map(|column| i64::try_from(*column).unwrap_or(i64::MAX)).collect();
                graph.initializer.push(Tensor::ints(&name, columns));
                ("Gather", "", vec![value(*of), name], vec![Attribute::int("axis", 1)])
            }
            Step::Concat { of } => {
                ("Concat", "", of.iter().map(|vector| value(*vector)).collect(), vec![Attribute::int("axis", 1)])
            }
        };
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        graph.node.push(NodeMessage::new(op, domain, &inputs, &[&made], attributes));
    }
    Ok(())
}

/// The operator of a function: type, domain, attributes.
fn operator(function: Function) -> Result<(&'static str, &'static str, Vec<Attribute>), Error> {
    let normalizer = |norm| Ok(("Normalizer", "ai.onnx.ml", vec![Attribute::string("norm", norm)]));
    match function {
        Function::Exp => Ok(("Exp", "", Vec::new())),
        Function::Logistic => Ok(("Sigmoid", "", Vec::new())),
        Function::Softmax => Ok(("Softmax", "", vec![Attribute::int("axis", 1)])),
        Function::NormalizeL1 => normalizer("L1"),
        Function::NormalizeL2 => normalizer("L2"),
        Function::SoftmaxZero | Function::Probit => {
            Err(Error::Unsupported(format!("ONNX has no operator for the step {function:?} outside of the trees")))
        }
    }
}

/// A number as a graph holds it: ONNX Runtime would answer infinity for what is beyond, and nothing reads it.
#[expect(clippy::cast_possible_truncation, reason = "the graph calculates in float32")]
fn float32(number: f64) -> Result<f32, Error> {
    let rounded = number as f32;
    if rounded.is_finite() {
        return Ok(rounded);
    }
    let reason = format!("the model holds {number:e}, an ONNX graph numbers within float32: scale the target");
    Err(Error::Unsupported(reason))
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

fn ensemble(model: &NativeModel, sum: bool) -> Result<Vec<Attribute>, Error> {
    let mut arrays = Ensemble::default();
    model.each_node(|tree, at, node, value| {
        if i32::try_from(at).is_err() {
            return Err(Error::Unsupported("a tree has more nodes than ONNX can number".to_owned()));
        }
        arrays.push(i64::try_from(tree).unwrap_or(i64::MAX), i64::try_from(at).unwrap_or(i64::MAX), node, value)
    })?;
    let n_targets = i64::try_from(model.width()).unwrap_or(i64::MAX);
    Ok(arrays.into_attributes(n_targets, if sum { "SUM" } else { "AVERAGE" }))
}

impl Ensemble {
    fn push(&mut self, tree_id: i64, node_id: i64, node: Node, value: &[f64]) -> Result<(), Error> {
        let leaf = node.is_leaf();
        let child = i64::from(node.child);
        self.tree_ids.push(tree_id);
        self.node_ids.push(node_id);
        self.feature_ids.push(if leaf { 0 } else { i64::from(node.feature) });
        self.thresholds.push(if leaf { 0.0 } else { f32::from_bits(node.threshold) });
        self.modes.push(if leaf { "LEAF" } else { "BRANCH_LEQ" });
        self.true_ids.push(if leaf { 0 } else { child });
        self.false_ids.push(if leaf { 0 } else { child + 1 });
        self.missing_true.push(i64::from(!leaf && !node.missing_right));
        if leaf {
            for (target, weight) in (0_i64..).zip(value) {
                self.target_tree_ids.push(tree_id);
                self.target_node_ids.push(node_id);
                self.target_ids.push(target);
                self.target_weights.push(float32(*weight)?);
            }
        }
        Ok(())
    }

    fn into_attributes(self, n_targets: i64, aggregate: &str) -> Vec<Attribute> {
        vec![
            Attribute::int("n_targets", n_targets),
            Attribute::string("aggregate_function", aggregate),
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
