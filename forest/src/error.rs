//! What can go wrong, with the names of the fields concerned.

use std::ops::Range;

use crate::frame::{FrameError, Label};
use crate::model_file::ModelFileError;
use crate::onnx::ImportError;
use crate::params::{CLASSES_MAX, Estimator, ParamError};

/// Every failure of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A hyperparameter is outside its range.
    #[error(transparent)]
    Param(#[from] ParamError),
    /// The data set cannot be used.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A model file cannot be used.
    #[error(transparent)]
    ModelFile(#[from] ModelFileError),
    /// An ONNX model cannot be imported.
    #[error(transparent)]
    Onnx(#[from] ImportError),
    /// Shards do not make one forest.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// A synthetic data set's description is wrong.
    #[error(transparent)]
    Synthetic(#[from] crate::datasets::SyntheticError),
    /// Rows given to a model do not have its shape.
    #[error("{what} has length {got}, expected {expected}")]
    Shape {
        /// The argument.
        what: &'static str,
        /// Its length.
        got: usize,
        /// The length it must have.
        expected: usize,
    },
    /// A value that no model can take: infinite, or beyond float32.
    #[error("row {row}, feature `{feature}`: {value} is infinite or too large for float32")]
    NotFinite {
        /// Row, counted from 0.
        row: usize,
        /// Feature name.
        feature: String,
        /// The value.
        value: f64,
    },
    /// A score of a class that has no place among others.
    #[error("row {row}, class {class}: the score {value} is not finite")]
    Score {
        /// Row, counted from 0.
        row: usize,
        /// Class, counted from 0.
        class: usize,
        /// The score.
        value: f64,
    },
    /// A number, true or predicted, of which there is no measure.
    #[error("row {row} of `{what}`: {value} is not finite")]
    Number {
        /// `y_true` or `y_pred`.
        what: &'static str,
        /// Row, counted from 0.
        row: usize,
        /// The number.
        value: f64,
    },
    /// Nothing can be learned from the target.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A class that the forest has not learned.
    #[error("the data set has the class `{0}`, which the forest does not know")]
    UnknownClass(Label),
    /// More rows than a tree can number.
    #[error("{n_samples} rows; a tree numbers rows with 32 bits, so at most {max} can be learned from", max = u32::MAX)]
    TooManyRows {
        /// Rows of the data set.
        n_samples: usize,
    },
    /// What was asked is not possible for these arguments.
    #[error("{0}")]
    Unsupported(String),
    /// The caller's cancel flag was raised.
    #[error("cancelled after {trees_done} of {trees} trees")]
    Cancelled {
        /// Trees finished before the flag was seen.
        trees_done: u32,
        /// Trees asked for.
        trees: u32,
    },
    /// An error of linfa's data set handling.
    #[error(transparent)]
    Linfa(#[from] linfa::error::Error),
}

/// Why an estimator cannot learn from a target.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TargetError {
    /// A regressor was given class labels.
    #[error("{0:?} needs numbers as target, not class labels")]
    NotNumbers(Estimator),
    /// A classifier was given numbers.
    #[error("{0:?} needs class labels as target, not numbers")]
    NotClasses(Estimator),
    /// A classifier was given numbers with fractions as classes, more than half as many as rows.
    #[error(
        "the target has numbers with fractions, `{class}` for one, of which {estimator:?} would make more than half as many classes \
         as rows: use {regressor:?} (`estimator`), or write classes as whole numbers or texts",
        regressor = .estimator.regressor()
    )]
    Continuous {
        /// The classifier.
        estimator: Estimator,
        /// The first class with a fraction.
        class: Label,
    },
    /// A classifier was given more classes than a tree should hold.
    #[error(
        "the target has {n_classes} classes, at most {max} can be learned: use {regressor:?} (`estimator`) if it is \
         a number, or join classes",
        max = CLASSES_MAX,
        regressor = .estimator.regressor()
    )]
    TooManyClasses {
        /// The classifier.
        estimator: Estimator,
        /// Classes of the target.
        n_classes: usize,
    },
    /// A number that cannot be averaged.
    #[error("row {row}: the target {value} is not finite")]
    NotFinite {
        /// Row, counted from 1.
        row: usize,
        /// Its target.
        value: f64,
    },
    /// A classifier was given a target without classes.
    #[error("the target has no classes")]
    NoClass,
    /// A class of one row cannot be on both sides of a split.
    #[error(
        "a stratified split needs at least two rows of every class, and the target has one row of some class: leave it out, or \
         add rows of its class"
    )]
    LoneRow,
    /// A classifier was given rows of a single class.
    #[error("the target has one class only, `{0}`; a classifier needs two")]
    OneClass(Label),
}

/// Why shards cannot be concatenated to a forest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// Nothing to merge.
    #[error("no shards given")]
    Empty,
    /// Tree indexes that no shard covers.
    #[error("no shard covers trees {from}..{to}")]
    Gap {
        /// First missing tree.
        from: u32,
        /// One past the last missing tree.
        to: u32,
    },
    /// Tree indexes that two shards cover.
    #[error("trees {from}..{to} come from more than one shard")]
    Overlap {
        /// First tree covered twice.
        from: u32,
        /// One past the last.
        to: u32,
    },
    /// Some of the trees that are not all here.
    #[error("trees {}..{} are not a part of the trees {}..{} that are here", part.start, part.end, here.start, here.end)]
    Part {
        /// The trees asked for.
        part: Range<u32>,
        /// Those that are here.
        here: Range<u32>,
    },
    /// Shards of different jobs.
    #[error("shard {from}..{to} was trained with another `{field}` than the first shard")]
    Differs {
        /// `params`, `data_sha256`, `classes`, `feature_names` or `categories`.
        field: &'static str,
        /// First tree of the shard that differs.
        from: u32,
        /// One past its last tree.
        to: u32,
    },
}
