//! One pass over a feature's sorted values, with missing values, monotonic constraints and weight limits.

use super::FEATURE_THRESHOLD;
use super::impurity::Impurity;
use super::node::{Bounds, Cut};
use super::plan::Plan;
use super::tally::{Load, Tally, score};

/// What a cut must keep to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) feature: usize,
    /// Monotonic constraint on the feature, 0 for none.
    pub(super) sign: i8,
    pub(super) bounds: Bounds,
    pub(super) min_samples_leaf: usize,
    pub(super) min_weight_leaf: f64,
}

impl Limits {
    pub(super) fn new(plan: &Plan, min_weight_leaf: f64, feature: usize, bounds: Bounds) -> Self {
        Self { feature, sign: plan.sign(feature), bounds, min_samples_leaf: plan.min_samples_leaf, min_weight_leaf }
    }
}

/// Tallies of the current node and of the sides of a cut.
#[derive(Debug)]
pub(super) struct Tallies {
    pub(super) total: Tally,
    pub(super) left: Tally,
    pub(super) right: Tally,
    /// Of the rows without a value of the feature in work.
    pub(super) missing: Tally,
}

impl Tallies {
    pub(super) fn new(n_classes: usize) -> Self {
        let tally = Tally::new(n_classes);
        Self { total: tally.clone(), left: tally.clone(), right: tally.clone(), missing: tally }
    }

    /// Looks at every cut between `n` sorted values, given by place, and the `n_missing` rows of the tally of missing ones.
    pub(super) fn search<I: Impurity>(
        &mut self,
        n: usize,
        n_missing: usize,
        at: impl Fn(usize) -> (f32, Load),
        limits: &Limits,
        best: &mut Option<Cut>,
    ) {
        self.scan::<I>(n, n_missing, &at, limits, false, best);
        if n_missing > 0 {
            self.scan::<I>(n, n_missing, &at, limits, true, best);
        }
    }

    fn scan<I: Impurity>(
        &mut self,
        n: usize,
        n_missing: usize,
        at: &impl Fn(usize) -> (f32, Load),
        limits: &Limits,
        missing_left: bool,
        best: &mut Option<Cut>,
    ) {
        let feature = limits.feature;
        self.right.copy_from(&self.total);
        self.left.clear();
        if missing_left {
            self.left.copy_from(&self.missing);
            self.right.subtract(&self.missing);
        }
        let (extra_left, extra_right) = if missing_left { (n_missing, 0) } else { (0, n_missing) };
        let (mut before, mut load) = at(0);
        for place in 1..n {
            let (here, next) = at(place);
            self.left.add(load);
            self.right.remove(load);
            let apart = here > before + FEATURE_THRESHOLD;
            if apart {
                let sizes = (place + extra_left, n - place + extra_right);
                if let Some(score) = self.score::<I>(sizes, limits, best.as_ref()) {
                    let missing_go_to_left = if n_missing == 0 { sizes.0 > sizes.1 } else { missing_left };
                    *best = Some(Cut { feature, threshold: half_way(before, here), missing_go_to_left, score });
                }
            }
            (before, load) = (here, next);
        }
        if n_missing > 0 && !missing_left {
            self.left.copy_from(&self.total);
            self.left.subtract(&self.missing);
            self.right.copy_from(&self.missing);
            if let Some(score) = self.score::<I>((n, n_missing), limits, best.as_ref()) {
                // No present value is beyond infinity: all of them go left.
                *best = Some(Cut { feature, threshold: f64::INFINITY, missing_go_to_left: false, score });
            }
        }
    }

    /// The score of the cut between the current sides, if it is allowed and beats the best.
    pub(super) fn score<I: Impurity>(&self, sizes: (usize, usize), limits: &Limits, best: Option<&Cut>) -> Option<f64> {
        if sizes.0 < limits.min_samples_leaf || sizes.1 < limits.min_samples_leaf {
            return None;
        }
        if limits.sign != 0 && !limits.bounds.allow(limits.sign, self.left.first(), self.right.first()) {
            return None;
        }
        if self.left.weight() < limits.min_weight_leaf || self.right.weight() < limits.min_weight_leaf {
            return None;
        }
        let score = score::<I>(&self.left, &self.right);
        (score > best.map_or(f64::NEG_INFINITY, |best| best.score)).then_some(score)
    }
}

/// The threshold between two neighbouring values.
pub(super) fn half_way(before: f32, here: f32) -> f64 {
    f64::from(before) / 2.0 + f64::from(here) / 2.0
}
