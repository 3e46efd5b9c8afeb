//! Predictions.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::CsvFormat;

/// Where rows are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowsAt {
    /// `file:///…/rows.predictions-….csv`.
    pub uri: String,
}

/// Where rows are read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowsFrom {
    /// `file:///…/rows.csv`, `s3://…/rows.parquet`, …
    pub uri: String,
    /// How a CSV file is written; as usual without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csv: Option<CsvFormat>,
}

/// Data of `predict-requested`. The subject is the model's name. Rows are inline or in a data set, not both.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PredictRequested {
    /// Rows: each a list with a value per column, or an object with the columns' names. A value is a number, a category's text,
    /// or `null` where it is missing. Whoever predicts knows what the model takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Vec<Value>>,
    /// Names of the columns of `features`; the model's own order without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// A data set with the rows; its columns are found by name. What does not fit into an event is written next to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<RowsFrom>,
    /// Version to ask; the one in service without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// Data of `predict-completed`. The subject is the model's name. Answers are inline, or in the file `output`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PredictCompleted {
    /// Version that answered.
    pub version: String,
    /// How many rows were answered.
    pub n_rows: u64,
    /// Per row the label, a string or a whole number, or the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predictions: Option<Vec<Value>>,
    /// Per row the probability of each class; none for a regressor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probabilities: Option<Vec<Vec<f64>>>,
    /// The file that holds the answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<RowsAt>,
}

/// Data of `prediction-logged`. The subject is the model's name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PredictionLogged {
    /// Version that answered.
    pub version: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The row; `null` for a missing value.
    pub features: Vec<Option<f64>>,
    /// The label, a string or a whole number, or the value.
    pub prediction: Value,
    /// The probability of each class; none for a regressor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probabilities: Option<Vec<f64>>,
}
