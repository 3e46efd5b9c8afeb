//! The graph around the ensemble, read operator by operator with symbols in place of tensors.
//!
//! Every value of the graph is features of the row, a vector of [`Finish`], the label that a vector's largest element names,
//! or a constant. An operator makes new symbols of its inputs' or is refused.

mod outputs;
mod reshape;
mod trees;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ensemble::Ensemble;
use super::error::{Budget, ImportError, Limits, graph};
use super::proto::{Elements, GraphView, InputView, NodeView, Tensor};
use crate::finish::{Binary, Finish, Function, Operand, Step, Vector, check_numbers};
use crate::frame::Label;

/// A value of the graph; the first dimension of all but constants is the rows.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// Columns of the input; `None` is all of them where their number is unknown.
    Features(Option<Arc<[usize]>>),
    Vector(Vector),
    /// Index of a vector's first largest element.
    Index(Vector),
    /// The class that the first largest element of a vector stands for.
    Label {
        scores: Vector,
        classes: Arc<[Label]>,
    },
    /// A map from class to element.
    Map {
        of: Vector,
        classes: Arc<[Label]>,
    },
    Constant(Arc<Elements>),
}

/// What a graph says.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) ensemble: Ensemble,
    /// Numbers that a leaf has.
    pub(super) width: usize,
    pub(super) finish: Finish,
    /// None for a regressor.
    pub(super) classes: Vec<Label>,
    pub(super) inputs: Inputs,
}

/// What is known about the row.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    /// Number of features, if the graph says it.
    pub(super) declared: Option<usize>,
    /// Names, if features have inputs of their own.
    pub(super) names: Option<Vec<String>>,
}

/// Reads a graph from its first operator to its last.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    limits: &'a Limits,
    values: BTreeMap<&'a str, Value>,
    ensemble: Option<(Ensemble, usize)>,
    /// The operator of the ensemble.
    operator: &'a str,
    steps: Vec<Step>,
    /// Width of each vector.
    widths: Vec<usize>,
    /// The first vector whose elements are in the same order of size as each vector's.
    orders: Vec<Vector>,
    /// Numbers that the steps give together, with their constants.
    numbers: usize,
    /// Numbers that constants and lists of columns may still have.
    numbers_left: Budget,
    /// Classes that the ensemble operator names.
    classes: Option<Arc<[Label]>>,
}

impl<'a> Reader<'a> {
    pub(super) fn read(view: &GraphView<'a>, limits: &'a Limits) -> Result<Reading, ImportError> {
        let mut reader = Self {
            limits,
            values: BTreeMap::new(),
            ensemble: None,
            operator: "the graph",
            steps: Vec::new(),
            widths: Vec::new(),
            orders: Vec::new(),
            numbers: 0,
            numbers_left: Budget::new("numbers in constants and lists of columns", limits.numbers_max),
            classes: None,
        };
        for (name, tensor) in &view.initializers {
            let constant = reader.constant_value(tensor.elements(limits.outputs_max)?)?;
            reader.name(name, constant)?;
        }
        let constants: Vec<&str> = view.initializers.iter().map(|(name, _)| *name).collect();
        let rows: Vec<&InputView<'a>> = view.inputs.iter().filter(|input| !constants.contains(&input.name)).collect();
        let inputs = reader.inputs(&rows)?;
        for node in &view.nodes {
            let made = reader.operator(node)?;
            if made.len() < node.outputs.len() {
                return graph(format_args!("{} has more outputs than it can have", node.op));
            }
            for (name, value) in node.outputs.iter().zip(made).filter(|(name, _)| !name.is_empty()) {
                reader.name(name, value)?;
            }
        }
        reader.finish(&view.outputs, inputs)
    }

    fn name(&mut self, name: &'a str, value: Value) -> Result<(), ImportError> {
        match self.values.insert(name, value) {
            None => Ok(()),
            Some(_) => graph(format_args!("two values are called `{name}`")),
        }
    }

    /// Numbers the features through all inputs.
    fn inputs(&mut self, views: &[&InputView<'a>]) -> Result<Inputs, ImportError> {
        let (mut names, mut n_features) = (Vec::new(), 0);
        for input in views {
            if !matches!(input.elem_type, Tensor::FLOAT | Tensor::DOUBLE | Tensor::INT64 | Tensor::INT32) {
                return graph(format_args!(
                    "input `{}` must be a tensor of float32, float64, int32 or int64, its element type is {}",
                    input.name, input.elem_type
                ));
            }
            let width = match input.dims.as_slice() {
                [_, Some(width)] | [Some(width)] => usize::try_from(*width).ok().filter(|width| *width > 0),
                [_, None] | [None] | [] => None,
                dims => return graph(format_args!("input `{}` has {} dimensions, not 2", input.name, dims.len())),
            };
            let Some(width) = width else {
                if views.len() > 1 {
                    return graph(format_args!("input `{}` does not say how many columns it has", input.name));
                }
                self.name(input.name, Value::Features(None))?;
                return Ok(Inputs::default());
            };
            if width > self.limits.features_max - n_features {
                return Err(ImportError::TooMany { what: "features", max: self.limits.features_max });
            }
            self.numbers_left.spend(width)?;
            self.name(input.name, Value::Features(Some((n_features..n_features + width).collect())))?;
            if width == 1 {
                names.push(input.name.to_owned());
            } else {
                names.extend((0..width).map(|column| format!("{}{column}", input.name)));
            }
            n_features += width;
        }
        if views.is_empty() {
            return graph("it has no input");
        }
        Ok(Inputs { declared: Some(n_features), names: (views.len() > 1).then_some(names) })
    }

    /// The values that an operator makes.
    fn operator(&mut self, node: &NodeView<'a>) -> Result<Vec<Value>, ImportError> {
        let one = |value| vec![value];
        let domain = if node.domain == "ai.onnx" { "" } else { node.domain };
        match (domain, node.op) {
            ("ai.onnx.ml", "TreeEnsembleClassifier") => self.classifier(node),
            ("ai.onnx.ml", "TreeEnsembleRegressor") => {
                let ensemble = Ensemble::regressor(node, self.limits)?;
                self.regressor(node, ensemble).map(one)
            }
            ("ai.onnx.ml", "TreeEnsemble") => {
                let ensemble = Ensemble::version5(node, self.limits)?;
                self.regressor(node, ensemble).map(one)
            }
            ("ai.onnx.ml", "ZipMap") => self.zip_map(node).map(one),
            ("ai.onnx.ml", "Normalizer") => {
                let function = match node.text("norm")?.unwrap_or("MAX") {
                    "L1" => Function::NormalizeL1,
                    "L2" => Function::NormalizeL2,
                    other => return node.wrong("norm", format_args!("{other} cannot be imported, L1 and L2 can")),
                };
                self.apply(node, function).map(one)
            }
            ("ai.onnx.ml", "ArrayFeatureExtractor") | ("", "Gather") => self.gather(node).map(one),
            ("", "Identity") => self.input(node, 0).map(one),
            ("", "Constant") => match node.tensor("value")? {
                Some(tensor) => self.constant_value(tensor.elements(self.limits.outputs_max)?).map(one),
                None => node.wrong("value", "must be there"),
            },
            ("", "Cast") => self.cast(node).map(one),
            ("", "Exp") => self.apply(node, Function::Exp).map(one),
            ("", "Sigmoid") => self.apply(node, Function::Logistic).map(one),
            ("", "Softmax") => {
                along_columns(node, -1)?;
                self.apply(node, Function::Softmax).map(one)
            }
            ("", "Neg") => {
                let of = self.vector(node, 0)?;
                let zero = Operand::Constant(vec![0.0]);
                self.step(Step::Binary { op: Binary::Sub, left: zero, right: Operand::Vector(of) }).map(one)
            }
            ("", "Add") => self.arithmetic(node, Binary::Add).map(one),
            ("", "Sub") => self.arithmetic(node, Binary::Sub).map(one),
            ("", "Mul") => self.arithmetic(node, Binary::Mul).map(one),
            ("", "Div") => self.arithmetic(node, Binary::Div).map(one),
            ("", "ArgMax") => {
                along_columns(node, 0)?;
                if node.int("select_last_index")?.unwrap_or(0) != 0 {
                    return node.wrong("select_last_index", "must be 0");
                }
                Ok(one(Value::Index(self.vector(node, 0)?)))
            }
            ("", "Concat") => self.concat(node).map(one),
            ("", "Slice") => self.slice(node).map(one),
            ("", "Split") => self.split(node),
            ("", "Reshape" | "Squeeze" | "Flatten") => self.reshape(node).map(one),
            ("", op) => Err(ImportError::Operator(op.to_owned())),
            (domain, op) => Err(ImportError::Operator(format!("{domain}.{op}"))),
        }
    }

    fn input(&self, node: &NodeView<'a>, at: usize) -> Result<Value, ImportError> {
        let name = node.inputs.get(at).copied().unwrap_or_default();
        match self.values.get(name) {
            Some(value) => Ok(value.clone()),
            None if name.is_empty() => graph(format_args!("{} lacks input {at}", node.op)),
            None => graph(format_args!(
                "{} uses `{name}`, which nothing before it makes: the graph has a cycle or lacks an operator",
                node.op
            )),
        }
    }

    fn vector(&self, node: &NodeView<'a>, at: usize) -> Result<Vector, ImportError> {
        match self.input(node, at)? {
            Value::Vector(vector) => Ok(vector),
            _ => graph(format_args!("{} must come after the trees, on their numbers", node.op)),
        }
    }

    fn constant_value(&mut self, elements: Elements) -> Result<Value, ImportError> {
        self.numbers_left.spend(elements.len())?;
        Ok(Value::Constant(Arc::new(elements)))
    }

    fn constant(&self, node: &NodeView<'a>, at: usize) -> Result<Arc<Elements>, ImportError> {
        match self.input(node, at)? {
            Value::Constant(elements) => Ok(elements),
            _ => graph(format_args!("input {at} of {} must be a constant", node.op)),
        }
    }

    /// Appends a step.
    fn step(&mut self, step: Step) -> Result<Value, ImportError> {
        let width = step.width(&self.widths).or_else(graph)?;
        if width > self.limits.outputs_max {
            return Err(ImportError::TooMany { what: "numbers per row", max: self.limits.outputs_max });
        }
        let made = self.widths.len();
        self.widths.push(width);
        self.numbers += step.numbers(&self.widths);
        check_numbers(self.numbers).or_else(graph)?;
        self.orders.push(step.same_order().map_or(made, |of| self.orders[of]));
        self.steps.push(step);
        Ok(Value::Vector(made))
    }

    fn apply(&mut self, node: &NodeView<'a>, function: Function) -> Result<Value, ImportError> {
        let to = self.vector(node, 0)?;
        self.step(Step::Apply { function, to })
    }

    fn arithmetic(&mut self, node: &NodeView<'a>, op: Binary) -> Result<Value, ImportError> {
        let side = |at| match self.input(node, at)? {
            Value::Vector(vector) => Ok(Operand::Vector(vector)),
            Value::Constant(elements) => Ok(Operand::Constant(elements.numbers()?)),
            _ => graph(format_args!("{} must come after the trees, on their numbers", node.op)),
        };
        let (left, right) = (side(0)?, side(1)?);
        self.step(Step::Binary { op, left, right })
    }

    fn cast(&mut self, node: &NodeView<'a>) -> Result<Value, ImportError> {
        let to = node.int("to")?.unwrap_or(0);
        match (self.input(node, 0)?, to) {
            (value @ (Value::Features(_) | Value::Vector(_)), Tensor::FLOAT | Tensor::DOUBLE)
            | (value @ Value::Index(_), Tensor::INT64 | Tensor::INT32) => Ok(value),
            (Value::Label { scores, classes }, Tensor::STRING) => {
                let classes = classes.iter().map(|class| Label::Str(class.to_string())).collect();
                Ok(Value::Label { scores, classes })
            }
            (value @ Value::Label { .. }, Tensor::INT64 | Tensor::INT32) => match &value {
                Value::Label { classes, .. } if classes.iter().any(|class| matches!(class, Label::Str(_))) => {
                    node.wrong("to", "class labels that are strings cannot become whole numbers")
                }
                _ => Ok(value),
            },
            (_, other) => node.wrong("to", format_args!("a cast of this value to type {other} cannot be imported")),
        }
    }

    fn zip_map(&mut self, node: &NodeView<'a>) -> Result<Value, ImportError> {
        let of = self.vector(node, 0)?;
        let classes = classes(node, self.limits)?;
        if classes.len() != self.widths[of] {
            return graph(format_args!("ZipMap names {} classes for {} numbers", classes.len(), self.widths[of]));
        }
        Ok(Value::Map { of, classes })
    }
}

/// The class labels that an operator lists: two or more, all different.
fn classes(node: &NodeView<'_>, limits: &Limits) -> Result<Arc<[Label]>, ImportError> {
    let ints = node.ints("classlabels_int64s", limits.outputs_max)?;
    let texts = node.texts("classlabels_strings", limits.outputs_max)?;
    let name = if texts.is_empty() { "classlabels_int64s" } else { "classlabels_strings" };
    if !ints.is_empty() && !texts.is_empty() {
        return node.wrong(name, "is there together with `classlabels_int64s`");
    }
    let ints = ints.into_iter().map(Label::Int);
    let classes: Vec<Label> = ints.chain(texts.into_iter().map(|text| Label::Str(text.to_owned()))).collect();
    different(&classes).or_else(|reason| node.wrong(name, reason))?;
    Ok(classes.into())
}

fn different(classes: &[Label]) -> Result<(), String> {
    let mut sorted: Vec<&Label> = classes.iter().collect();
    sorted.sort();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(twice) => Err(format!("two classes are called `{}`", twice[0])),
        None if classes.len() < 2 => Err("must name two classes or more".to_owned()),
        None => Ok(()),
    }
}

/// Refuses any axis but the columns'.
fn along_columns(node: &NodeView<'_>, default: i64) -> Result<(), ImportError> {
    match node.int("axis")?.unwrap_or(default) {
        1 | -1 => Ok(()),
        other => node.wrong("axis", format_args!("must be 1, got {other}")),
    }
}
