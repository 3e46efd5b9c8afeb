//! What a fitted model looks at: importances by permutation. Those by impurity are [`Forest::feature_importances`].

use rayon::prelude::*;

use crate::Error;
use crate::forest::Forest;
use crate::frame::{Frame, Target};
use crate::metrics;
use crate::numeric::argmax;
use crate::params::ParamError;
use crate::random::RandomState;

/// The exclusive bound of the seed that all features share.
const SEED_BOUND: u32 = 1 << 31;

/// Importances of each feature: by how much the score falls when the feature's values are shuffled.
#[derive(Debug, Clone, PartialEq)]
pub struct PermutationImportances {
    /// Mean over the repetitions, `(n_features,)`.
    pub importances_mean: Vec<f64>,
    /// Standard deviation over the repetitions, `(n_features,)`.
    pub importances_std: Vec<f64>,
    /// Each repetition, `(n_features, n_repeats)` row-major.
    pub importances: Vec<f64>,
}

/// Shuffles one feature after the other and scores the forest again: scikit-learn's `permutation_importance` with
/// the estimator's own score, accuracy or R², the same shuffles for the same seed (Breiman 2001).
///
/// # Errors
///
/// `n_repeats` 0, a data set of other features or another kind of target than the forest's.
pub fn permutation_importance(
    forest: &Forest,
    frame: &Frame,
    n_repeats: u32,
    random_state: u32,
) -> Result<PermutationImportances, Error> {
    if n_repeats == 0 {
        let allowed = "a whole number of at least 1".to_owned();
        return Err(ParamError { name: "n_repeats", value: "0".to_owned(), allowed }.into());
    }
    if frame.feature_names() != forest.feature_names() {
        return Err(Error::Unsupported("the data set has other features than the forest".to_owned()));
    }
    let rows = frame.rows();
    let baseline = score(forest, frame, &rows)?;
    let seed = RandomState::new(random_state).randint(SEED_BOUND);
    let of_feature = |feature: usize| -> Result<Vec<f64>, Error> {
        let mut stream = RandomState::new(seed);
        let mut order: Vec<usize> = (0..frame.n_samples()).collect();
        let mut rows = rows.clone();
        let mut values = frame.column(feature).to_vec();
        let mut falls = Vec::new();
        for _ in 0..n_repeats {
            // Both go on from where the repetition before left them.
            stream.shuffle(&mut order);
            values = order.iter().map(|row| values[*row]).collect();
            for (row, value) in rows.chunks_exact_mut(frame.n_features()).zip(&values) {
                row[feature] = *value;
            }
            falls.push(baseline - score(forest, frame, &rows)?);
        }
        Ok(falls)
    };
    let falls = (0..frame.n_features()).into_par_iter().map(of_feature).collect::<Result<Vec<_>, Error>>()?;
    let (importances_mean, importances_std) = falls.iter().map(|falls| mean_and_std(falls)).unzip();
    Ok(PermutationImportances { importances_mean, importances_std, importances: falls.concat() })
}

#[expect(clippy::cast_precision_loss, reason = "row counts below 2^53")]
fn score(forest: &Forest, frame: &Frame, rows: &[f32]) -> Result<f64, Error> {
    match frame.target() {
        Target::Classes { .. } => {
            let y_true = forest.class_indexes(frame)?;
            let proba = forest.predict_proba(rows)?;
            let answers = proba.chunks_exact(forest.n_classes()).zip(&*y_true);
            Ok(answers.filter(|(row, truth)| argmax(row) == **truth as usize).count() as f64 / y_true.len() as f64)
        }
        Target::Values(values) => {
            let measured = metrics::regression(values, &forest.predict_values(rows)?)?;
            Ok(measured.r2.unwrap_or(f64::NAN))
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a number of repetitions")]
fn mean_and_std(numbers: &[f64]) -> (f64, f64) {
    let n = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / n;
    let squares: f64 = numbers.iter().map(|number| (number - mean) * (number - mean)).sum();
    (mean, (squares / n).sqrt())
}
