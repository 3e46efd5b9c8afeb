//! Split quality over sums of float64 weights.

use super::impurity::Impurity;
use crate::frame::{Frame, Target};

/// Weighted sums of a set of rows.
#[derive(Debug, Clone, Default)]
pub(super) struct Sums {
    pub(super) sums: Vec<f64>,
    pub(super) weight: f64,
}

impl Sums {
    pub(super) fn new(n_outputs: usize) -> Self {
        Self { sums: vec![0.0; n_outputs], weight: 0.0 }
    }

    pub(super) fn parts(&self) -> (&[f64], f64) {
        (&self.sums, self.weight)
    }

    /// Mean of the first sum, on which monotonic constraints act.
    pub(super) fn first(&self) -> f64 {
        self.sums[0] / self.weight
    }

    pub(super) fn clear(&mut self) {
        self.sums.fill(0.0);
        self.weight = 0.0;
    }

    pub(super) fn copy_from(&mut self, other: &Self) {
        self.sums.copy_from_slice(&other.sums);
        self.weight = other.weight;
    }
}

/// What a node is summed up to, and how good a cut is.
pub(super) trait Measure {
    /// Adds a row of the frame to sums, `(n_outputs,)`.
    fn add(&self, sums: &mut [f64], row: usize, weight: f64);

    /// Takes a row from sums.
    fn remove(&self, sums: &mut [f64], row: usize, weight: f64);

    /// A row's part of the sum of squares, where the measure needs one.
    fn square(&self, row: usize, weight: f64) -> f64;

    /// Impurity of a set of rows.
    fn impurity(&self, sums: &[f64], weight: f64, squares: f64) -> f64;

    /// What the best cut maximises.
    fn score(&self, left: (&[f64], f64), right: (&[f64], f64)) -> f64;

    /// The rows' numbers, if these are all that is summed: then sums are single numbers.
    fn numbers(&self) -> Option<&[f64]> {
        None
    }
}

/// Class fractions, measured by an [`Impurity`].
pub(super) struct Classes<'a, I> {
    classes: &'a [u32],
    impurity: std::marker::PhantomData<I>,
}

impl<'a, I> Classes<'a, I> {
    pub(super) fn new(frame: &'a Frame) -> Self {
        Self { classes: frame.class_indexes(), impurity: std::marker::PhantomData }
    }
}

impl<I: Impurity> Measure for Classes<'_, I> {
    fn add(&self, sums: &mut [f64], row: usize, weight: f64) {
        sums[self.classes[row] as usize] += weight;
    }

    fn remove(&self, sums: &mut [f64], row: usize, weight: f64) {
        sums[self.classes[row] as usize] -= weight;
    }

    fn square(&self, _row: usize, _weight: f64) -> f64 {
        0.0
    }

    fn impurity(&self, sums: &[f64], weight: f64, _squares: f64) -> f64 {
        I::of_sums(sums, weight)
    }

    fn score(&self, left: (&[f64], f64), right: (&[f64], f64)) -> f64 {
        -right.1 * I::of_sums(right.0, right.1) - left.1 * I::of_sums(left.0, left.1)
    }
}

/// Mean and squared error of a number.
pub(super) struct SquaredError<'a> {
    values: &'a [f64],
}

impl<'a> SquaredError<'a> {
    pub(super) fn new(frame: &'a Frame) -> Self {
        let values = match frame.target() {
            Target::Values(values) => values.as_slice(),
            Target::Classes { .. } => &[],
        };
        Self { values }
    }
}

impl Measure for SquaredError<'_> {
    fn add(&self, sums: &mut [f64], row: usize, weight: f64) {
        sums[0] += weight * self.values[row];
    }

    fn remove(&self, sums: &mut [f64], row: usize, weight: f64) {
        sums[0] -= weight * self.values[row];
    }

    fn square(&self, row: usize, weight: f64) -> f64 {
        weight * self.values[row] * self.values[row]
    }

    fn impurity(&self, sums: &[f64], weight: f64, squares: f64) -> f64 {
        let mean = sums[0] / weight;
        squares / weight - mean * mean
    }

    fn score(&self, left: (&[f64], f64), right: (&[f64], f64)) -> f64 {
        left.0[0] * left.0[0] / left.1 + right.0[0] * right.0[0] / right.1
    }

    fn numbers(&self) -> Option<&[f64]> {
        Some(self.values)
    }
}
