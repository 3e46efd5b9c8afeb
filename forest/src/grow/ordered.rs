//! Cuts that depend on the order of rows: where sums are rounded, as fractional weights' and regressors' are, and where a random cut
//! may be the first of zeros of both signs.
//!
//! Rows are kept, sorted and summed in scikit-learn's very order, so that results agree to the last bit here too.

use super::kept::{self, Kept};
use super::measure::{Measure, Sums};
use super::node::{Bounds, Cut};
use super::plan::{Plan, RowWeights};
use super::scan::half_way;
use super::sort::Sorter;
use super::term::{Term, ToBeat, are_exact, terms};
use super::{FEATURE_THRESHOLD, Ground, Sides, Splitter};
use crate::frame::Frame;
use crate::random::Xorshift;

mod random;

/// The splitter that keeps scikit-learn's order of rows.
pub(super) struct OrderedSplitter<'a, M> {
    frame: &'a Frame,
    plan: &'a Plan,
    measure: M,
    min_weight_leaf: f64,
    /// What each row of the frame brings to sums of single numbers; none where sums are others.
    terms: Vec<Term>,
    /// Weight of each row of the frame where there are no terms; `None` if all weigh 1.
    weights: Option<Vec<f64>>,
    /// Rows of the tree; a node is a range of it.
    rows: Vec<u32>,
    /// Values of the feature looked at, beside `rows`.
    values: Vec<f32>,
    /// Which of the node's rows go left, a bit for each.
    low: Vec<u64>,
    sorter: Sorter,
    kept: Kept,
    start: usize,
    end: usize,
    total: Sums,
    total_squares: f64,
    left: Sums,
    right: Sums,
    /// Rows `start..position` are in `left`.
    position: usize,
    /// The feature by which `rows` is partitioned at the moment.
    partitioned_by: Option<usize>,
}

impl<'a, M: Measure> OrderedSplitter<'a, M> {
    pub(super) fn new(ground: &'a Ground<'_>, weights: &RowWeights, measure: M) -> Self {
        let (frame, plan) = (ground.frame, &ground.plan);
        let n_samples = frame.n_samples();
        let weighted = weights.weighted_rows(n_samples);
        let sums = Sums::new(plan.n_outputs);
        let min_weight_leaf = plan.min_weight_fraction_leaf * weights.total(n_samples);
        let weights = weights.to_fractions();
        let terms: Vec<Term> = measure.numbers().map_or_else(Vec::new, |numbers| terms(numbers, weights.as_deref()));
        Self {
            frame,
            plan,
            measure,
            min_weight_leaf,
            weights: weights.filter(|_| terms.is_empty()),
            values: vec![0.0; weighted.len()],
            low: Vec::new(),
            sorter: Sorter::new(frame.n_features(), ground.level, are_exact(&terms)),
            terms,
            kept: Kept::new(frame.n_features(), n_samples, kept_rows(frame, plan)),
            rows: weighted,
            start: 0,
            end: 0,
            total: sums.clone(),
            total_squares: 0.0,
            left: sums.clone(),
            right: sums,
            position: 0,
            partitioned_by: None,
        }
    }

    /// The same, with columns kept in nodes of at most so many rows.
    #[cfg(test)]
    pub(super) fn keeping(mut self, rows_max: usize) -> Self {
        self.kept = Kept::new(self.frame.n_features(), self.frame.n_samples(), rows_max);
        self
    }

    fn weight(&self, row: u32) -> f64 {
        if let Some(term) = self.terms.get(row as usize) {
            return term.weight;
        }
        self.weights.as_ref().map_or(1.0, |weights| weights[row as usize])
    }

    fn reset(&mut self) {
        self.position = self.start;
        self.left.clear();
        self.right.copy_from(&self.total);
    }

    /// Moves the border of the sides to a later position, adding from the left or taking from the right, whichever is shorter.
    fn advance(&mut self, position: usize) {
        if position - self.position <= self.end - position {
            for at in self.position..position {
                let (row, weight) = (self.rows[at], self.weight(self.rows[at]));
                self.measure.add(&mut self.left.sums, row as usize, weight);
                self.left.weight += weight;
            }
        } else {
            self.left.copy_from(&self.total);
            for at in (position..self.end).rev() {
                let (row, weight) = (self.rows[at], self.weight(self.rows[at]));
                self.measure.remove(&mut self.left.sums, row as usize, weight);
                self.left.weight -= weight;
            }
        }
        self.right.weight = self.total.weight - self.left.weight;
        for ((right, total), left) in self.right.sums.iter_mut().zip(&self.total.sums).zip(&self.left.sums) {
            *right = total - left;
        }
        self.position = position;
    }

    /// Reads the feature's values, missing ones to the end, and sorts the others. Returns how many are missing.
    fn sort_values(&mut self, feature: usize) -> usize {
        let node = self.start..self.end;
        let column = self.frame.column(feature);
        if let Some(pairs) = self.kept.pairs(feature, &node) {
            let (values, rows) = (&mut self.values[node.clone()], &mut self.rows[node.clone()]);
            if !self.sorter.sort_known(column, pairs, values, rows) {
                self.kept.forget(feature, &node);
            }
            return 0;
        }
        let (mut at, mut end) = (self.start, self.end);
        while at < end {
            if column[self.rows[end - 1] as usize].is_nan() {
                end -= 1;
                continue;
            }
            if column[self.rows[at] as usize].is_nan() {
                end -= 1;
                self.rows.swap(at, end);
            }
            self.values[at] = column[self.rows[at] as usize];
            at += 1;
        }
        let sorted = self.sorter.sort(feature, &mut self.values[self.start..end], &mut self.rows[self.start..end]);
        if let Some(pairs) = sorted.filter(|_| end == self.end) {
            self.kept.keep(feature, &node, pairs);
        }
        self.end - end
    }

    /// One pass over the sorted values, which begin at `first` and end at `last`.
    fn scan(&mut self, feature: usize, first: usize, last: usize, bounds: Bounds, best: &mut Option<Cut>) {
        let n_missing = self.end - self.start - (last - first);
        if !self.terms.is_empty() && self.plan.sign(feature) == 0 {
            let missing_left = (n_missing > 0).then_some(first > self.start);
            if let Some(cut) = self.scan_numbers(feature, (first, last), missing_left, best.as_ref()) {
                *best = Some(cut);
            }
            return;
        }
        self.reset();
        for at in first + 1..last {
            let (before, here) = (self.values[at - 1], self.values[at]);
            if here <= before + FEATURE_THRESHOLD {
                continue;
            }
            let threshold = half_way(before, here);
            self.consider(at, feature, threshold, (n_missing > 0).then_some(first > self.start), bounds, best);
        }
        if last < self.end {
            // No present value is beyond infinity: all of them go left.
            self.consider(last, feature, f64::INFINITY, Some(false), bounds, best);
        }
    }

    /// [`OrderedSplitter::scan`] where sums are single numbers and no constraint has a say: the same sums in the same order.
    fn scan_numbers(
        &self,
        feature: usize,
        (first, last): (usize, usize),
        missing_left: Option<bool>,
        best: Option<&Cut>,
    ) -> Option<Cut> {
        let (start, end) = (self.start, self.end);
        let (rows, values) = (&self.rows[start..end], &self.values[start..end]);
        let (n, last) = (end - start, last - start);
        let total = Term { sum: self.total.sums[0], weight: self.total.weight };
        let mut left = Term::default();
        for row in &rows[..first - start] {
            left.add(self.terms[*row as usize]);
        }
        let mut to_beat = ToBeat::new(best.map_or(f64::NEG_INFINITY, |best| best.score));
        let (mut found, mut position) = (None, 0);
        for at in first - start + 1..=last.min(n - 1) {
            left.add(self.terms[rows[at - 1] as usize]);
            if at != last && values[at] <= values[at - 1] + FEATURE_THRESHOLD {
                continue;
            }
            if at.min(n - at) < self.plan.min_samples_leaf {
                continue;
            }
            // As `advance` does, from whichever end is nearer.
            if at - position > n - at {
                left = total;
                for row in rows[at..].iter().rev() {
                    left.remove(self.terms[*row as usize]);
                }
            }
            position = at;
            let right = Term { sum: total.sum - left.sum, weight: total.weight - left.weight };
            if left.weight < self.min_weight_leaf || right.weight < self.min_weight_leaf {
                continue;
            }
            if to_beat.is_beaten_by(left, right) {
                found = Some(at);
            }
        }
        let at = found?;
        // No present value is beyond infinity: where the cut is after them, all of them go left.
        let threshold = if at == last { f64::INFINITY } else { half_way(values[at - 1], values[at]) };
        let missing_go_to_left = missing_left.map_or(at > n - at, |left| left && at != last);
        Some(Cut { feature, threshold, missing_go_to_left, score: to_beat.score })
    }

    /// Makes the cut at a position the best one, if it is allowed and better. Without missing values in the node
    /// (`missing_left` is `None`), they will go to the larger side.
    fn consider(
        &mut self,
        position: usize,
        feature: usize,
        threshold: f64,
        missing_left: Option<bool>,
        bounds: Bounds,
        best: &mut Option<Cut>,
    ) {
        let (n_left, n_right) = (position - self.start, self.end - position);
        if n_left < self.plan.min_samples_leaf || n_right < self.plan.min_samples_leaf {
            return;
        }
        self.advance(position);
        let sign = self.plan.sign(feature);
        if sign != 0 && !bounds.allow(sign, self.left.first(), self.right.first()) {
            return;
        }
        if self.left.weight < self.min_weight_leaf || self.right.weight < self.min_weight_leaf {
            return;
        }
        let score = self.measure.score(self.left.parts(), self.right.parts());
        if score > best.map_or(f64::NEG_INFINITY, |best| best.score) {
            let missing_go_to_left = missing_left.unwrap_or(n_left > n_right);
            *best = Some(Cut { feature, threshold, missing_go_to_left, score });
        }
    }

    fn search_best(&mut self, feature: usize, bounds: Bounds, best: &mut Option<Cut>) -> bool {
        let n_missing = self.sort_values(feature);
        let last = self.end - n_missing;
        if last == self.start || n_missing == 0 && self.values[last - 1] <= self.values[self.start] + FEATURE_THRESHOLD
        {
            return false;
        }
        self.scan(feature, self.start, last, bounds, best);
        if n_missing > 0 {
            self.rows[self.start..self.end].rotate_right(n_missing);
            self.values[self.start..self.end].rotate_right(n_missing);
            self.scan(feature, self.start + n_missing, self.end, bounds, best);
        }
        true
    }
}

impl<M: Measure> Splitter for OrderedSplitter<'_, M> {
    fn n_rows(&self) -> usize {
        self.rows.len()
    }

    fn enter(&mut self, start: usize, end: usize) -> f64 {
        (self.start, self.end) = (start, end);
        self.kept.enter(&(start..end));
        self.partitioned_by = None;
        self.total.clear();
        self.total_squares = 0.0;
        for at in start..end {
            let (row, weight) = (self.rows[at], self.weight(self.rows[at]));
            self.measure.add(&mut self.total.sums, row as usize, weight);
            self.total_squares += self.measure.square(row as usize, weight);
            self.total.weight += weight;
        }
        self.total.weight
    }

    fn impurity(&self) -> f64 {
        self.measure.impurity(&self.total.sums, self.total.weight, self.total_squares)
    }

    fn push_value(&self, out: &mut Vec<f64>) {
        out.extend(self.total.sums.iter().map(|sum| sum / self.total.weight));
    }

    fn search(&mut self, feature: usize, bounds: Bounds, stream: &mut Xorshift, best: &mut Option<Cut>) -> bool {
        if self.plan.random_cuts {
            self.search_random(feature, bounds, stream, best)
        } else {
            self.search_best(feature, bounds, best)
        }
    }

    fn apply(&mut self, cut: &mut Cut) -> Sides {
        let position = if self.partitioned_by == Some(cut.feature) {
            self.position
        } else {
            self.partition(cut.feature, cut.threshold, cut.missing_go_to_left)
        };
        self.reset();
        self.advance(position);
        let left_squares = self.rows[self.start..position]
            .iter()
            .fold(0.0, |sum, row| sum + self.measure.square(*row as usize, self.weight(*row)));
        let right_squares = self.total_squares - left_squares;
        let (left, right) = (&self.left, &self.right);
        Sides {
            position,
            impurity_left: self.measure.impurity(&left.sums, left.weight, left_squares),
            impurity_right: self.measure.impurity(&right.sums, right.weight, right_squares),
            weight_left: left.weight,
            weight_right: right.weight,
            middle: self.measure_middle(),
        }
    }

    fn divide(&mut self, left: Option<usize>, right: Option<usize>) {
        if left.is_some() || right.is_some() {
            let (low, high) = self.rows[self.start..self.end].split_at(self.position - self.start);
            self.kept.divide(&(self.start..self.end), low, high, (left.is_some(), right.is_some()));
        }
    }
}

/// Nodes that look at fewer features than one in so many would keep columns that nobody looks at again.
const KEPT_PARTS: usize = 4;

/// The most rows of nodes whose columns are kept sorted.
fn kept_rows(frame: &Frame, plan: &Plan) -> usize {
    if plan.random_cuts || plan.max_features * KEPT_PARTS <= frame.n_features() {
        return 0;
    }
    kept::ROWS_MAX.min(kept::PAIRS_MAX / frame.n_features())
}

impl<M> OrderedSplitter<'_, M> {
    /// Half way between the sides' first values.
    fn measure_middle(&self) -> f64 {
        self.left.sums[0] / (2.0 * self.left.weight) + self.right.sums[0] / (2.0 * self.right.weight)
    }
}
