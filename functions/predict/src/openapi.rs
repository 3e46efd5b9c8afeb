//! This function's interface as OpenAPI 3.1. What bodies look like is said here; they are read by `crate::json`.

pub(crate) mod inference;

use std::collections::BTreeMap;

use regrove_forest::Label;
use regrove_host::openapi::{Bounds, Registered};
pub(crate) use regrove_host::openapi::{ProblemBody, Refused};
use serde_json::Value;
use utoipa::{OpenApi, ToSchema};

use crate::protocol::{events, oip, reference, scoring};

/// What any body may be refused with.
const BOUNDS: Bounds = Bounds(&[408, 413, 415, 503, 504]);

/// The document.
#[derive(Debug, OpenApi)]
#[openapi(
    info(title = "Regrove predict", description = "Answers predictions of tree ensembles from the model that the serving pointer names."),
    tags(
        (name = "predict", description = "The protocol of the reference stack."),
        (name = "Open Inference Protocol", description = "Version 2 over REST, with the binary tensor data extension: the clients of Triton, KServe and MLServer. Refusals have the detail as `error` too."),
        (name = "MLflow", description = "What `mlflow models serve` answers. Refusals have `error_code`, and the detail as `message` too."),
        (name = "CloudEvents", description = "Predictions as events."),
    ),
    paths(
        reference::predict, reference::predict_named, reference::info, reference::info_named,
        oip::server, oip::live, oip::ready, oip::index, oip::metadata, oip::version_metadata, oip::model_ready,
        oip::version_ready, oip::infer, oip::infer_version,
        scoring::invocations, scoring::ping, scoring::health, scoring::version,
        events::receive,
    ),
    components(schemas(ProblemBody), responses(Refused)),
    modifiers(&BOUNDS),
)]
pub(crate) struct Document;

/// Rows for `/predict`.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "read by hand, described here")]
pub(crate) struct Features {
    #[schema(example = json!([[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]]))]
    features: Vec<Row>,
    /// Names of the columns, if they are not in the model's order.
    columns: Option<Vec<String>>,
}

/// A row: cells in the model's order, or a member for each column; other members are ignored. A cell is a number, or a text in
/// a column of categories; `null` is a missing value.
#[derive(Debug, serde::Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "read by hand, described here")]
enum Row {
    List(Vec<Option<Cell>>),
    Record(BTreeMap<String, Value>),
}

/// A number or a text.
#[derive(Debug, serde::Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "read by hand, described here")]
enum Cell {
    Number(f64),
    Text(String),
}

/// The answer of `/predict`.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "written by hand, described here")]
pub(crate) struct Prediction {
    /// The most probable class of each row, or its value.
    #[schema(value_type = Vec<Value>, example = json!([1]))]
    predictions: Vec<Label>,
    /// Per row the probability of each class, in the order of the classes; absent for a regressor.
    #[schema(example = json!([[0.25, 0.75]]))]
    probabilities: Option<Vec<Vec<f64>>>,
    /// The version that answered, as MLflow writes it.
    #[schema(example = "3")]
    model_version: String,
    /// When, RFC 3339.
    timestamp: String,
}

/// What is served.
#[derive(Debug, ToSchema)]
#[expect(dead_code, clippy::struct_field_names, reason = "written by hand, described here")]
pub(crate) struct ModelInfo {
    /// Always true.
    model_loaded: bool,
    model_info: Registered,
    /// SHA-256 of the model's bytes.
    sha256: String,
    /// Number of columns.
    n_features: usize,
    /// Their names, in order.
    feature_names: Vec<String>,
    /// The texts of the columns of categories: the k-th text has the code k.
    categories: BTreeMap<String, Vec<String>>,
    /// Class labels, in the order of the probabilities; empty for a regressor.
    #[schema(value_type = Vec<Value>)]
    classes: Vec<Label>,
    /// Number of trees.
    n_estimators: usize,
    /// Now, RFC 3339.
    timestamp: String,
}

/// A body of `/invocations`: exactly one of the members.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "read by hand, described here")]
#[schema(example = json!({"dataframe_split": {"columns": ["a", "b"], "data": [[1.0, 2.0]]}}))]
pub(crate) struct Invocation {
    /// `{"columns": […], "data": [[…], …]}`.
    #[schema(value_type = Object, required = false)]
    dataframe_split: Option<Value>,
    /// Rows as objects or lists.
    #[schema(value_type = Vec<Row>, required = false)]
    dataframe_records: Option<Vec<Row>>,
    /// Rows as lists or objects.
    #[schema(value_type = Vec<Row>, required = false)]
    instances: Option<Vec<Row>>,
    /// Rows as lists, or an object with a list for each column.
    #[schema(value_type = Inputs, required = false)]
    inputs: Option<Inputs>,
}

/// Rows, or columns by name.
#[derive(Debug, serde::Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "read by hand, described here")]
enum Inputs {
    Rows(Vec<Row>),
    Columns(BTreeMap<String, Vec<Option<Cell>>>),
}

/// The answer of `/invocations`.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "written by hand, described here")]
pub(crate) struct Scores {
    /// A record per row: `label` and `probability_CLASS` for each class, or `prediction`.
    #[schema(value_type = Vec<Value>)]
    predictions: Vec<Value>,
}
