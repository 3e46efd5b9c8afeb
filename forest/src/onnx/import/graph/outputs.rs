//! What the graph gives out: labels and probabilities, or a number.

use std::sync::Arc;

use super::{Inputs, Reader, Reading, Value};
use crate::finish::{Finish, Step, Vector};
use crate::frame::Label;
use crate::onnx::import::error::{ImportError, graph};

/// The outputs, sorted.
#[derive(Debug, Default)]
struct Outputs {
    /// Vector whose largest element decides, and the classes.
    label: Option<(Vector, Arc<[Label]>)>,
    numbers: Vec<Vector>,
}

impl Reader<'_> {
    pub(super) fn finish(mut self, names: &[&str], inputs: Inputs) -> Result<Reading, ImportError> {
        let Outputs { label, numbers } = self.outputs(names)?;
        let Some((ensemble, width)) = self.ensemble.take() else { return graph("it has no tree ensemble") };
        let (answer, classes) = match label {
            Some((scores, classes)) => (self.probabilities(scores, classes.len(), &numbers)?, classes.to_vec()),
            None => match numbers.as_slice() {
                [] => return graph("it has no output"),
                [one] if self.widths[*one] == 1 => (*one, Vec::new()),
                several => {
                    let n_numbers: usize = several.iter().map(|one| self.widths[*one]).sum();
                    return graph(format_args!(
                        "{} gives {n_numbers} numbers per row and no classes for them: a regressor of several targets \
                         cannot be imported, one of each target can",
                        self.operator
                    ));
                }
            },
        };
        let finish = Finish { sum: !ensemble.average, steps: self.steps, answer };
        Ok(Reading { ensemble, width, finish, classes, inputs })
    }

    fn outputs(&self, names: &[&str]) -> Result<Outputs, ImportError> {
        let mut outputs = Outputs::default();
        let mut mapped = None;
        for name in names {
            match self.values.get(name) {
                Some(Value::Label { scores, classes }) if outputs.label.is_none() => {
                    outputs.label = Some((*scores, classes.clone()));
                }
                Some(Value::Index(scores)) if outputs.label.is_none() => {
                    let classes = (0..).take(self.widths[*scores]).map(Label::Int).collect();
                    outputs.label = Some((*scores, classes));
                }
                Some(Value::Map { of, classes }) => {
                    outputs.numbers.push(*of);
                    mapped = Some((*of, classes.clone()));
                }
                Some(Value::Vector(vector)) => outputs.numbers.push(*vector),
                Some(_) => {
                    return graph(format_args!("output `{name}` is neither label nor probabilities nor a number"));
                }
                None => return graph(format_args!("nothing makes the output `{name}`")),
            }
        }
        if outputs.label.is_none() {
            let of_ensemble = || Some((*outputs.numbers.first()?, self.classes.clone()?));
            outputs.label = mapped.or_else(of_ensemble);
        }
        Ok(outputs)
    }

    /// The vector of probabilities, in whose order of size the label's scores must be.
    fn probabilities(&self, scores: Vector, n_classes: usize, numbers: &[Vector]) -> Result<Vector, ImportError> {
        let answer = match numbers {
            [] => scores,
            [one] => *one,
            columns => match self.joined(columns) {
                Some(whole) => whole,
                None => return graph("its outputs are not the columns of one vector of probabilities"),
            },
        };
        if self.widths[answer] != n_classes {
            return graph(format_args!("it gives {} numbers for {n_classes} classes", self.widths[answer]));
        }
        if self.orders[answer] != self.orders[scores] {
            return graph("its label does not follow from its probabilities");
        }
        Ok(answer)
    }

    /// The vector whose columns these are, all and in order.
    fn joined(&self, columns: &[Vector]) -> Option<Vector> {
        let mut whole = None;
        for (at, column) in columns.iter().enumerate() {
            let Step::Columns { of, columns } = self.steps.get(column.checked_sub(1)?)? else { return None };
            if columns.as_slice() != [at] || whole.is_some_and(|whole| whole != *of) {
                return None;
            }
            whole = Some(*of);
        }
        whole.filter(|whole| self.widths[*whole] == columns.len())
    }
}
