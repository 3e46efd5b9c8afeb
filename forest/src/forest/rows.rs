//! Which rows a tree sees, and how often: bootstrap, sample weights and class weights.

use crate::frame::{Frame, Label};
use crate::grow::RowWeights;
use crate::numeric::pairwise_sum;
use crate::pages::Pages;
use crate::params::{ClassWeight, ClassWeightName, Estimator, ParamError, RandomForestParams, RowCount};
use crate::random::RandomState;

/// Draws the rows of every tree of one forest.
#[derive(Debug, Clone)]
pub(super) struct RowSampler<'a> {
    frame: &'a Frame,
    /// Rows drawn per tree; `None` without bootstrap.
    n_drawn: Option<u32>,
    /// Cumulative probabilities of the rows, where weights shape the draws.
    cumulative: Option<Vec<f64>>,
    /// Weights of the rows, where none are drawn.
    weights: Option<Weights>,
    by_subsample: bool,
}

/// Weights of all rows.
#[derive(Debug, Clone)]
enum Weights {
    /// Whole numbers, few enough that their sums and squares are exact: growth is faster for them, and has the same bits.
    Whole(Vec<u32>),
    Fractions(Vec<f64>),
}

/// The sum up to which whole weights count as rows that were drawn so often: its square is exact in a float64.
const WHOLE_SUM_MAX: f64 = (1_u32 << 26) as f64;

impl Weights {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole numbers from 0 to 2^26")]
    fn of(weights: Vec<f64>) -> Self {
        let whole = weights.iter().all(|weight| weight.fract().abs() <= 0.0 && *weight <= WHOLE_SUM_MAX);
        if whole && weights.iter().sum::<f64>() <= WHOLE_SUM_MAX {
            return Self::Whole(weights.iter().map(|weight| *weight as u32).collect());
        }
        Self::Fractions(weights)
    }
}

impl<'a> RowSampler<'a> {
    pub(super) fn new(frame: &'a Frame, params: &RandomForestParams) -> Result<Self, ParamError> {
        let by_subsample =
            params.bootstrap && params.class_weight == Some(ClassWeight::Named(ClassWeightName::BalancedSubsample));
        let class_weights = match &params.class_weight {
            None => None,
            Some(_) if by_subsample => None,
            Some(ClassWeight::Named(_)) => Some(balanced_classes(frame, params.estimator)),
            Some(ClassWeight::ByLabel(weights)) => Some(by_label(frame.classes(), weights)?),
        };
        let row_weights = row_weights(frame, class_weights.as_deref());
        check_weights(frame, row_weights.as_deref())?;
        let mut sampler = Self { frame, n_drawn: None, cumulative: None, weights: None, by_subsample };
        if params.bootstrap {
            sampler.n_drawn = Some(n_drawn(params.max_samples, frame.n_samples(), row_weights.as_deref())?);
            sampler.cumulative = row_weights.as_deref().map(cumulative);
        } else {
            sampler.weights = row_weights.map(Weights::of);
        }
        Ok(sampler)
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
        match (self.counts(tree_seed), &self.weights) {
            (Some(counts), _) if self.by_subsample => {
                let drawn = classes.iter().copied().zip(counts.iter().copied().map(f64::from));
                let weights = balanced(drawn, self.frame.classes().len());
                let weight = |(class, count): (&u32, &u32)| f64::from(*count) * weights[*class as usize];
                RowWeights::Fractions(classes.iter().zip(&*counts).map(weight).collect())
            }
            (Some(counts), _) => RowWeights::Counts(counts),
            (None, Some(Weights::Whole(weights))) => {
                let mut counts = Pages::zeroed(weights.len());
                counts.copy_from_slice(weights);
                RowWeights::Counts(counts)
            }
            (None, Some(Weights::Fractions(weights))) => RowWeights::Fractions(weights.clone()),
            (None, None) => RowWeights::Once,
        }
    }
}

/// Weights `w / (k * w_c)` over the k classes that weigh something, by the classes of rows and what these weigh, together `w`, of
/// a class `w_c`. The other classes cannot be balanced, and need no weight.
#[expect(clippy::cast_precision_loss, reason = "a count of classes")]
fn balanced(rows: impl Iterator<Item = (u32, f64)>, n_classes: usize) -> Vec<f64> {
    let mut sums = vec![0.0; n_classes];
    for (class, weight) in rows {
        sums[class as usize] += weight;
    }
    let present: Vec<f64> = sums.iter().copied().filter(|sum| *sum > 0.0).collect();
    let (total, n_present) = (pairwise_sum(&present), present.len() as f64);
    sums.iter().map(|sum| if *sum > 0.0 { total / (n_present * sum) } else { 0.0 }).collect()
}

/// `class_weight="balanced"`: forests balance what the rows of a class weigh, trees how many they are.
fn balanced_classes(frame: &Frame, estimator: Estimator) -> Vec<f64> {
    let classes = frame.class_indexes().iter().copied();
    match frame.sample_weight().filter(|_| !estimator.is_tree()) {
        Some(weights) => balanced(classes.zip(weights.iter().copied()), frame.classes().len()),
        None => balanced(classes.map(|class| (class, 1.0)), frame.classes().len()),
    }
}

/// What each row weighs: its sample weight times that of its class. `None` if all weigh 1.
fn row_weights(frame: &Frame, class_weights: Option<&[f64]>) -> Option<Vec<f64>> {
    let of_classes = class_weights.map(|weights| frame.class_indexes().iter().map(|class| weights[*class as usize]));
    match (frame.sample_weight(), of_classes) {
        (None, None) => None,
        (Some(samples), None) => Some(samples.to_vec()),
        (None, Some(of_classes)) => Some(of_classes.collect()),
        (Some(samples), Some(of_classes)) => {
            Some(samples.iter().zip(of_classes).map(|(sample, class)| sample * class).collect())
        }
    }
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
fn check_weights(frame: &Frame, rows: Option<&[f64]>) -> Result<(), ParamError> {
    let Some(total) = rows.map(pairwise_sum) else { return Ok(()) };
    if total > 0.0 && total.is_finite() {
        return Ok(());
    }
    let name = if frame.sample_weight().is_some() { "sample_weight" } else { "class_weight" };
    Err(ParamError::no_weight(name, total))
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
