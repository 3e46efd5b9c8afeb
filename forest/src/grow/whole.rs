//! Cuts for classes with whole weights (bootstrap counts), where every sum is an exact integer.
//!
//! For each feature looked at, the node's rows become one array of 64-bit keys, value above, class and weight below; it is
//! sorted and scanned. The order of equal values does not matter, since integer sums do not depend on it.

use std::marker::PhantomData;

use super::impurity::Impurity;
use super::node::{Bounds, Cut};
use super::plan::{Plan, RowWeights};
use super::{FEATURE_THRESHOLD, Sides, Splitter};
use crate::frame::Frame;
use crate::random::Xorshift;

/// Class counts of a set of rows, with their sum and the sum of their squares.
#[derive(Debug, Clone, Default)]
struct Tally {
    counts: Vec<u64>,
    squares: u64,
    weight: u64,
}

impl Tally {
    fn new(n_classes: usize) -> Self {
        Self { counts: vec![0; n_classes], squares: 0, weight: 0 }
    }

    fn clear(&mut self) {
        self.counts.fill(0);
        (self.squares, self.weight) = (0, 0);
    }

    fn copy_from(&mut self, other: &Self) {
        self.counts.copy_from_slice(&other.counts);
        (self.squares, self.weight) = (other.squares, other.weight);
    }

    fn subtract(&mut self, other: &Self) {
        for (count, other) in self.counts.iter_mut().zip(&other.counts) {
            *count -= other;
        }
        self.weight -= other.weight;
        self.squares = self.counts.iter().map(|count| count * count).sum();
    }

    fn add(&mut self, load: Load) {
        let (count, weight) = (&mut self.counts[load.class()], load.weight());
        self.squares += weight * (2 * *count + weight);
        *count += weight;
        self.weight += weight;
    }

    fn remove(&mut self, load: Load) {
        let (count, weight) = (&mut self.counts[load.class()], load.weight());
        self.squares -= weight * (2 * *count - weight);
        *count -= weight;
        self.weight -= weight;
    }

    #[expect(clippy::cast_precision_loss, reason = "exact: a count of rows")]
    fn weight(&self) -> f64 {
        self.weight as f64
    }

    fn impurity<I: Impurity>(&self) -> f64 {
        I::of(&self.counts, self.squares, self.weight())
    }

    /// Fraction of the first class, on which monotonic constraints act.
    #[expect(clippy::cast_precision_loss, reason = "exact: a count of rows")]
    fn first(&self) -> f64 {
        self.counts[0] as f64 / self.weight()
    }
}

/// What a row brings to a tally: class in the upper half, weight in the lower.
#[derive(Debug, Clone, Copy)]
struct Load(u32);

impl Load {
    const BITS: u32 = 16;

    fn class(self) -> usize {
        (self.0 >> Self::BITS) as usize
    }

    fn weight(self) -> u64 {
        u64::from(self.0 & 0xFFFF)
    }
}

/// A row's value of one feature and its load, ordered by value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key(u64);

impl Key {
    const SIGN: u32 = 1 << 31;

    /// Flips bits so that the order of unsigned integers is the order of the numbers.
    fn new(value: f32, load: Load) -> Self {
        let bits = value.to_bits();
        let ordered = if bits & Self::SIGN == 0 { bits | Self::SIGN } else { !bits };
        Self(u64::from(ordered) << 32 | u64::from(load.0))
    }

    fn value(self) -> f32 {
        let ordered = (self.0 >> 32) as u32;
        f32::from_bits(if ordered & Self::SIGN == 0 { !ordered } else { ordered & !Self::SIGN })
    }

    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    fn load(self) -> Load {
        Load(self.0 as u32)
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
    total: Tally,
    left: Tally,
    right: Tally,
    missing: Tally,
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
        let mut loads = vec![Load(0); frame.n_samples()];
        for &row in &rows {
            loads[row as usize] = Load(frame.class_indexes()[row as usize] << Load::BITS | count(row));
        }
        let tally = Tally::new(plan.n_outputs);
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
            total: tally.clone(),
            left: tally.clone(),
            right: tally.clone(),
            missing: tally,
            impurity: PhantomData,
        })
    }

    /// Sorted keys of the node's rows that have a value; the others go to the tally of missing values.
    fn sort_values(&mut self, feature: usize) {
        let column = self.frame.column(feature);
        self.keys.clear();
        self.missing.clear();
        for &row in &self.rows[self.start..self.end] {
            let (value, load) = (column[row as usize], self.loads[row as usize]);
            if value.is_nan() {
                self.missing.add(load);
            } else {
                self.keys.push(Key::new(value, load));
            }
        }
        self.keys.sort_unstable();
    }

    /// One pass over the sorted keys, missing values on the given side.
    fn scan(&mut self, feature: usize, missing_left: bool, bounds: Bounds, best: &mut Option<Cut>) {
        let n_missing = self.end - self.start - self.keys.len();
        self.right.copy_from(&self.total);
        self.left.clear();
        if missing_left {
            self.left.copy_from(&self.missing);
            self.right.subtract(&self.missing);
        }
        let n = self.keys.len();
        let (extra_left, extra_right) = if missing_left { (n_missing, 0) } else { (0, n_missing) };
        for at in 1..n {
            let (before, here) = (self.keys[at - 1], self.keys[at]);
            self.left.add(before.load());
            self.right.remove(before.load());
            if here.value() <= before.value() + FEATURE_THRESHOLD {
                continue;
            }
            let sizes = (at + extra_left, n - at + extra_right);
            if let Some(score) = self.score(sizes, feature, bounds, best.as_ref()) {
                let threshold = f64::from(before.value()) / 2.0 + f64::from(here.value()) / 2.0;
                let missing_go_to_left = if n_missing == 0 { sizes.0 > sizes.1 } else { missing_left };
                *best = Some(Cut { feature, threshold, missing_go_to_left, score });
            }
        }
        if n_missing > 0 && !missing_left {
            self.left.copy_from(&self.total);
            self.left.subtract(&self.missing);
            self.right.copy_from(&self.missing);
            if let Some(score) = self.score((n, n_missing), feature, bounds, best.as_ref()) {
                // No present value is beyond infinity: all of them go left.
                *best = Some(Cut { feature, threshold: f64::INFINITY, missing_go_to_left: false, score });
            }
        }
    }

    /// The score of the cut between the current sides, if it is allowed and beats the best.
    fn score(&self, sizes: (usize, usize), feature: usize, bounds: Bounds, best: Option<&Cut>) -> Option<f64> {
        if sizes.0 < self.plan.min_samples_leaf || sizes.1 < self.plan.min_samples_leaf {
            return None;
        }
        let sign = self.plan.sign(feature);
        if sign != 0 && !bounds.allow(sign, self.left.first(), self.right.first()) {
            return None;
        }
        let (left, right) = (self.left.weight(), self.right.weight());
        if left < self.min_weight_leaf || right < self.min_weight_leaf {
            return None;
        }
        let score = -right * self.right.impurity::<I>() - left * self.left.impurity::<I>();
        (score > best.map_or(f64::NEG_INFINITY, |best| best.score)).then_some(score)
    }
}

impl<I: Impurity> Splitter for WholeSplitter<'_, I> {
    fn n_rows(&self) -> usize {
        self.rows.len()
    }

    fn enter(&mut self, start: usize, end: usize) -> f64 {
        (self.start, self.end) = (start, end);
        self.total.clear();
        for &row in &self.rows[start..end] {
            self.total.add(self.loads[row as usize]);
        }
        self.total.weight()
    }

    fn impurity(&self) -> f64 {
        self.total.impurity::<I>()
    }

    #[expect(clippy::cast_precision_loss, reason = "exact: a count of rows")]
    fn push_value(&self, out: &mut Vec<f64>) {
        let weight = self.total.weight();
        out.extend(self.total.counts.iter().map(|count| *count as f64 / weight));
    }

    fn search(&mut self, feature: usize, bounds: Bounds, _stream: &mut Xorshift, best: &mut Option<Cut>) -> bool {
        self.sort_values(feature);
        let n_missing = self.end - self.start - self.keys.len();
        let (Some(first), Some(last)) = (self.keys.first(), self.keys.last()) else { return false };
        if n_missing == 0 && last.value() <= first.value() + FEATURE_THRESHOLD {
            return false;
        }
        self.scan(feature, false, bounds, best);
        if n_missing > 0 {
            self.scan(feature, true, bounds, best);
        }
        true
    }

    #[expect(clippy::cast_precision_loss, reason = "exact: a count of rows")]
    fn apply(&mut self, cut: &Cut) -> Sides {
        let column = self.frame.column(cut.feature);
        self.left.clear();
        self.right.clear();
        self.moved.clear();
        let mut position = self.start;
        for at in self.start..self.end {
            let row = self.rows[at];
            let (value, load) = (column[row as usize], self.loads[row as usize]);
            let goes_left = if value.is_nan() { cut.missing_go_to_left } else { f64::from(value) <= cut.threshold };
            if goes_left {
                self.left.add(load);
                self.rows[position] = row;
                position += 1;
            } else {
                self.right.add(load);
                self.moved.push(row);
            }
        }
        self.rows[position..self.end].copy_from_slice(&self.moved);
        let (weight_left, weight_right) = (self.left.weight(), self.right.weight());
        Sides {
            position,
            impurity_left: self.left.impurity::<I>(),
            impurity_right: self.right.impurity::<I>(),
            weight_left,
            weight_right,
            middle: self.left.counts[0] as f64 / (2.0 * weight_left)
                + self.right.counts[0] as f64 / (2.0 * weight_right),
        }
    }
}
