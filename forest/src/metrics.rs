//! Measures of a model's answers, equal to scikit-learn's to 1e-12.

mod roc_auc;

pub use roc_auc::{Average, MultiClass, roc_auc};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::numeric::{argmax, pairwise_sum};

/// Measures of one evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Classification {
    /// Fraction of rows predicted right.
    pub accuracy: f64,
    /// Mean recall over the classes present.
    pub balanced_accuracy: f64,
    /// Mean negative natural logarithm of the true class's probability, which counts as at least 2.2e-16.
    pub log_loss: f64,
    /// Area under the ROC curve: of the second class, or beyond two classes the mean of one class against the rest.
    /// `None` if a class is absent.
    pub roc_auc: Option<f64>,
    /// Unweighted mean of the F1 of the classes that are present or predicted.
    pub f1_macro: f64,
    /// Mean of the classes' F1, weighted by their rows.
    pub f1_weighted: f64,
    /// Rows of true class i predicted as j: `[i][j]`.
    pub confusion_matrix: Vec<Vec<u64>>,
}

/// Measures of one evaluation of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Regression {
    /// Share of the variance explained: 1 is perfect, 0 is the mean's. With constant truth 1 if all is right, else 0. `None` of a
    /// single row, which has no variance.
    pub r2: Option<f64>,
    /// Mean squared error.
    pub mse: f64,
    /// Mean absolute error.
    pub mae: f64,
}

/// All measures from true and predicted numbers, both `(n,)`.
///
/// # Errors
///
/// Lengths that do not fit, zero rows, a number that is not finite.
pub fn regression(y_true: &[f64], y_pred: &[f64]) -> Result<Regression, Error> {
    if y_true.is_empty() {
        return Err(Error::Unsupported("an evaluation needs at least one row".to_owned()));
    }
    if y_pred.len() != y_true.len() {
        return Err(Error::Shape { what: "y_pred", got: y_pred.len(), expected: y_true.len() });
    }
    for (what, numbers) in [("y_true", y_true), ("y_pred", y_pred)] {
        if let Some(row) = numbers.iter().position(|number| !number.is_finite()) {
            return Err(Error::Number { what, row, value: numbers[row] });
        }
    }
    let errors: Vec<f64> = y_true.iter().zip(y_pred).map(|(truth, guess)| truth - guess).collect();
    let squares: Vec<f64> = errors.iter().map(|error| error * error).collect();
    let centre = mean(y_true);
    let from_centre: Vec<f64> = y_true.iter().map(|truth| (truth - centre) * (truth - centre)).collect();
    let (spread, residual) = (pairwise_sum(&from_centre), pairwise_sum(&squares));
    let r2 = match (residual > 0.0, spread > 0.0) {
        _ if y_true.len() < 2 => None,
        (_, true) => Some(1.0 - residual / spread),
        (true, false) => Some(0.0),
        (false, false) => Some(1.0),
    };
    let absolute: Vec<f64> = errors.iter().map(|error| error.abs()).collect();
    Ok(Regression { r2, mse: mean(&squares), mae: mean(&absolute) })
}

/// All measures from true class indexes `(n,)` and probabilities `(n, n_classes)` row-major; the predicted class is the
/// first most probable.
///
/// # Errors
///
/// Lengths that do not fit, zero rows, a class index out of range, a probability that is not finite.
pub fn classification(y_true: &[u32], proba: &[f64], n_classes: usize) -> Result<Classification, Error> {
    check(y_true, proba, n_classes)?;
    let predicted: Vec<usize> = proba.chunks_exact(n_classes).map(argmax).collect();
    let mut matrix = vec![vec![0; n_classes]; n_classes];
    for (&truth, &guess) in y_true.iter().zip(&predicted) {
        matrix[truth as usize][guess] += 1;
    }
    let (f1_macro, f1_weighted) = f1(&matrix);
    Ok(Classification {
        accuracy: ratio((0..n_classes).map(|class| matrix[class][class]).sum(), y_true.len() as u64),
        balanced_accuracy: balanced_accuracy(&matrix),
        log_loss: log_loss(y_true, proba, n_classes),
        roc_auc: roc_auc::of_classes(y_true, proba, n_classes, MultiClass::Ovr, Average::Macro),
        f1_macro,
        f1_weighted,
        confusion_matrix: matrix,
    })
}

fn check(y_true: &[u32], proba: &[f64], n_classes: usize) -> Result<(), Error> {
    if y_true.is_empty() || n_classes < 2 {
        return Err(Error::Unsupported("an evaluation needs at least one row and two classes".to_owned()));
    }
    let expected = y_true.len().saturating_mul(n_classes);
    if proba.len() != expected {
        return Err(Error::Shape { what: "proba", got: proba.len(), expected });
    }
    match y_true.iter().find(|class| **class as usize >= n_classes) {
        Some(&class) => Err(Error::Shape { what: "classes", got: n_classes, expected: class as usize + 1 }),
        None => check_scores(proba, n_classes),
    }
}

/// NaN has no place in an order of scores, and scikit-learn takes no infinite ones either.
fn check_scores(proba: &[f64], n_classes: usize) -> Result<(), Error> {
    match proba.iter().position(|score| !score.is_finite()) {
        Some(at) => Err(Error::Score { row: at / n_classes, class: at % n_classes, value: proba[at] }),
        None => Ok(()),
    }
}

#[expect(clippy::cast_precision_loss, reason = "row counts below 2^53")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

fn mean(numbers: &[f64]) -> f64 {
    pairwise_sum(numbers) / ratio(numbers.len() as u64, 1)
}

fn balanced_accuracy(matrix: &[Vec<u64>]) -> f64 {
    let rows = matrix.iter().enumerate().map(|(class, row)| (row[class], row.iter().sum::<u64>()));
    let recalls: Vec<f64> = rows.filter(|(_, all)| *all > 0).map(|(right, all)| ratio(right, all)).collect();
    mean(&recalls)
}

fn log_loss(y_true: &[u32], proba: &[f64], n_classes: usize) -> f64 {
    let rows = y_true.iter().zip(proba.chunks_exact(n_classes));
    let losses: Vec<f64> =
        rows.map(|(class, row)| -row[*class as usize].clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln()).collect();
    mean(&losses)
}

fn f1(matrix: &[Vec<u64>]) -> (f64, f64) {
    let (mut scores, mut weighted, mut total) = (Vec::new(), 0.0, 0);
    for (class, row) in matrix.iter().enumerate() {
        let present: u64 = row.iter().sum();
        let guessed: u64 = matrix.iter().map(|row| row[class]).sum();
        if present + guessed > 0 {
            let score = ratio(2 * row[class], present + guessed);
            scores.push(score);
            weighted += score * ratio(present, 1);
            total += present;
        }
    }
    (mean(&scores), weighted / ratio(total, 1))
}

#[cfg(test)]
mod tests;
