//! From the sums over trees to the answer, for ensembles that other programs trained.
//!
//! A forest's answer is the mean of its trees. Boosted trees add a bias and put the sum through a link function; graphs
//! that carry them around an ensemble do the same in further steps. This is that arithmetic, per row and in float64.

use serde::{Deserialize, Serialize};

/// A vector per row, by its number: 0 is what the trees gave, step k makes number k + 1.
pub(crate) type Vector = usize;

/// Steps after the trees, and which vector is the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Finish {
    /// Whether trees are added up; else their mean is taken.
    pub(crate) sum: bool,
    pub(crate) steps: Vec<Step>,
    pub(crate) answer: Vector,
}

/// A step: a new vector from earlier ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Step {
    /// Element by element; a vector of one element goes with every element of the other.
    Binary { op: Binary, left: Operand, right: Operand },
    /// Each element, or all of them together.
    Apply { function: Function, to: Vector },
    /// These elements of a vector.
    Columns { of: Vector, columns: Vec<usize> },
    /// Vectors one after another.
    Concat { of: Vec<Vector> },
}

/// One side of a [`Step::Binary`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Operand {
    Vector(Vector),
    Constant(Vec<f64>),
}

/// Arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
}

/// Functions of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Function {
    Exp,
    Logistic,
    Softmax,
    /// Softmax that leaves zeros almost as they are.
    SoftmaxZero,
    /// The standard normal quantile, as ONNX Runtime approximates it.
    Probit,
    /// Divided by the sum of the absolute values, unless that is 0.
    NormalizeL1,
    /// Divided by the root of the sum of squares, unless that is 0.
    NormalizeL2,
}

/// Steps, at most: the longest chain that exporters write is far below.
const STEPS_MAX: usize = 10_000;
/// Numbers in all vectors and constants together, at most: what each row costs.
const NUMBERS_MAX: usize = 1 << 20;

impl Finish {
    /// Checks every number; returns the width of the answer for trees that give `width` numbers.
    pub(crate) fn check(&self, width: usize) -> Result<usize, &'static str> {
        if self.steps.len() > STEPS_MAX {
            return Err("too many steps after the trees");
        }
        let mut widths = vec![width];
        let mut numbers = 0;
        for step in &self.steps {
            widths.push(step.width(&widths)?);
            numbers += step.numbers(&widths);
            check_numbers(numbers)?;
        }
        widths.get(self.answer).copied().ok_or("the answer is not there")
    }

    /// The answers `(n_rows, n_outputs)` of means over trees `(n_rows, width)`.
    pub(crate) fn apply(&self, means: &[f64], width: usize, n_trees: usize, out: &mut [f64], n_outputs: usize) {
        #[expect(clippy::cast_precision_loss, reason = "a number of trees")]
        let scale = if self.sum { n_trees as f64 } else { 1.0 };
        let mut vectors = vec![Vec::new(); self.steps.len() + 1];
        for (means, out) in means.chunks_exact(width).zip(out.chunks_exact_mut(n_outputs)) {
            vectors[0].clear();
            vectors[0].extend(means.iter().map(|mean| mean * scale));
            for (at, step) in self.steps.iter().enumerate() {
                let (made, rest) = vectors.split_at_mut(at + 1);
                rest[0].clear();
                step.run(made, &mut rest[0]);
            }
            out.copy_from_slice(&vectors[self.answer]);
        }
    }
}

/// Refuses steps that make too many numbers of a row.
pub(crate) fn check_numbers(numbers: usize) -> Result<(), &'static str> {
    if numbers > NUMBERS_MAX { Err("steps give too many numbers together") } else { Ok(()) }
}

impl Operand {
    fn numbers<'a>(&'a self, made: &'a [Vec<f64>]) -> &'a [f64] {
        match self {
            Self::Vector(vector) => &made[*vector],
            Self::Constant(numbers) => numbers,
        }
    }
}

impl Step {
    /// Width of the step's vector, given those of the vectors before it.
    pub(crate) fn width(&self, widths: &[usize]) -> Result<usize, &'static str> {
        let of = |vector: &Vector| widths.get(*vector).copied().ok_or("a step uses a vector that is not there yet");
        let width = match self {
            Self::Binary { left, right, .. } => {
                let of = |operand: &Operand| match operand {
                    Operand::Vector(vector) => of(vector),
                    Operand::Constant(numbers) => Ok(numbers.len()),
                };
                match (of(left)?, of(right)?) {
                    (one, other) if one == other || other == 1 => one,
                    (1, other) => other,
                    _ => return Err("two vectors of different lengths meet in a step"),
                }
            }
            Self::Apply { to, .. } => of(to)?,
            Self::Columns { of: vector, columns } => {
                let width = of(vector)?;
                if columns.iter().any(|column| *column >= width) {
                    return Err("a step picks a column that is not there");
                }
                columns.len()
            }
            Self::Concat { of: vectors } => {
                let parts: Vec<usize> = vectors.iter().map(of).collect::<Result<_, _>>()?;
                parts.into_iter().fold(0, usize::saturating_add)
            }
        };
        if width == 0 || width > NUMBERS_MAX { Err("a step gives no numbers, or too many") } else { Ok(width) }
    }

    /// Numbers of the step's vector, the last of `widths`, and of its constants.
    pub(crate) fn numbers(&self, widths: &[usize]) -> usize {
        let constant = |operand: &Operand| match operand {
            Operand::Vector(_) => 0,
            Operand::Constant(numbers) => numbers.len(),
        };
        let constants = match self {
            Self::Binary { left, right, .. } => constant(left) + constant(right),
            _ => 0,
        };
        widths.last().copied().unwrap_or(0) + constants
    }

    /// The vector whose elements are in the same order of size as this step's, if there is one.
    pub(crate) fn same_order(&self) -> Option<Vector> {
        match self {
            Self::Apply { function, to } if function.keeps_order() => Some(*to),
            Self::Binary { op, left: Operand::Vector(vector), right: Operand::Constant(numbers) } => {
                match (op, numbers.as_slice()) {
                    (Binary::Add | Binary::Sub, [_]) => Some(*vector),
                    (Binary::Mul | Binary::Div, [number]) if *number > 0.0 => Some(*vector),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Appends the step's vector to `into`.
    fn run(&self, made: &[Vec<f64>], into: &mut Vec<f64>) {
        match self {
            Self::Binary { op, left, right } => {
                let (left, right) = (left.numbers(made), right.numbers(made));
                let n = left.len().max(right.len());
                let element = |numbers: &[f64], at: usize| numbers[if numbers.len() == 1 { 0 } else { at }];
                into.extend((0..n).map(|at| op.of(element(left, at), element(right, at))));
            }
            Self::Apply { function, to } => {
                into.extend_from_slice(&made[*to]);
                function.run(into);
            }
            Self::Columns { of, columns } => into.extend(columns.iter().map(|column| made[*of][*column])),
            Self::Concat { of } => {
                for vector in of {
                    into.extend_from_slice(&made[*vector]);
                }
            }
        }
    }
}

impl Binary {
    fn of(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Sub => left - right,
            Self::Mul => left * right,
            Self::Div => left / right,
        }
    }
}

impl Function {
    /// Whether the larger of two elements stays the larger.
    pub(crate) fn keeps_order(self) -> bool {
        self != Self::SoftmaxZero
    }

    fn run(self, numbers: &mut [f64]) {
        match self {
            Self::Exp => each(numbers, f64::exp),
            Self::Logistic => each(numbers, logistic),
            Self::Probit => each(numbers, probit),
            Self::Softmax => {
                let largest = largest(numbers);
                each(numbers, |number| (number - largest).exp());
                divide(numbers, numbers.iter().sum());
            }
            Self::SoftmaxZero => softmax_zero(numbers),
            Self::NormalizeL1 => divide(numbers, numbers.iter().map(|number| number.abs()).sum()),
            Self::NormalizeL2 => divide(numbers, numbers.iter().map(|number| number * number).sum::<f64>().sqrt()),
        }
    }
}

fn each(numbers: &mut [f64], function: impl Fn(f64) -> f64) {
    for number in numbers {
        *number = function(*number);
    }
}

fn largest(numbers: &[f64]) -> f64 {
    numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

fn divide(numbers: &mut [f64], by: f64) {
    if by > 0.0 {
        for number in numbers {
            *number /= by;
        }
    }
}

/// 1 / (1 + e^−x), without overflow on either side.
fn logistic(x: f64) -> f64 {
    let small = (-x.abs()).exp();
    if x < 0.0 { small / (1.0 + small) } else { 1.0 / (1.0 + small) }
}

/// What ONNX calls `SOFTMAX_ZERO`, as ONNX Runtime computes it: zeros take no part in the sum.
fn softmax_zero(numbers: &mut [f64]) {
    const ZERO: f64 = 1e-7;
    let largest = largest(numbers);
    let mut sum = 0.0;
    for number in numbers.iter_mut() {
        if number.abs() > ZERO {
            *number = (*number - largest).exp();
            sum += *number;
        } else {
            *number *= (-largest).exp();
        }
    }
    divide(numbers, sum);
}

/// The standard normal quantile by Winitzki's approximation of the inverse error function (2008), with the constants and in
/// the float32 arithmetic of ONNX Runtime; right to about 0.002.
#[expect(clippy::approx_constant, reason = "ONNX Runtime's digits of pi and of the root of two")]
#[expect(clippy::cast_possible_truncation, reason = "its cancellation near 0 is part of the answer")]
fn probit(p: f64) -> f64 {
    const A: f32 = 0.147;
    let x = 2.0 * p as f32 - 1.0;
    let log = ((1.0 - x) * (1.0 + x)).ln();
    let v = 2.0 / (3.14159 * A) + 0.5 * log;
    let root = (-v + (v * v - 1.0 / A * log).sqrt()).sqrt();
    f64::from(1.414_213_5 * if x < 0.0 { -root } else { root })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(finish: &Finish, means: &[f64], width: usize, n_trees: usize) -> Vec<f64> {
        let n_outputs = finish.check(width).unwrap();
        let mut out = vec![0.0; means.len() / width * n_outputs];
        finish.apply(means, width, n_trees, &mut out, n_outputs);
        out
    }

    fn close(got: &[f64], expected: &[f64]) {
        assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(expected) {
            assert!((got - expected).abs() < 1e-12, "{got} for {expected}");
        }
    }

    #[test]
    fn steps_follow_each_other_row_by_row() {
        let finish = Finish {
            sum: true,
            steps: vec![
                Step::Binary { op: Binary::Add, left: Operand::Vector(0), right: Operand::Constant(vec![0.5]) },
                Step::Apply { function: Function::Logistic, to: 1 },
                Step::Binary { op: Binary::Sub, left: Operand::Constant(vec![1.0]), right: Operand::Vector(2) },
                Step::Concat { of: vec![3, 2] },
            ],
            answer: 4,
        };
        let one = 1.0 / (1.0 + (-2.5_f64).exp());
        let two = 1.0 / (1.0 + (-800.5_f64).exp());
        close(&apply(&finish, &[1.0, 400.0], 1, 2), &[1.0 - one, one, 1.0 - two, two]);
    }

    #[test]
    fn functions_of_a_whole_vector() {
        let of = |function, numbers: &[f64]| {
            let finish = Finish { sum: false, steps: vec![Step::Apply { function, to: 0 }], answer: 1 };
            apply(&finish, numbers, numbers.len(), 7)
        };
        let e = std::f64::consts::E;
        close(&of(Function::Softmax, &[1000.0, 1001.0]), &[1.0 / (1.0 + e), e / (1.0 + e)]);
        close(&of(Function::SoftmaxZero, &[0.0, 2.0]), &[0.0, 1.0]);
        close(&of(Function::NormalizeL1, &[1.0, -3.0]), &[0.25, -0.75]);
        close(&of(Function::NormalizeL1, &[0.0, 0.0]), &[0.0, 0.0]);
        close(&of(Function::NormalizeL2, &[3.0, -4.0]), &[0.6, -0.8]);
        close(&of(Function::Logistic, &[-1e300, 0.0, 1e300]), &[0.0, 0.5, 1.0]);
        assert!((of(Function::Probit, &[0.975])[0] - 1.959_964).abs() < 3e-3);
    }

    #[test]
    fn steps_that_cannot_be_are_refused() {
        let check = |steps: Vec<Step>, answer| Finish { sum: false, steps, answer }.check(2).unwrap_err();
        assert_eq!(check(vec![], 1), "the answer is not there");
        assert_eq!(
            check(vec![Step::Apply { function: Function::Exp, to: 1 }], 0),
            "a step uses a vector that is not there yet"
        );
        assert_eq!(
            check(vec![Step::Columns { of: 0, columns: vec![2] }], 1),
            "a step picks a column that is not there"
        );
        assert_eq!(check(vec![Step::Concat { of: vec![] }], 1), "a step gives no numbers, or too many");
        let three = Operand::Constant(vec![0.0; 3]);
        let meet = Step::Binary { op: Binary::Add, left: Operand::Vector(0), right: three };
        assert_eq!(check(vec![meet], 1), "two vectors of different lengths meet in a step");
        let double = |at: usize| Step::Concat { of: vec![at, at] };
        assert_eq!(check((0..40).map(double).collect(), 1), "steps give too many numbers together");
        let wide = (0..16).map(double).chain((0..9).map(|at| Step::Apply { function: Function::Exp, to: 16 + at }));
        assert_eq!(check(wide.collect(), 1), "steps give too many numbers together");
        let constant = Operand::Constant(vec![0.0; 1 << 20]);
        let beside = Step::Binary { op: Binary::Add, left: constant, right: Operand::Vector(0) };
        assert_eq!(
            Finish { sum: false, steps: vec![beside], answer: 1 }.check(1),
            Err("steps give too many numbers together")
        );
    }
}
