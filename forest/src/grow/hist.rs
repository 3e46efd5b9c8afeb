//! Cuts between the bins of histograms, `splitter = "hist"`: any measure, whole or fractional weights.
//!
//! Every node adds up its rows by bin, in the order of the rows, and looks at the cuts between bins only. A tree depends on
//! its data, parameters and seed alone here too; but it is not scikit-learn's tree, whose cuts lie between any two values.

use super::bins::{Bins, MISSING};
use super::measure::{Measure, Sums};
use super::node::{Bounds, Cut};
use super::plan::{Plan, RowWeights};
use super::{Sides, Splitter};
use crate::frame::Frame;
use crate::random::Xorshift;

/// Bins of a feature with the one of missing values.
const N_CODES: usize = 256;

/// The splitter that looks between bins.
pub(super) struct HistSplitter<'a, M> {
    plan: &'a Plan,
    bins: &'a Bins,
    measure: M,
    min_weight_leaf: f64,
    /// Weight of each row of the frame; `None` if all weigh 1.
    weights: Option<Vec<f64>>,
    /// Rows of the tree; a node is a range of it. Ascending within every node.
    rows: Vec<u32>,
    moved: Vec<u32>,
    start: usize,
    end: usize,
    total: Sums,
    total_squares: f64,
    left: Sums,
    right: Sums,
    /// Sums by bin, `(N_CODES, n_outputs)`.
    sums: Vec<f64>,
    weight: [f64; N_CODES],
    count: [usize; N_CODES],
}

impl<'a, M: Measure> HistSplitter<'a, M> {
    pub(super) fn new(frame: &Frame, plan: &'a Plan, bins: &'a Bins, weights: &RowWeights, measure: M) -> Self {
        let n_samples = frame.n_samples();
        let sums = Sums::new(plan.n_outputs);
        Self {
            plan,
            bins,
            measure,
            min_weight_leaf: plan.min_weight_fraction_leaf * weights.total(n_samples),
            weights: weights.to_fractions(),
            rows: weights.weighted_rows(n_samples),
            moved: Vec::new(),
            start: 0,
            end: 0,
            total: sums.clone(),
            total_squares: 0.0,
            left: sums.clone(),
            right: sums,
            sums: vec![0.0; N_CODES * plan.n_outputs],
            weight: [0.0; N_CODES],
            count: [0; N_CODES],
        }
    }

    fn weight(&self, row: u32) -> f64 {
        self.weights.as_ref().map_or(1.0, |weights| weights[row as usize])
    }

    /// Adds up the node's rows by bin.
    fn count(&mut self, feature: usize) {
        self.sums.fill(0.0);
        self.weight.fill(0.0);
        self.count.fill(0);
        let (codes, n_outputs) = (self.bins.codes(feature), self.plan.n_outputs);
        for at in self.start..self.end {
            let row = self.rows[at];
            let (code, weight) = (codes[row as usize] as usize, self.weight(row));
            self.measure.add(&mut self.sums[code * n_outputs..(code + 1) * n_outputs], row as usize, weight);
            self.weight[code] += weight;
            self.count[code] += 1;
        }
    }

    /// Adds a bin to the left side.
    fn add_left(&mut self, code: usize) {
        let n_outputs = self.plan.n_outputs;
        let sums = &self.sums[code * n_outputs..(code + 1) * n_outputs];
        self.left.sums.iter_mut().zip(sums).for_each(|(left, sum)| *left += sum);
        self.left.weight += self.weight[code];
    }

    /// The right side is what the left one leaves of the node.
    fn settle_right(&mut self) {
        self.right.weight = self.total.weight - self.left.weight;
        for ((right, total), left) in self.right.sums.iter_mut().zip(&self.total.sums).zip(&self.left.sums) {
            *right = total - left;
        }
    }

    /// One pass over the bins in which the node has rows, missing values on one side.
    fn scan(&mut self, feature: usize, missing_left: bool, bounds: Bounds, best: &mut Option<Cut>) {
        let missing = usize::from(MISSING);
        let (n, n_missing) = (self.end - self.start, self.count[missing]);
        self.left.clear();
        let mut n_left = 0;
        if missing_left {
            self.add_left(missing);
            n_left = n_missing;
        }
        let mut before: Option<usize> = None;
        for bin in 0..missing {
            if self.count[bin] == 0 {
                continue;
            }
            if let Some(before) = before {
                // Half way through the bins that the node has no rows in.
                let threshold = self.bins.threshold(feature, usize::midpoint(before, bin - 1));
                let missing_go_to_left = if n_missing == 0 { n_left > n - n_left } else { missing_left };
                self.consider(n_left, Cut { feature, threshold, missing_go_to_left, score: 0.0 }, bounds, best);
            }
            self.add_left(bin);
            n_left += self.count[bin];
            before = Some(bin);
        }
        if n_missing > 0 && !missing_left {
            // No present value is beyond infinity: all of them go left.
            let cut = Cut { feature, threshold: f64::INFINITY, missing_go_to_left: false, score: 0.0 };
            self.consider(n_left, cut, bounds, best);
        }
    }

    /// Makes a cut the best one if it is allowed and better; its score is yet to be computed.
    fn consider(&mut self, n_left: usize, cut: Cut, bounds: Bounds, best: &mut Option<Cut>) {
        let n_right = self.end - self.start - n_left;
        if n_left < self.plan.min_samples_leaf || n_right < self.plan.min_samples_leaf {
            return;
        }
        self.settle_right();
        let sign = self.plan.sign(cut.feature);
        if sign != 0 && !bounds.allow(sign, self.left.first(), self.right.first()) {
            return;
        }
        if self.left.weight < self.min_weight_leaf || self.right.weight < self.min_weight_leaf {
            return;
        }
        let score = self.measure.score(self.left.parts(), self.right.parts());
        if score > best.map_or(f64::NEG_INFINITY, |best| best.score) {
            *best = Some(Cut { score, ..cut });
        }
    }

    /// Adds up the rows of a range.
    fn add_up(&self, rows: std::ops::Range<usize>, sums: &mut Sums) -> f64 {
        sums.clear();
        let mut squares = 0.0;
        for &row in &self.rows[rows] {
            let weight = self.weight(row);
            self.measure.add(&mut sums.sums, row as usize, weight);
            sums.weight += weight;
            squares += self.measure.square(row as usize, weight);
        }
        squares
    }
}

impl<M: Measure> Splitter for HistSplitter<'_, M> {
    fn n_rows(&self) -> usize {
        self.rows.len()
    }

    fn enter(&mut self, start: usize, end: usize) -> f64 {
        (self.start, self.end) = (start, end);
        let mut total = std::mem::take(&mut self.total);
        self.total_squares = self.add_up(start..end, &mut total);
        self.total = total;
        self.total.weight
    }

    fn impurity(&self) -> f64 {
        self.measure.impurity(&self.total.sums, self.total.weight, self.total_squares)
    }

    fn push_value(&self, out: &mut Vec<f64>) {
        out.extend(self.total.sums.iter().map(|sum| sum / self.total.weight));
    }

    fn search(&mut self, feature: usize, bounds: Bounds, _stream: &mut Xorshift, best: &mut Option<Cut>) -> bool {
        self.count(feature);
        let n_missing = self.count[usize::from(MISSING)];
        let n_bins = self.count[..usize::from(MISSING)].iter().filter(|count| **count > 0).count();
        if n_bins == 0 || n_bins == 1 && n_missing == 0 {
            return false;
        }
        self.scan(feature, false, bounds, best);
        if n_missing > 0 {
            self.scan(feature, true, bounds, best);
        }
        true
    }

    fn apply(&mut self, cut: &mut Cut) -> Sides {
        let (codes, last) = (self.bins.codes(cut.feature), self.bins.bin(cut.feature, cut.threshold));
        let mut position = self.start;
        self.moved.clear();
        for at in self.start..self.end {
            let row = self.rows[at];
            let code = codes[row as usize];
            if if code == MISSING { cut.missing_go_to_left } else { usize::from(code) <= last } {
                self.rows[position] = row;
                position += 1;
            } else {
                self.moved.push(row);
            }
        }
        self.rows[position..self.end].copy_from_slice(&self.moved);
        let mut left = std::mem::take(&mut self.left);
        let left_squares = self.add_up(self.start..position, &mut left);
        self.left = left;
        self.settle_right();
        let (left, right) = (&self.left, &self.right);
        Sides {
            position,
            impurity_left: self.measure.impurity(&left.sums, left.weight, left_squares),
            impurity_right: self.measure.impurity(&right.sums, right.weight, self.total_squares - left_squares),
            weight_left: left.weight,
            weight_right: right.weight,
            middle: left.sums[0] / (2.0 * left.weight) + right.sums[0] / (2.0 * right.weight),
        }
    }
}
