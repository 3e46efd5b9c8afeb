//! Which rows a tree sees, and how often: bootstrap and class weights.

use crate::frame::{Frame, Label};
use crate::grow::RowWeights;
use crate::numeric::pairwise_sum;
use crate::pages::Pages;
use crate::params::{ClassWeight, ClassWeightName, ParamError, RandomForestParams, RowCount};
use crate::random::RandomState;

/// Draws the rows of every tree of one forest.
#[derive(Debug, Clone)]
pub(super) struct RowSampler<'a> {
    frame: &'a Frame,
    /// Rows drawn per tree; `None` without bootstrap.
    n_drawn: Option<u32>,
    /// Weight of each class by which rows are drawn (bootstrap) or counted (without).
    class_weights: Option<Vec<f64>>,
    /// Cumulative probabilities of the rows, where class weights shape the draws.
    cumulative: Option<Vec<f64>>,
    by_subsample: bool,
}

impl<'a> RowSampler<'a> {
    pub(super) fn new(frame: &'a Frame, params: &RandomForestParams) -> Result<Self, ParamError> {
        let by_subsample =
            params.bootstrap && params.class_weight == Some(ClassWeight::Named(ClassWeightName::BalancedSubsample));
        let class_weights = match &params.class_weight {
            None => None,
            Some(_) if by_subsample => None,
            Some(ClassWeight::Named(_)) => Some(balanced(frame.class_indexes().iter(), frame.classes().len())),
            Some(ClassWeight::ByLabel(weights)) => Some(by_label(frame.classes(), weights)?),
        };
        let row_weights: Option<Vec<f64>> = class_weights
            .as_ref()
            .map(|weights| frame.class_indexes().iter().map(|class| weights[*class as usize]).collect());
        check_weights(row_weights.as_deref())?;
        let n_drawn = if params.bootstrap {
            Some(n_drawn(params.max_samples, frame.n_samples(), row_weights.as_deref())?)
        } else {
            None
        };
        let cumulative = if params.bootstrap { row_weights.map(|weights| cumulative(&weights)) } else { None };
        Ok(Self { frame, n_drawn, class_weights, cumulative, by_subsample })
    }

    /// How often the tree of this seed drew each row; `None` without bootstrap.
    pub(super) fn counts(&self, tree_seed: u32) -> Option<Pages<u32>> {
        let n_drawn = self.n_drawn?;
        let n_samples = self.frame.n_samples();
        let bound = u32::try_from(n_samples).unwrap_or(u32::MAX);
        let mut stream = RandomState::new(tree_seed);
        let mut counts = Pages::zeroed(n_samples);
        match &self.cumulative {
            None => stream.randints(bound, n_drawn, |row| counts[row as usize] += 1),
            Some(cumulative) => {
                for _ in 0..n_drawn {
                    let draw = stream.random_sample();
                    counts[cumulative.partition_point(|edge| *edge <= draw)] += 1;
                }
            }
        }
        Some(counts)
    }

    /// Row weights of the tree of this seed.
    pub(super) fn weights(&self, tree_seed: u32) -> RowWeights {
        let classes = self.frame.class_indexes();
        match (self.counts(tree_seed), &self.class_weights) {
            (Some(counts), _) if self.by_subsample => {
                let drawn =
                    classes.iter().zip(&*counts).flat_map(|(class, count)| std::iter::repeat_n(class, *count as usize));
                let weights = balanced(drawn, self.frame.classes().len());
                let weight = |(class, count): (&u32, &u32)| f64::from(*count) * weights[*class as usize];
                RowWeights::Fractions(classes.iter().zip(&*counts).map(weight).collect())
            }
            (Some(counts), _) => RowWeights::Counts(counts),
            (None, Some(weights)) => {
                RowWeights::Fractions(classes.iter().map(|class| weights[*class as usize]).collect())
            }
            (None, None) => RowWeights::Once,
        }
    }
}

/// Weights `n / (k * n_c)` over the k classes present; absent classes weigh nothing.
#[expect(clippy::cast_precision_loss, reason = "row counts below 2^53")]
fn balanced<'a>(classes: impl Iterator<Item = &'a u32>, n_classes: usize) -> Vec<f64> {
    let mut counts = vec![0_u64; n_classes];
    for &class in classes {
        counts[class as usize] += 1;
    }
    let total = counts.iter().sum::<u64>() as f64;
    let present = counts.iter().filter(|count| **count > 0).count() as f64;
    counts.iter().map(|&count| if count == 0 { 0.0 } else { total / (present * count as f64) }).collect()
}

fn by_label(classes: &[Label], weights: &std::collections::BTreeMap<String, f64>) -> Result<Vec<f64>, ParamError> {
    let names: Vec<String> = classes.iter().map(Label::to_string).collect();
    if let Some(unknown) = weights.keys().find(|label| !names.contains(label)) {
        return Err(ParamError::unknown_class(unknown, &names));
    }
    Ok(names.iter().map(|name| weights.get(name).copied().unwrap_or(1.0)).collect())
}

/// Refuses weights that leave nothing to draw from or to count: scikit-learn's forests then raise `ValueError`, and its trees
/// answer NaN.
fn check_weights(rows: Option<&[f64]>) -> Result<(), ParamError> {
    let Some(total) = rows.map(pairwise_sum) else { return Ok(()) };
    if total > 0.0 && total.is_finite() {
        return Ok(());
    }
    let allowed = "weights of which the training rows have a finite sum above 0.0".to_owned();
    Err(ParamError { name: "class_weight", value: format!("a sum of {total:?}"), allowed })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a fraction of a row count, truncated as Python's int() does"
)]
fn n_drawn(max_samples: Option<RowCount>, n_samples: usize, weights: Option<&[f64]>) -> Result<u32, ParamError> {
    let all = weights.map_or(n_samples as f64, pairwise_sum);
    let asked = match max_samples {
        None => n_samples,
        Some(RowCount::Count(count)) => count as usize,
        Some(RowCount::Fraction(part)) => ((part * all) as usize).max(1),
    };
    u32::try_from(asked).map_err(|_| ParamError {
        name: "max_samples",
        value: asked.to_string(),
        allowed: format!("at most {} rows", u32::MAX),
    })
}

/// Cumulative probabilities as `numpy.random.RandomState.choice` forms them.
fn cumulative(weights: &[f64]) -> Vec<f64> {
    let total = pairwise_sum(weights);
    let mut sum = 0.0;
    let mut edges: Vec<f64> = weights
        .iter()
        .map(|weight| {
            sum += weight / total;
            sum
        })
        .collect();
    for edge in &mut edges {
        *edge /= sum;
    }
    edges
}
