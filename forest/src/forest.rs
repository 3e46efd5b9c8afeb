//! Training by tree ranges, merging, predicting, out-of-bag score.

mod fit;
mod merge;
mod predict;
mod rows;

use std::ops::Range;

pub use fit::{FitOptions, fit, fit_more, fit_part, fit_range, fit_tree};
pub use predict::OutOfBag;
pub(crate) use predict::check_rows;

use crate::frame::{Categories, Label};
use crate::params::RandomForestParams;
use crate::tree::Tree;

/// A forest, or the trees `range` of one.
#[derive(Debug, Clone, PartialEq)]
pub struct Forest {
    params: RandomForestParams,
    classes: Vec<Label>,
    feature_names: Vec<String>,
    categories: Categories,
    data_sha256: String,
    range: Range<u32>,
    trees: Vec<Tree>,
}

impl Forest {
    /// A forest of parts that belong together.
    pub(crate) fn from_parts(
        params: RandomForestParams,
        classes: Vec<Label>,
        feature_names: Vec<String>,
        categories: Categories,
        data_sha256: String,
        range: Range<u32>,
        trees: Vec<Tree>,
    ) -> Self {
        Self { params, classes, feature_names, categories, data_sha256, range, trees }
    }

    /// Parameters of the whole forest.
    pub fn params(&self) -> &RandomForestParams {
        &self.params
    }

    /// Class labels in the order of the probabilities; none for a regressor.
    pub fn classes(&self) -> &[Label] {
        &self.classes
    }

    /// Feature names in column order.
    pub fn feature_names(&self) -> &[String] {
        &self.feature_names
    }

    /// The texts of the features that hold codes: [`crate::Frame::categories`].
    pub fn categories(&self) -> &Categories {
        &self.categories
    }

    /// Number of features.
    pub fn n_features(&self) -> usize {
        self.feature_names.len()
    }

    /// Number of classes; 0 for a regressor.
    pub fn n_classes(&self) -> usize {
        self.classes.len()
    }

    /// Numbers predicted per row: one per class, or 1.
    pub fn n_outputs(&self) -> usize {
        self.classes.len().max(1)
    }

    /// Identity of the training data: [`crate::Frame::sha256`].
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
}
