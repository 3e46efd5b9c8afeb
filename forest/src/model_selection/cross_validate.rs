//! Cross-validation.

use super::{folds, stratified_folds};
use crate::Error;
use crate::forest::{Forest, fit};
use crate::frame::{Frame, Target};
use crate::metrics::{Classification, Regression, classification, regression};
use crate::params::RandomForestParams;

/// What a model is worth on some rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Measures {
    /// Of a classifier.
    Classification(Classification),
    /// Of a regressor.
    Regression(Regression),
}

impl Measures {
    /// scikit-learn's `score`: accuracy, or R² of a regressor, which is NaN of a single row.
    pub fn score(&self) -> f64 {
        match self {
            Self::Classification(measures) => measures.accuracy,
            Self::Regression(measures) => measures.r2.unwrap_or(f64::NAN),
        }
    }
}

/// One part of a cross-validation.
#[derive(Debug, Clone, PartialEq)]
pub struct Fold {
    /// Rows that were predicted, in ascending order.
    pub test: Vec<usize>,
    /// Measures on them.
    pub measures: Measures,
}

/// Measures of a forest on a data set of its kind.
///
/// # Errors
///
/// Another kind of target, other features, or classes that the forest does not know.
pub fn measure(forest: &Forest, frame: &Frame) -> Result<Measures, Error> {
    if frame.feature_names() != forest.feature_names() {
        return Err(Error::Unsupported("the data set has other features than the forest".to_owned()));
    }
    match frame.target() {
        Target::Classes { .. } => {
            let y_true = forest.class_indexes(frame)?;
            let proba = forest.predict_proba(&frame.rows())?;
            Ok(Measures::Classification(classification(&y_true, &proba, forest.n_classes())?))
        }
        Target::Values(values) => Ok(Measures::Regression(regression(values, &forest.predict_values(&frame.rows())?)?)),
    }
}

/// Trains on all parts but one and measures on that one, for each part: scikit-learn's `cross_validate` with
/// `StratifiedKFold` for classes and `KFold` for numbers. `shuffle` is the seed of the shuffle, if there is to be one.
///
/// # Errors
///
/// As [`stratified_folds`], [`folds`] and [`fit`].
pub fn cross_validate(
    frame: &Frame,
    params: &RandomForestParams,
    n_splits: u32,
    shuffle: Option<u32>,
) -> Result<Vec<Fold>, Error> {
    let parts = match frame.target() {
        Target::Classes { indexes, .. } => stratified_folds(indexes, n_splits, shuffle)?,
        Target::Values(values) => folds(values.len(), n_splits, shuffle)?,
    };
    let rows = |wanted: &dyn Fn(u32) -> bool| -> Vec<usize> {
        parts.iter().enumerate().filter(|(_, part)| wanted(**part)).map(|(row, _)| row).collect()
    };
    (0..n_splits)
        .map(|part| {
            let test = rows(&|of| of == part);
            let forest = fit(&frame.take(&rows(&|of| of != part))?, params)?;
            Ok(Fold { measures: measure(&forest, &frame.take(&test)?)?, test })
        })
        .collect()
}
