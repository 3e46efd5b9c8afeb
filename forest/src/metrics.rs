//! Measures of a classifier, equal to scikit-learn's.

use serde::{Deserialize, Serialize};

use crate::Error;

/// Measures of one evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Classification {
    /// Fraction of rows predicted right.
    pub accuracy: f64,
    /// Mean recall over the classes present.
    pub balanced_accuracy: f64,
    /// Mean negative natural log of the true class's probability.
    pub log_loss: f64,
    /// Area under the ROC curve (one-vs-rest macro mean beyond two classes); `None` if a class is absent.
    pub roc_auc: Option<f64>,
    /// Unweighted mean of the classes' F1.
    pub f1_macro: f64,
    /// Mean of the classes' F1, weighted by their rows.
    pub f1_weighted: f64,
    /// Rows of true class i predicted as j: `[i][j]`.
    pub confusion_matrix: Vec<Vec<u64>>,
}

/// All measures from true class indexes `(n,)` and probabilities `(n, n_classes)` row-major.
///
/// # Errors
///
/// Lengths that do not fit, zero rows, a class index out of range.
pub fn classification(y_true: &[u32], proba: &[f64], n_classes: usize) -> Result<Classification, Error> {
    let _ = (y_true, proba, n_classes);
    Err(Error::Unsupported("not measured yet".into()))
}
