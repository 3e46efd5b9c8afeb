//! Tree ensembles: data frames in, trees out, predictions.
//!
//! Random forests, extremely randomised trees and single decision trees, for classes and for numbers, grow scikit-learn 1.9's very trees for the
//! same data, parameters and `random_state`: features, thresholds, children, counts, values, and so probabilities,
//! equal to the last bit. With whole row weights every sum is an exact integer and any order of rows will do; where sums
//! are rounded (fractional class weights, regression) rows are kept in scikit-learn's own order. Natural logarithms
//! (`entropy`, normal random numbers) are those of the platform's C library, as they are in scikit-learn.
//!
//! `splitter = "hist"` grows another model: cuts lie between at most `max_bins` bins per feature, of about as many rows each.
//! It is as deterministic, reads missing values the same way, and works with every criterion.
//!
//! The crate is pure: bytes in, bytes out; no clock, no environment, no hidden randomness. The same input gives the same
//! bytes at any thread count and for any partition into shards.
//!
//! | module | holds |
//! | --- | --- |
//! | [`frame`] | the data set: float32 columns and a target |
//! | [`datasets`] | synthetic data sets, equal to scikit-learn's |
//! | [`random`] | NumPy's legacy streams and the tree's xorshift |
//! | [`params`] | hyperparameters under scikit-learn's names |
//! | [`forest`] | training by tree ranges, merging, predicting, out-of-bag score |
//! | [`row_parts`] | forests whose trees each learn from one part of the rows |
//! | [`tree`] | one tree's node arrays |
//! | [`metrics`], [`model_selection`] | evaluation, splitting and cross-validation |
//! | [`inspection`] | importances by permutation |
//! | [`model_file`] | the native file, which is also the shard artifact |
//! | [`onnx`] | the interchange form, out and in |
//! | [`linfa_tree`] | linfa-trees' decision tree, as one more estimator |
//! | [`linfa_traits`] | the same behind linfa's `ParamGuard`, `Fit` and `Predict` |

#[cfg(target_endian = "big")]
compile_error!("model files and frames are little-endian and used in place");

pub mod datasets;
mod error;
mod example;
mod finish;
pub mod forest;
pub mod frame;
mod grow;
pub mod inspection;
mod kernel;
pub mod linfa_traits;
pub mod linfa_tree;
pub mod metrics;
pub mod model_file;
pub mod model_selection;
mod numeric;
pub mod onnx;
mod pages;
pub mod params;
pub mod random;
pub mod row_parts;
pub mod tree;

pub use error::{Error, MergeError, TargetError};
pub use example::ExampleError;
pub use forest::{FitOptions, Forest, OutOfBag, fit, fit_more, fit_part, fit_range, fit_tree};
pub use frame::{Categories, Frame, FrameLimits, Label, Target};
pub use kernel::Level;
pub use model_file::Model;
pub use params::{Estimator, RandomForestParams};
pub use row_parts::RowParts;
pub use tree::Tree;
