//! Parameters resolved for one data set, and row weights.

use crate::frame::Frame;
use crate::numeric::pairwise_sum;
use crate::pages::Pages;
use crate::params::{Criterion, FeatureRoot, MaxFeatures, ParamError, RandomForestParams, RowCount, Splitter};

/// Parameters as growth needs them.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) criterion: Criterion,
    pub(crate) max_depth: u32,
    pub(crate) min_samples_split: usize,
    pub(crate) min_samples_leaf: usize,
    pub(crate) min_weight_fraction_leaf: f64,
    pub(crate) max_features: usize,
    pub(crate) max_leaf_nodes: Option<usize>,
    pub(crate) min_impurity_decrease: f64,
    pub(crate) ccp_alpha: f64,
    /// Constraints on the first value of a node. For classes that is the first class's fraction, so the sign is the opposite
    /// of scikit-learn's parameter, which speaks of the second class.
    pub(crate) monotonic: Option<Vec<i8>>,
    pub(crate) n_outputs: usize,
    /// Draw one cut per feature at random (extremely randomised trees) instead of searching the best.
    pub(crate) random_cuts: bool,
    /// Look between the bins of histograms only, of so many bins at most.
    pub(crate) max_bins: Option<usize>,
}

impl Plan {
    pub(crate) fn new(frame: &Frame, params: &RandomForestParams) -> Result<Self, ParamError> {
        params.check()?;
        let (n_samples, n_features, n_classes) = (frame.n_samples(), frame.n_features(), frame.classes().len());
        let min_samples_leaf = rows_up(params.min_samples_leaf, n_samples);
        let min_samples_split = rows_up(params.min_samples_split, n_samples).max(2).max(2 * min_samples_leaf);
        Ok(Self {
            criterion: params.criterion,
            max_depth: params.max_depth.unwrap_or(u32::MAX),
            min_samples_split,
            min_samples_leaf,
            min_weight_fraction_leaf: params.min_weight_fraction_leaf,
            max_features: max_features(params.max_features, n_features),
            max_leaf_nodes: params.max_leaf_nodes.map(|leaves| leaves as usize),
            min_impurity_decrease: params.min_impurity_decrease,
            ccp_alpha: params.ccp_alpha,
            monotonic: monotonic(params, n_features, n_classes)?,
            n_outputs: n_classes.max(1),
            random_cuts: params.estimator.is_extra(),
            max_bins: (params.splitter == Splitter::Hist).then_some(params.max_bins as usize),
        })
    }

    /// The constraint on a feature, 0 for none.
    pub(super) fn sign(&self, feature: usize) -> i8 {
        self.monotonic.as_ref().map_or(0, |signs| signs[feature])
    }
}

fn monotonic(params: &RandomForestParams, n_features: usize, n_classes: usize) -> Result<Option<Vec<i8>>, ParamError> {
    let Some(signs) = &params.monotonic_cst else { return Ok(None) };
    let refuse = |value: String, allowed: String| Err(ParamError { name: "monotonic_cst", value, allowed });
    if signs.len() != n_features {
        return refuse(format!("{} numbers", signs.len()), format!("one number per feature ({n_features})"));
    }
    if n_classes > 2 {
        return refuse("constraints".to_owned(), format!("null for {n_classes} classes"));
    }
    let flip = if params.estimator.is_regressor() { 1 } else { -1 };
    Ok(Some(signs.iter().map(|sign| flip * sign).collect()))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a fraction of a row count, rounded as scikit-learn does"
)]
fn rows_up(rows: RowCount, n_samples: usize) -> usize {
    match rows {
        RowCount::Count(count) => count as usize,
        RowCount::Fraction(part) => (part * n_samples as f64).ceil() as usize,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a feature count, truncated as Python's int() does"
)]
fn max_features(asked: MaxFeatures, n_features: usize) -> usize {
    let all = n_features as f64;
    match asked {
        MaxFeatures::Count(count) => count as usize,
        MaxFeatures::Fraction(part) => ((part * all) as usize).max(1),
        MaxFeatures::Root(FeatureRoot::Sqrt) => (all.sqrt() as usize).max(1),
        MaxFeatures::Root(FeatureRoot::Log2) => (all.log2() as usize).max(1),
        MaxFeatures::All => n_features,
    }
}

/// Weights of the training rows for one tree.
#[derive(Debug)]
pub(crate) enum RowWeights {
    /// Every row once.
    Once,
    /// How often each row was drawn.
    Counts(Pages<u32>),
    /// Any weights, 0 or more.
    Fractions(Vec<f64>),
}

impl RowWeights {
    /// Sum of the weights of `n_samples` rows, one after another: what improvements are measured by.
    pub(super) fn sum(&self, n_samples: usize) -> f64 {
        match self {
            Self::Fractions(weights) => weights.iter().sum(),
            whole => whole.total(n_samples),
        }
    }

    /// Sum of the weights of `n_samples` rows as NumPy forms it: what the least weight of a leaf is a fraction of.
    #[expect(clippy::cast_precision_loss, reason = "a row count below 2^53")]
    pub(super) fn total(&self, n_samples: usize) -> f64 {
        match self {
            Self::Once => n_samples as f64,
            Self::Counts(counts) => counts.iter().map(|count| u64::from(*count)).sum::<u64>() as f64,
            Self::Fractions(weights) => pairwise_sum(weights),
        }
    }

    /// Weight of each row as a number; `None` if all weigh 1.
    pub(super) fn to_fractions(&self) -> Option<Vec<f64>> {
        match self {
            Self::Once => None,
            Self::Counts(counts) => Some(counts.iter().map(|count| f64::from(*count)).collect()),
            Self::Fractions(weights) => Some(weights.clone()),
        }
    }

    /// Rows with a weight, ascending.
    pub(super) fn weighted_rows(&self, n_samples: usize) -> Vec<u32> {
        let weighs = |row: &u32| match self {
            Self::Once => true,
            Self::Counts(counts) => counts[*row as usize] > 0,
            Self::Fractions(weights) => weights[*row as usize] > 0.0,
        };
        (0..u32::try_from(n_samples).unwrap_or(u32::MAX)).filter(weighs).collect()
    }

    /// The count of a row, if all weights are whole and below `bound`.
    pub(super) fn whole(&self, bound: u32) -> Option<impl Fn(u32) -> u32 + '_> {
        let counts = match self {
            Self::Once => None,
            Self::Counts(counts) if counts.iter().all(|count| *count < bound) => Some(counts),
            Self::Counts(_) | Self::Fractions(_) => return None,
        };
        Some(move |row: u32| counts.map_or(1, |counts| counts[row as usize]))
    }
}

#[cfg(test)]
mod tests {
    use super::RowWeights;

    /// scikit-learn's splitter adds weights up one by one, its estimators ask NumPy. An improvement with the other sum has other last bits,
    /// which tell what comes first in a tree with `max_leaf_nodes`.
    #[test]
    fn the_two_sums_of_fractions_are_summed_in_their_own_orders() {
        let weights = RowWeights::Fractions(vec![0.1; 1000]);
        // What Python says to `sum([0.1] * 1000)` before 3.12, and to `numpy.sum(numpy.full(1000, 0.1))`.
        assert_eq!(weights.sum(1000).to_bits(), 99.999_999_999_998_6_f64.to_bits());
        assert_eq!(weights.total(1000).to_bits(), 100.000_000_000_000_01_f64.to_bits());
    }
}
