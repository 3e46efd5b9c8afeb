//! The ensemble operator itself: leaf width, biases, post-transforms, classes.

use super::{Reader, Value, classes};
use crate::finish::{Binary, Function, Operand, Step, Vector};
use crate::onnx::import::ensemble::{Ensemble, PostTransform};
use crate::onnx::import::error::{ImportError, graph};
use crate::onnx::import::proto::NodeView;

impl<'a> Reader<'a> {
    /// Takes the ensemble in, whose leaves have `width` numbers; their sum or mean becomes vector 0.
    fn ensemble(&mut self, node: &NodeView<'a>, mut ensemble: Ensemble, width: usize) -> Result<Vector, ImportError> {
        if self.ensemble.is_some() {
            return graph("it has more than one tree ensemble");
        }
        match self.input(node, 0)? {
            Value::Features(None) => {}
            Value::Features(Some(columns)) => ensemble.trees.map_features(&columns)?,
            _ => return graph(format_args!("{} must look at the input's columns", node.op)),
        }
        self.ensemble = Some((ensemble, width));
        self.operator = node.op;
        self.widths.push(width);
        self.orders.push(0);
        Ok(0)
    }

    /// A vector plus the ensemble's biases, if it has any.
    fn with_base(&mut self, vector: Vector, base_values: Vec<f64>) -> Result<Vector, ImportError> {
        if base_values.is_empty() {
            return Ok(vector);
        }
        let (left, right) = (Operand::Vector(vector), Operand::Constant(base_values));
        self.make(Step::Binary { op: Binary::Add, left, right })
    }

    fn make(&mut self, step: Step) -> Result<Vector, ImportError> {
        self.step(step)?;
        Ok(self.widths.len() - 1)
    }

    fn transformed(&mut self, to: Vector, transform: PostTransform) -> Result<Vector, ImportError> {
        let function = match transform {
            PostTransform::None => return Ok(to),
            PostTransform::Softmax => Function::Softmax,
            PostTransform::Logistic => Function::Logistic,
            PostTransform::SoftmaxZero => Function::SoftmaxZero,
            PostTransform::Probit => Function::Probit,
        };
        self.make(Step::Apply { function, to })
    }

    /// `TreeEnsembleRegressor`, or `TreeEnsemble`.
    pub(super) fn regressor(&mut self, node: &NodeView<'a>, mut ensemble: Ensemble) -> Result<Value, ImportError> {
        let (width, transform) = (ensemble.n_targets, ensemble.post_transform);
        let base_values = std::mem::take(&mut ensemble.base_values);
        if !base_values.is_empty() && base_values.len() != width {
            return node.wrong("base_values", format_args!("has {} elements, expected {width}", base_values.len()));
        }
        if width == 1 && !matches!(transform, PostTransform::None | PostTransform::Probit) {
            // ONNX Runtime leaves these out for one target.
            return node.wrong("post_transform", "must be NONE or PROBIT for one target");
        }
        let sums = self.ensemble(node, ensemble, width)?;
        let scores = self.with_base(sums, base_values)?;
        Ok(Value::Vector(self.transformed(scores, transform)?))
    }

    /// `TreeEnsembleClassifier`: the label and the scores.
    pub(super) fn classifier(&mut self, node: &NodeView<'a>) -> Result<Vec<Value>, ImportError> {
        let classes = classes(node, self.limits)?;
        let mut ensemble = Ensemble::classifier(node, classes.len(), self.limits)?;
        let transform = ensemble.post_transform;
        let base_values = std::mem::take(&mut ensemble.base_values);
        let one_score = classes.len() == 2 && !ensemble.trees.has_target(1);
        let scores = if one_score {
            self.two_classes(node, ensemble, base_values)?
        } else {
            let n_base = if classes.len() == 2 { 0 } else { classes.len() };
            if !base_values.is_empty() && base_values.len() != n_base {
                let reason = "for two classes that both have weights there must be none, for more as many as classes";
                return node.wrong("base_values", format_args!("has {} elements: {reason}", base_values.len()));
            }
            if classes.len() == 2 && !ensemble.trees.has_target(0) {
                return node
                    .wrong("class_ids", "all weights are for the second of two classes; write them for the first");
            }
            if classes.len() == 2 && transform == PostTransform::Probit {
                return node.wrong("post_transform", "PROBIT of two classes cannot be imported");
            }
            let sums = self.ensemble(node, ensemble, classes.len())?;
            let scores = self.with_base(sums, base_values)?;
            self.transformed(scores, transform)?
        };
        self.classes = Some(classes.clone());
        Ok(vec![Value::Label { scores, classes }, Value::Vector(scores)])
    }

    /// Two classes with one score, which is the second's: a probability if no weight is negative, else a margin.
    fn two_classes(
        &mut self,
        node: &NodeView<'a>,
        ensemble: Ensemble,
        base_values: Vec<f64>,
    ) -> Result<Vector, ImportError> {
        if base_values.len() > 1 {
            return node.wrong("base_values", "two classes with one score must have one at most");
        }
        let (transform, is_probability) = (ensemble.post_transform, !ensemble.trees.has_negative_weight());
        let sums = self.ensemble(node, ensemble, 1)?;
        let score = self.with_base(sums, base_values)?;
        let whole = match transform {
            PostTransform::Probit => return node.wrong("post_transform", "PROBIT of two classes cannot be imported"),
            PostTransform::Logistic => 0.0,
            _ if is_probability => 1.0,
            _ => 0.0,
        };
        let (left, right) = (Operand::Constant(vec![whole]), Operand::Vector(score));
        let first = self.make(Step::Binary { op: Binary::Sub, left, right })?;
        let both = self.make(Step::Concat { of: vec![first, score] })?;
        // ONNX Runtime applies no other transform to one score.
        let transform = if transform == PostTransform::Logistic { transform } else { PostTransform::None };
        self.transformed(both, transform)
    }
}
