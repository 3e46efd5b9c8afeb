//! Cuts for classes with whole weights (bootstrap counts), where every sum is an exact integer.
//!
//! For each feature looked at, the node's rows become one array of 64-bit keys, value above, class and weight below; it is
//! sorted and scanned. The order of equal values does not matter, since integer sums do not depend on it. A cut that is drawn
//! needs no order at all: what lies below it is counted.

use std::marker::PhantomData;

use super::drawn::{Drawn, range, read, round_down};
use super::impurity::Impurity;
use super::node::{Bounds, Cut};
use super::plan::{Plan, RowWeights};
use super::scan::{Limits, Tallies};
use super::tally::{Load, Tally, middle};
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
    /// Load of each of them, in the same order.
    loads: Vec<Load>,
    start: usize,
    end: usize,
    tallies: Tallies,
    keys: Vec<Key>,
    /// Values of a feature in the node.
    values: Vec<f32>,
    moved: Vec<(u32, Load)>,
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
        let load = |row: &u32| Load::new(frame.class_indexes()[*row as usize], count(*row));
        let loads = rows.iter().map(load).collect();
        Some(Self {
            frame,
            plan,
            min_weight_leaf: plan.min_weight_fraction_leaf * weights.total(frame.n_samples()),
            keys: Vec::new(),
            values: Vec::new(),
            moved: Vec::new(),
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
        self.read_values(feature);
        self.keys.clear();
        self.tallies.missing.clear();
        for (&value, &load) in self.values.iter().zip(&self.loads[self.start..self.end]) {
            if value.is_nan() {
                self.tallies.missing.add(load);
            } else {
                self.keys.push(Key::new(value, load));
            }
        }
        self.keys.sort_unstable();
    }

    /// Draws a cut between the least and the largest value of the node.
    fn search_random(&mut self, feature: usize, bounds: Bounds, stream: &mut Xorshift, best: &mut Option<Cut>) -> bool {
        let n = self.end - self.start;
        self.read_values(feature);
        let (low, high, n_missing) = range(&self.values);
        if n_missing == n || n_missing == 0 && high <= low + FEATURE_THRESHOLD {
            return false;
        }
        let Drawn { threshold, missing_left } = Drawn::new(stream, low, high, n_missing > 0);
        let n_left = self.count_left(threshold, missing_left.unwrap_or(false));
        let limits = Limits::new(self.plan, self.min_weight_leaf, feature, bounds);
        if let Some(score) = self.tallies.score::<I>((n_left, n - n_left), &limits, best.as_ref()) {
            let missing_go_to_left = missing_left.unwrap_or(n_left > n - n_left);
            *best = Some(Cut { feature, threshold, missing_go_to_left, score });
        }
        true
    }

    /// Reads the values of a feature in the node.
    fn read_values(&mut self, feature: usize) {
        let rows = &self.rows[self.start..self.end];
        self.values.resize(rows.len(), 0.0);
        read(self.frame.column(feature), rows, &mut self.values);
    }

    /// Tallies the sides of a cut by the values at hand; returns the rows on the left.
    fn count_left(&mut self, threshold: f64, missing_left: bool) -> usize {
        let limit = round_down(threshold);
        if missing_left {
            self.count(|value| (value <= limit) | value.is_nan())
        } else {
            self.count(|value| value <= limit)
        }
    }

    fn count(&mut self, goes_left: impl Fn(f32) -> bool) -> usize {
        let Tallies { total, left, right, .. } = &mut self.tallies;
        let rows = self.values.iter().zip(&self.loads[self.start..self.end]);
        let n_left = tally(left, rows.map(|(value, load)| (goes_left(*value), *load)));
        right.copy_from(total);
        right.subtract(left);
        n_left
    }
}

/// Tallies the loads that are marked and returns how many they are. Together they weigh less than 2³²: as many rows as a tree may
/// draw, or whole weights up to 2²⁶.
fn tally(to: &mut Tally, loads: impl Iterator<Item = (bool, Load)>) -> usize {
    let mut n = 0;
    if let [_, _] = to.counts[..] {
        let (mut weight, mut second) = (0, 0);
        for (is_marked, load) in loads {
            let mask = u32::from(is_marked).wrapping_neg();
            n += mask & 1;
            weight += load.weight32() & mask;
            second += load.weight32() & mask & load.second_mask();
        }
        to.set_pair(u64::from(weight - second), u64::from(second));
    } else {
        to.counts.fill(0);
        for (is_marked, load) in loads {
            n += u32::from(is_marked);
            to.counts[load.class()] += load.weight() * u64::from(is_marked);
        }
        to.sum_up();
    }
    n as usize
}

impl<I: Impurity> Splitter for WholeSplitter<'_, I> {
    fn n_rows(&self) -> usize {
        self.rows.len()
    }

    fn enter(&mut self, start: usize, end: usize) -> f64 {
        (self.start, self.end) = (start, end);
        tally(&mut self.tallies.total, self.loads[start..end].iter().map(|load| (true, *load)));
        self.tallies.total.weight()
    }

    fn impurity(&self) -> f64 {
        self.tallies.total.impurity::<I>()
    }

    fn push_value(&self, out: &mut Vec<f64>) {
        self.tallies.total.push_fractions(out);
    }

    fn search(&mut self, feature: usize, bounds: Bounds, stream: &mut Xorshift, best: &mut Option<Cut>) -> bool {
        if self.plan.random_cuts {
            return self.search_random(feature, bounds, stream, best);
        }
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
        self.read_values(cut.feature);
        let n_left = self.count_left(cut.threshold, cut.missing_go_to_left);
        let limit = round_down(cut.threshold);
        let (rows, loads) = (&mut self.rows[self.start..self.end], &mut self.loads[self.start..self.end]);
        self.moved.resize(rows.len().max(self.moved.len()), (0, Load::new(0, 0)));
        let (mut to, mut n_moved) = (0, 0);
        for (at, value) in self.values.iter().enumerate() {
            let (row, load) = (rows[at], loads[at]);
            let goes_left = (*value <= limit) | (cut.missing_go_to_left & value.is_nan());
            // Both are written, and only one is kept: nothing to be guessed.
            (rows[to], loads[to]) = (row, load);
            self.moved[n_moved] = (row, load);
            to += usize::from(goes_left);
            n_moved += usize::from(!goes_left);
        }
        for ((row, load), moved) in rows[n_left..].iter_mut().zip(&mut loads[n_left..]).zip(&self.moved) {
            (*row, *load) = *moved;
        }
        let (weight_left, weight_right) = (self.tallies.left.weight(), self.tallies.right.weight());
        Sides {
            position: self.start + n_left,
            impurity_left: self.tallies.left.impurity::<I>(),
            impurity_right: self.tallies.right.impurity::<I>(),
            weight_left,
            weight_right,
            middle: middle(&self.tallies.left, &self.tallies.right),
        }
    }
}
