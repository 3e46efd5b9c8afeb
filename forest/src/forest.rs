//! Training by tree ranges, merging, predicting, out-of-bag score.

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use crate::Error;
use crate::frame::{Frame, Label};
use crate::params::RandomForestParams;
use crate::tree::Tree;

/// What a caller may want to know or do while trees grow.
#[derive(Default, Clone, Copy)]
pub struct FitOptions<'a> {
    /// Called after each tree with the number of trees done so far, from any thread.
    pub progress: Option<&'a (dyn Fn(u32) + Sync)>,
    /// Raised by the caller to stop: the fit then ends with [`Error::Cancelled`].
    pub cancel: Option<&'a AtomicBool>,
}

impl std::fmt::Debug for FitOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FitOptions").field("progress", &self.progress.is_some()).field("cancel", &self.cancel).finish()
    }
}

/// A forest, or the trees `range` of one.
#[derive(Debug, Clone, PartialEq)]
pub struct Forest {
    params: RandomForestParams,
    classes: Vec<Label>,
    feature_names: Vec<String>,
    data_sha256: String,
    range: Range<u32>,
    trees: Vec<Tree>,
}

/// Out-of-bag estimates.
#[derive(Debug, Clone, PartialEq)]
pub struct OutOfBag {
    /// Accuracy over the rows that were out of bag in at least one tree.
    pub score: f64,
    /// Class probabilities, `(n_samples, n_classes)` row-major; NaN for rows that were never out of bag.
    pub decision_function: Vec<f64>,
}

/// Grows all trees.
///
/// # Errors
///
/// As [`fit_range`].
pub fn fit(frame: &Frame, params: &RandomForestParams) -> Result<Forest, Error> {
    fit_range(frame, params, 0..params.n_estimators, &FitOptions::default())
}

/// Grows the trees `range` of the forest that `params` describe: the same trees, whatever the partition.
///
/// # Errors
///
/// Parameters out of range, a target that is not made of two or more classes, a range that is empty or beyond
/// `n_estimators`, cancellation.
pub fn fit_range(
    frame: &Frame,
    params: &RandomForestParams,
    range: Range<u32>,
    options: &FitOptions<'_>,
) -> Result<Forest, Error> {
    params.check()?;
    let _ = (frame, range, options);
    Err(Error::Unsupported("not grown yet".into()))
}

impl Forest {
    /// Concatenates shards in index order.
    ///
    /// # Errors
    ///
    /// No shard, a gap, an overlap, shards of different parameters, data or classes.
    pub fn merge(shards: Vec<Forest>) -> Result<Forest, Error> {
        let _ = shards;
        Err(Error::Unsupported("not merged yet".into()))
    }

    /// Parameters of the whole forest.
    pub fn params(&self) -> &RandomForestParams {
        &self.params
    }

    /// Class labels in the order of the probabilities.
    pub fn classes(&self) -> &[Label] {
        &self.classes
    }

    /// Feature names in column order.
    pub fn feature_names(&self) -> &[String] {
        &self.feature_names
    }

    /// Number of features.
    pub fn n_features(&self) -> usize {
        self.feature_names.len()
    }

    /// Identity of the training data: [`Frame::sha256`].
    pub fn data_sha256(&self) -> &str {
        &self.data_sha256
    }

    /// Indexes of these trees in the whole forest.
    pub fn range(&self) -> Range<u32> {
        self.range.clone()
    }

    /// Whether all trees of the forest are here.
    pub fn is_whole(&self) -> bool {
        self.range == (0..self.params.n_estimators)
    }

    /// Number of trees here.
    pub fn n_trees(&self) -> usize {
        self.trees.len()
    }

    /// The trees.
    pub fn trees(&self) -> &[Tree] {
        &self.trees
    }

    /// Class probabilities of row-major rows: `(n_rows, n_classes)` row-major, scikit-learn's bits.
    ///
    /// # Errors
    ///
    /// A length that is not a multiple of the number of features.
    pub fn predict_proba(&self, rows: &[f32]) -> Result<Vec<f64>, Error> {
        let _ = rows;
        Err(Error::Unsupported("not predicted yet".into()))
    }

    /// Class labels of row-major rows: the first largest probability.
    ///
    /// # Errors
    ///
    /// As [`Forest::predict_proba`].
    pub fn predict(&self, rows: &[f32]) -> Result<Vec<Label>, Error> {
        let _ = rows;
        Err(Error::Unsupported("not predicted yet".into()))
    }

    /// Out-of-bag estimates; `frame` must be the training data.
    ///
    /// # Errors
    ///
    /// Other data than the training data, a forest without bootstrap.
    pub fn oob(&self, frame: &Frame) -> Result<OutOfBag, Error> {
        let _ = frame;
        Err(Error::Unsupported("not scored yet".into()))
    }

    /// Mean decrease of impurity per feature, summing to 1, `(n_features,)`.
    pub fn feature_importances(&self) -> Vec<f64> {
        Vec::new()
    }

    /// The native file ([`crate::model_file`]), which is also the shard artifact.
    ///
    /// # Errors
    ///
    /// More nodes than the format can number.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        Err(Error::Unsupported("not written yet".into()))
    }
}
