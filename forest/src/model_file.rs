//! The native model file: checked once, used in place.

use std::ops::Range;
use std::sync::Arc;

use crate::Error;
use crate::forest::Forest;
use crate::frame::Label;
use crate::params::RandomForestParams;

/// Why bytes are not a usable model file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a usable model file: {0}")]
pub struct ModelFileError(pub String);

/// Shared bytes of a model: a vector, a memory map, anything that stays the same while it lives.
pub type ModelBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// A model read from its native file, ready to predict. Cloning is cheap.
#[derive(Clone)]
pub struct Model {
    bytes: ModelBytes,
    params: RandomForestParams,
    classes: Vec<Label>,
    feature_names: Vec<String>,
    data_sha256: String,
    range: Range<u32>,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("range", &self.range).finish_non_exhaustive()
    }
}

impl Model {
    /// Reads a model file: checks its SHA-256 and every index once.
    ///
    /// # Errors
    ///
    /// Bytes that are cut, changed, or of another kind or version.
    pub fn from_bytes(bytes: ModelBytes) -> Result<Self, Error> {
        let _ = bytes;
        Err(ModelFileError("not read yet".into()).into())
    }

    /// Parameters of the whole forest.
    pub fn params(&self) -> &RandomForestParams {
        &self.params
    }

    /// Class labels in the order of the probabilities.
    pub fn classes(&self) -> &[Label] {
        &self.classes
    }

    /// Number of classes.
    pub fn n_classes(&self) -> usize {
        self.classes.len()
    }

    /// Feature names in column order.
    pub fn feature_names(&self) -> &[String] {
        &self.feature_names
    }

    /// Number of features.
    pub fn n_features(&self) -> usize {
        self.feature_names.len()
    }

    /// Identity of the training data.
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
        self.range.len()
    }

    /// The bytes read.
    pub fn as_bytes(&self) -> &[u8] {
        (*self.bytes).as_ref()
    }

    /// The forest with all node arrays, for merging and evaluation.
    ///
    /// # Errors
    ///
    /// A file without the training statistics.
    pub fn to_forest(&self) -> Result<Forest, Error> {
        Err(ModelFileError("not read yet".into()).into())
    }

    /// Class probabilities of row-major rows `(n_rows, n_features)` into `out` `(n_rows, n_classes)`, scikit-learn's bits.
    ///
    /// # Errors
    ///
    /// Lengths that do not fit.
    pub fn predict_proba_rows(&self, rows: &[f32], n_rows: usize, out: &mut [f64]) -> Result<(), Error> {
        let _ = (rows, n_rows, out);
        Err(ModelFileError("not read yet".into()).into())
    }

    /// Class labels of row-major rows: the first largest probability.
    ///
    /// # Errors
    ///
    /// Lengths that do not fit.
    pub fn predict_rows(&self, rows: &[f32], n_rows: usize) -> Result<Vec<Label>, Error> {
        let _ = (rows, n_rows);
        Err(ModelFileError("not read yet".into()).into())
    }
}
