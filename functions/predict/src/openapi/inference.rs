//! Bodies of the Open Inference Protocol.

use std::collections::BTreeMap;

use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::protocol::tensor::Elements;

/// A request of the Open Inference Protocol.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "read by hand, described here")]
pub(crate) struct InferenceRequest {
    /// Comes back in the answer.
    id: Option<String>,
    /// One tensor of shape `[n_rows, n_features]`, or one of shape `[n_rows]` or `[n_rows, 1]` per column.
    #[schema(example = json!([{"name": "input-0", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}]))]
    inputs: Vec<InputTensor>,
    /// Outputs wanted: `predict`, `predict_proba`; both without it.
    outputs: Option<Vec<RequestedOutput>>,
    parameters: Option<RequestParameters>,
}

/// An input: its elements in `data`, or as bytes behind the JSON part.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "read by hand, described here")]
struct InputTensor {
    /// The column's name; any, if it is the only tensor.
    #[schema(example = "input-0")]
    name: String,
    /// Sizes, rows first.
    #[schema(example = json!([1, 4]))]
    shape: Vec<u64>,
    datatype: InputDatatype,
    /// The elements, where they are not bytes; `null` is a missing value.
    #[schema(required = false, value_type = TensorData)]
    data: Option<TensorData>,
    parameters: Option<BinarySize>,
}

/// What an input's elements are.
#[derive(Debug)]
enum InputDatatype {}

impl ToSchema for InputDatatype {}

impl PartialSchema for InputDatatype {
    fn schema() -> RefOr<Schema> {
        let description = "What an input's elements are; `BYTES` are texts of a column of categories.";
        let names = ObjectBuilder::new().schema_type(Type::String).description(Some(description));
        names.enum_values(Some(Elements::all())).into()
    }
}

/// Elements in one list, rows first, or in a list for each row.
#[derive(Debug, serde::Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "read by hand, described here")]
enum TensorData {
    Flat(Vec<Option<Element>>),
    Rows(Vec<Vec<Option<Element>>>),
}

/// How many bytes behind the JSON part are a tensor's: little-endian numbers, or texts each after its length in 4 bytes.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "read and written by hand, described here")]
struct BinarySize {
    /// So many.
    #[schema(required = false, value_type = u64)]
    binary_data_size: Option<u64>,
}

/// An output that is wanted.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "read by hand, described here")]
struct RequestedOutput {
    /// `predict`, or `predict_proba` of a classifier.
    #[schema(example = "predict")]
    name: String,
    parameters: Option<OutputParameters>,
}

/// How an output is wanted.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "read by hand, described here")]
struct OutputParameters {
    /// Whether as bytes behind the JSON part; as the request says without it.
    #[schema(required = false, value_type = bool)]
    binary_data: Option<bool>,
}

/// How outputs are wanted.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "read by hand, described here")]
struct RequestParameters {
    /// Whether as bytes behind the JSON part.
    #[schema(required = false, value_type = bool)]
    binary_data_output: Option<bool>,
}

/// The answer to an inference.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "written by hand, described here")]
pub(crate) struct InferenceReply {
    /// The model that answered.
    model_name: String,
    /// Its version.
    #[schema(example = "3")]
    model_version: String,
    /// That of the request, if it has one.
    #[schema(required = false, value_type = String)]
    id: Option<String>,
    /// What was wanted.
    outputs: Vec<OutputTensor>,
}

/// An output: its elements in `data`, or as bytes behind the JSON part.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "written by hand, described here")]
struct OutputTensor {
    /// `predict`: labels, or values of a regressor; `predict_proba`: probabilities of the classes.
    #[schema(example = "predict")]
    name: String,
    datatype: OutputDatatype,
    /// `[n_rows]`, or `[n_rows, n_classes]`.
    #[schema(example = json!([1]))]
    shape: Vec<u64>,
    /// The elements in one list, rows first.
    #[schema(required = false, value_type = Vec<Element>)]
    data: Option<Vec<Element>>,
    /// Where they are bytes.
    #[schema(required = false, value_type = BinarySize)]
    parameters: Option<BinarySize>,
}

/// What an output's elements are: probabilities and values are `FP64`, labels have a type of theirs, `BYTES` for texts.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "UPPERCASE")]
#[expect(dead_code, reason = "written by hand, described here")]
enum OutputDatatype {
    Bool,
    Int64,
    Fp64,
    Bytes,
}

/// A number, a text or, of type `BOOL`, a truth value.
#[derive(Debug, serde::Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "written by hand, described here")]
enum Element {
    Truth(bool),
    Number(f64),
    Text(String),
}

/// The JSON of a request or an answer, and behind it the bytes of its tensors.
#[derive(Debug, ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "read and written by hand, described here")]
pub(crate) struct Tensors(Vec<u8>);

/// This server.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "written by hand, described here")]
pub(crate) struct ServerMetadata {
    #[schema(example = "regrove-predict")]
    name: String,
    version: String,
    /// Extensions of the protocol that it knows.
    #[schema(example = json!(["binary_tensor_data"]))]
    extensions: Vec<String>,
}

/// Whether the server runs.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "written by hand, described here")]
pub(crate) struct ServerLive {
    /// Always true.
    live: bool,
}

/// Whether the default model can answer.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "written by hand, described here")]
pub(crate) struct ServerReady {
    /// Always true: a server that is not ready answers 503.
    ready: bool,
}

/// A version that can answer.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "written by hand, described here")]
pub(crate) struct IndexedModel {
    /// The registered model's name.
    name: String,
    #[schema(example = "3")]
    version: String,
    /// Always `READY`.
    #[schema(example = "READY")]
    state: String,
    /// Always empty.
    reason: String,
}

/// Whether a model can answer.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "written by hand, described here")]
pub(crate) struct ModelReady {
    /// The registered model's name.
    name: String,
    /// Always true: for a model that is not ready the answer is 503.
    ready: bool,
}

/// A model's inputs and outputs.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "written by hand, described here")]
pub(crate) struct ModelMetadata {
    /// The registered model's name.
    name: String,
    /// Versions that can answer.
    #[schema(example = json!(["3"]))]
    versions: Vec<String>,
    /// What evaluates it.
    #[schema(example = "regrove_forest")]
    platform: String,
    /// One tensor with all columns.
    inputs: Vec<InputMetadata>,
    /// `predict` and, of a classifier, `predict_proba`.
    outputs: Vec<OutputMetadata>,
}

/// An input of a model.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "written by hand, described here")]
struct InputMetadata {
    #[schema(example = "input-0")]
    name: String,
    datatype: InputDatatype,
    /// Sizes; -1 stands for the number of rows.
    #[schema(example = json!([-1, 4]))]
    shape: Vec<i64>,
    parameters: Columns,
}

/// The columns of a model.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "written by hand, described here")]
struct Columns {
    /// Their names, in order.
    columns: Vec<String>,
    /// The texts of the columns of categories: the k-th text has the code k.
    categories: BTreeMap<String, Vec<String>>,
}

/// An output of a model.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "written by hand, described here")]
struct OutputMetadata {
    #[schema(example = "predict")]
    name: String,
    datatype: OutputDatatype,
    /// Sizes; -1 stands for the number of rows.
    #[schema(example = json!([-1]))]
    shape: Vec<i64>,
}
