//! ONNX in: a graph with one tree ensemble to a [`Model`].
//!
//! Taken in are `TreeEnsembleClassifier` and `TreeEnsembleRegressor` (`ai.onnx.ml` 1 to 3) and `TreeEnsemble` (5), with the
//! operators that skl2onnx, onnxmltools, catboost and [`export`](super::export()) put around them. Answers are those of
//! ONNX Runtime 1.32 within its float32 rounding, with these differences:
//!
//! - Rows are float32 as everywhere here, whatever the graph's input type, and infinite values are refused.
//! - The label is always the first most probable class. ONNX Runtime chooses by other rules where a two-class ensemble has
//!   non-negative weights for both classes, or non-negative weights and a logistic link; its label can then contradict its own
//!   probabilities.
//! - A test for membership holds for the members only. ONNX Runtime truncates what it looks up, so that 3.5 is in {3}.
//! - What ONNX Runtime's versions disagree about is refused: biases of two-class ensembles with weights for both classes, and
//!   `PROBIT` for two classes; and, where it contradicts the standard, `SOFTMAX` and `LOGISTIC` of `TreeEnsemble`. So are the
//!   aggregates MIN and MAX, and several numbers per row without classes.

mod ensemble;
mod ensemble5;
mod error;
mod graph;
mod proto;
mod tensors;
mod trees;
mod wire;

use std::sync::Arc;

pub use error::{ImportError, Limits};

use crate::Error;
use crate::frame::twice;
use crate::model_file::{Imported, Model};
use error::graph;
use graph::{Reader, Reading};
use proto::ModelView;

/// The property under which an exported graph keeps the names of its features, a JSON list.
pub(super) const FEATURE_NAMES: &str = "regrove.feature_names";

/// Reads an ONNX model. Features without names are called `x0`, `x1`, ….
///
/// # Errors
///
/// [`ImportError`]: bytes that are no ONNX model, more than the limits allow, an operator or attribute that cannot be
/// imported, trees with cycles or missing nodes.
pub fn import(bytes: &[u8], limits: &Limits) -> Result<Model, Error> {
    if bytes.len() > limits.bytes_max {
        return Err(ImportError::TooMany { what: "bytes", max: limits.bytes_max }.into());
    }
    let view = ModelView::read(bytes, limits)?;
    let Reading { ensemble, width, finish, classes, inputs } = Reader::read(&view.graph, limits)?;
    let largest = ensemble.trees.n_features();
    let n_features = inputs.declared.unwrap_or(largest).max(inputs.names.as_ref().map_or(0, Vec::len));
    if largest > n_features {
        return Ok(graph(format_args!("the trees look at feature {}, the input has {n_features}", largest - 1))?);
    }
    let names = feature_names(&view, inputs.names, n_features)?;
    let imported = Imported {
        producer: view.producer.clone(),
        classes,
        feature_names: names,
        n_trees: u32::try_from(ensemble.trees.roots.len()).unwrap_or(u32::MAX),
        width: u32::try_from(width).unwrap_or(u32::MAX),
        finish,
    };
    let packer = ensemble.trees.pack(width, limits)?;
    Model::from_verified_bytes(Arc::new(packer.imported_bytes(&imported)?))
}

fn feature_names(
    view: &ModelView<'_>,
    names: Option<Vec<String>>,
    n_features: usize,
) -> Result<Vec<String>, ImportError> {
    let property = view.metadata.iter().find(|(key, _)| *key == FEATURE_NAMES);
    let property = property.map(|(_, value)| serde_json::from_str::<Vec<String>>(value)).transpose();
    let names = match (property, names) {
        (Err(error), _) => return graph(format_args!("property `{FEATURE_NAMES}`: {error}")),
        (Ok(Some(names)), _) | (Ok(None), Some(names)) => names,
        (Ok(None), None) => (0..n_features).map(|feature| format!("x{feature}")).collect(),
    };
    if names.len() != n_features {
        return graph(format_args!("it names {} features and has {n_features}", names.len()));
    }
    match twice(names.iter().map(String::as_str)) {
        Some(name) => graph(format_args!("two features are called `{name}`")),
        None => Ok(names),
    }
}
