//! Operators that choose, join and part columns.

use std::sync::Arc;

use super::{Reader, Value, along_columns};
use crate::finish::Step;
use crate::onnx::import::error::{ImportError, graph};
use crate::onnx::import::proto::NodeView;

impl<'a> Reader<'a> {
    /// Columns of features or of a vector.
    fn columns(&mut self, of: &Value, columns: Vec<usize>) -> Result<Value, ImportError> {
        match of {
            Value::Features(Some(features)) => {
                self.numbers_left.spend(columns.len())?;
                Ok(Value::Features(Some(columns.into_iter().map(|column| features[column]).collect())))
            }
            Value::Vector(vector) => self.step(Step::Columns { of: *vector, columns }),
            _ => graph("columns can be chosen of the input and of the trees' numbers only"),
        }
    }

    /// Number of columns.
    fn width(&self, value: &Value) -> Option<usize> {
        match value {
            Value::Features(Some(columns)) => Some(columns.len()),
            Value::Vector(vector) => Some(self.widths[*vector]),
            Value::Index(_) | Value::Label { .. } => Some(1),
            Value::Features(None) | Value::Map { .. } | Value::Constant(_) => None,
        }
    }

    /// `Gather` and `ArrayFeatureExtractor`: columns by number, or the label at the place of the largest number.
    pub(super) fn gather(&mut self, node: &NodeView<'a>) -> Result<Value, ImportError> {
        let data = self.input(node, 0)?;
        if let (Value::Constant(labels), Value::Index(scores)) = (&data, self.input(node, 1)?) {
            if node.op == "Gather" && !matches!(node.int("axis")?.unwrap_or(0), 0 | -1) {
                return node.wrong("axis", "must be 0 for a list of labels");
            }
            let classes = labels.labels()?;
            super::different(&classes).or_else(graph)?;
            if classes.len() != self.widths[scores] {
                return graph(format_args!("{} labels stand for {} numbers", classes.len(), self.widths[scores]));
            }
            return Ok(Value::Label { scores, classes: classes.into() });
        }
        if node.op == "Gather" {
            along_columns(node, 0)?;
        }
        let Some(width) = self.width(&data) else {
            return graph(format_args!("{} must look at columns whose number is known", node.op));
        };
        let columns = self.constant(node, 1)?.places(width)?;
        self.columns(&data, columns)
    }

    pub(super) fn concat(&mut self, node: &NodeView<'a>) -> Result<Value, ImportError> {
        along_columns(node, 0)?;
        let parts = (0..node.inputs.len()).map(|at| self.input(node, at)).collect::<Result<Vec<_>, _>>()?;
        let features: Option<Vec<&Arc<[usize]>>> = parts
            .iter()
            .map(|part| match part {
                Value::Features(columns) => columns.as_ref(),
                _ => None,
            })
            .collect();
        if let Some(features) = features.filter(|features| !features.is_empty()) {
            let width = features.iter().fold(0, |width: usize, columns| width.saturating_add(columns.len()));
            if width > self.limits.features_max {
                return Err(ImportError::TooMany { what: "features", max: self.limits.features_max });
            }
            self.numbers_left.spend(width)?;
            return Ok(Value::Features(Some(features.into_iter().flat_map(|columns| &**columns).copied().collect())));
        }
        let vectors = (0..node.inputs.len()).map(|at| self.vector(node, at)).collect::<Result<Vec<_>, _>>()?;
        self.step(Step::Concat { of: vectors })
    }

    pub(super) fn slice(&mut self, node: &NodeView<'a>) -> Result<Value, ImportError> {
        let data = self.input(node, 0)?;
        let Some(width) = self.width(&data) else {
            return graph("Slice must look at columns whose number is known");
        };
        let one = |at| match self.constant(node, at)?.ints()? {
            [number] => Ok(*number),
            _ => graph("Slice must cut along the columns only"),
        };
        let steps_given = node.inputs.get(4).is_some_and(|name| !name.is_empty());
        if !matches!(one(3)?, 1 | -1) || steps_given && one(4)? != 1 {
            return graph("Slice must cut along the columns only, one by one");
        }
        let len = i64::try_from(width).unwrap_or(i64::MAX);
        let place = |number: i64| {
            let from_front = if number < 0 { number.saturating_add(len) } else { number };
            usize::try_from(from_front.clamp(0, len)).unwrap_or(0)
        };
        let (start, end) = (place(one(1)?), place(one(2)?));
        self.columns(&data, (start..end).collect())
    }

    pub(super) fn split(&mut self, node: &NodeView<'a>) -> Result<Vec<Value>, ImportError> {
        along_columns(node, 0)?;
        let data = self.input(node, 0)?;
        let Some(width) = self.width(&data) else {
            return graph("Split must look at columns whose number is known");
        };
        let sizes = match node.inputs.get(1) {
            Some(_) => self.constant(node, 1)?.ints()?.to_vec(),
            None => node.ints("split", self.limits.outputs_max)?,
        };
        let parts = node.outputs.len().max(1);
        let sizes = if sizes.is_empty() && width.is_multiple_of(parts) {
            vec![width / parts; parts]
        } else {
            sizes.iter().map(|size| usize::try_from(*size).unwrap_or(usize::MAX)).collect()
        };
        if sizes.len() != node.outputs.len()
            || sizes.iter().fold(0, |sum: usize, size| sum.saturating_add(*size)) != width
        {
            return graph(format_args!("Split parts {width} columns into sizes {sizes:?}"));
        }
        let mut start = 0;
        let mut made = Vec::with_capacity(sizes.len());
        for size in sizes {
            made.push(self.columns(&data, (start..start + size).collect())?);
            start += size;
        }
        Ok(made)
    }

    /// Shapes that leave every row's numbers together.
    pub(super) fn reshape(&mut self, node: &NodeView<'a>) -> Result<Value, ImportError> {
        let data = self.input(node, 0)?;
        let width = self.width(&data);
        let shape = match node.op {
            "Reshape" => self.constant(node, 1)?.ints()?.to_vec(),
            "Squeeze" => vec![-1],
            _ => {
                along_columns(node, 1)?;
                return Ok(data);
            }
        };
        let columns = |n: i64| n == -1 || usize::try_from(n).ok() == width;
        let kept = match shape.as_slice() {
            [-1] => width == Some(1),
            [0 | -1, n] => columns(*n),
            _ => false,
        };
        if kept { Ok(data) } else { graph(format_args!("{} to shape {shape:?} mixes rows", node.op)) }
    }
}
