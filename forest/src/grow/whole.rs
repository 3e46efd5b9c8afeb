//! Cuts for classes with whole weights (bootstrap counts), where every sum is an exact integer.
//!
//! For each feature looked at, the node's rows become one array of 64-bit keys, value above, class and weight below; it is
//! sorted and scanned. The order of equal values does not matter, since integer sums do not depend on it.

use std::marker::PhantomData;

use super::impurity::Impurity;
use super::node::{Bounds, Cut};
use super::plan::{Plan, RowWeights};
use super::scan::{Limits, Tallies};
use super::tally::{Load, middle};
use super::{FEATURE_THRESHOLD, Sides, Splitter};
use crate::frame::Frame;
use crate::random::Xorshift;

/// A row's value of one feature and its load, ordered by value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(u64);

impl Key {
    const SIGN: u32 = 1 << 31;

    /// Flips bits so that the order of unsigned integers is the order of the numbers.
    pub(super) fn new(value: f32, load: Load) -> Self {
        let bits = value.to_bits();
        let ordered = if bits & Self::SIGN == 0 { bits | Self::SIGN } else { !bits };
        Self(u64::from(ordered) << 32 | u64::from(load.bits()))
    }

    pub(super) fn value(self) -> f32 {
        let ordered = (self.0 >> 32) as u32;
        f32::from_bits(if ordered & Self::SIGN == 0 { !ordered } else { ordered & !Self::SIGN })
    }

    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    pub(super) fn load(self) -> Load {
        Load::from_bits(self.0 as u32)
    }
}

/// The splitter for classes with whole weights.
pub(super) struct WholeSplitter<'a, I> {
    frame: &'a Frame,
    plan: &'a Plan,
    min_weight_leaf: f64,
    /// Rows of the tree; a node is a range of it. Ascending within every node, so that columns are read forwards.
    rows: Vec<u32>,
    /// Load of each row of the frame.
    loads: Vec<Load>,
    start: usize,
    end: usize,
    tallies: Tallies,
    keys: Vec<Key>,
    moved: Vec<u32>,
    impurity: PhantomData<I>,
}

impl<'a, I: Impurity> WholeSplitter<'a, I> {
    /// `None` if the weights are not whole, or weights or classes do not fit 16 bits each.
    pub(super) fn new(frame: &'a Frame, plan: &'a Plan, weights: &RowWeights) -> Option<Self> {
        if plan.n_outputs > 1 << Load::BITS {
            return None;
        }
        let count = weights.whole(1 << Load::BITS)?;
        let rows = weights.weighted_rows(frame.n_samples());
        let mut loads = vec![Load::new(0, 0); frame.n_samples()];
        for &row in &rows {
            loads[row as usize] = Load::new(frame.class_indexes()[row as usize], count(row));
        }
        Some(Self {
            frame,
            plan,
            min_weight_leaf: plan.min_weight_fraction_leaf * weights.total(frame.n_samples()),
            keys: Vec::with_capacity(rows.len()),
            moved: Vec::with_capacity(rows.len()),
            rows,
            loads,
            start: 0,
            end: 0,
            tallies: Tallies::new(plan.n_outputs),
            impurity: PhantomData,
        })
    }

    /// Sorted keys of the node's rows that have a value; the others go to the tally of missing values.
    fn sort_values(&mut self, feature: usize) {
        let column = self.frame.column(feature);
        self.keys.clear();
        self.tallies.missing.clear();
        for &row in &self.rows[self.start..self.end] {
            let (value, load) = (column[row as usize], self.loads[row as usize]);
            if value.is_nan() {
                self.tallies.missing.add(load);
            } else {
                self.keys.push(Key::new(value, load));
            }
        }
        self.keys.sort_unstable();
    }
}

impl<I: Impurity> Splitter for WholeSplitter<'_, I> {
    fn n_rows(&self) -> usize {
        self.rows.len()
    }

    fn enter(&mut self, start: usize, end: usize) -> f64 {
        (self.start, self.end) = (start, end);
        self.tallies.total.clear();
        for &row in &self.rows[start..end] {
            self.tallies.total.add(self.loads[row as usize]);
        }
        self.tallies.total.weight()
    }

    fn impurity(&self) -> f64 {
        self.tallies.total.impurity::<I>()
    }

    fn push_value(&self, out: &mut Vec<f64>) {
        self.tallies.total.push_fractions(out);
    }

    fn search(&mut self, feature: usize, bounds: Bounds, _stream: &mut Xorshift, best: &mut Option<Cut>) -> bool {
        self.sort_values(feature);
        let n_missing = self.end - self.start - self.keys.len();
        let (Some(first), Some(last)) = (self.keys.first(), self.keys.last()) else { return false };
        if n_missing == 0 && last.value() <= first.value() + FEATURE_THRESHOLD {
            return false;
        }
        let limits = Limits::new(self.plan, self.min_weight_leaf, feature, bounds);
        let at = |place: usize| (self.keys[place].value(), self.keys[place].load());
        self.tallies.search::<I>(self.keys.len(), n_missing, at, &limits, best);
        true
    }

    fn apply(&mut self, cut: &mut Cut) -> Sides {
        let column = self.frame.column(cut.feature);
        self.tallies.left.clear();
        self.tallies.right.clear();
        self.moved.clear();
        let mut position = self.start;
        for at in self.start..self.end {
            let row = self.rows[at];
            let (value, load) = (column[row as usize], self.loads[row as usize]);
            let goes_left = if value.is_nan() { cut.missing_go_to_left } else { f64::from(value) <= cut.threshold };
            if goes_left {
                self.tallies.left.add(load);
                self.rows[position] = row;
                position += 1;
            } else {
                self.tallies.right.add(load);
                self.moved.push(row);
            }
        }
        self.rows[position..self.end].copy_from_slice(&self.moved);
        let (weight_left, weight_right) = (self.tallies.left.weight(), self.tallies.right.weight());
        Sides {
            position,
            impurity_left: self.tallies.left.impurity::<I>(),
            impurity_right: self.tallies.right.impurity::<I>(),
            weight_left,
            weight_right,
            middle: middle(&self.tallies.left, &self.tallies.right),
        }
    }
}
