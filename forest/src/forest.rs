//! Training by tree ranges, merging, predicting, out-of-bag score.

mod fit;
mod merge;
mod predict;
mod rows;

use std::borrow::Cow;
use std::ops::Range;

pub use fit::{FitOptions, fit, fit_more, fit_part, fit_range, fit_tree};
pub use predict::OutOfBag;
pub(crate) use predict::check_rows;

use crate::Error;
use crate::frame::{Categories, Frame, Label};
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

    /// Class of each row of a data set as an index into this forest's classes; the data set may lack some of them.
    ///
    /// # Errors
    ///
    /// A class that the forest does not know.
    pub(crate) fn class_indexes<'a>(&self, frame: &'a Frame) -> Result<Cow<'a, [u32]>, Error> {
        let indexes = frame.class_indexes();
        if frame.classes() == self.classes {
            return Ok(Cow::Borrowed(indexes));
        }
        let place = |label| self.classes.iter().position(|class| class == label).and_then(|at| u32::try_from(at).ok());
        let places: Vec<Option<u32>> = frame.classes().iter().map(place).collect();
        let known = |index: &u32| {
            let unknown = || Error::UnknownClass(frame.classes()[*index as usize].clone());
            places[*index as usize].ok_or_else(unknown)
        };
        indexes.iter().map(known).collect::<Result<_, _>>().map(Cow::Owned)
    }
}
