//! The messages of `onnx.proto` that the export needs, with their field numbers (ONNX 1.8, IR version 7).

use prost::Message;

/// `ModelProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Model {
    #[prost(int64, tag = "1")]
    pub(super) ir_version: i64,
    #[prost(string, tag = "2")]
    pub(super) producer_name: String,
    #[prost(message, optional, tag = "7")]
    pub(super) graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    pub(super) opset_import: Vec<OperatorSet>,
    #[prost(message, repeated, tag = "14")]
    pub(super) metadata_props: Vec<Property>,
}

/// `StringStringEntryProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Property {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
}

/// `OperatorSetIdProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct OperatorSet {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(int64, tag = "2")]
    version: i64,
}

impl OperatorSet {
    pub(super) fn new(domain: &str, version: i64) -> Self {
        Self { domain: domain.to_owned(), version }
    }
}

/// `GraphProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub(super) node: Vec<NodeMessage>,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(message, repeated, tag = "5")]
    pub(super) initializer: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    pub(super) input: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    pub(super) output: Vec<ValueInfo>,
}

/// `NodeProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct NodeMessage {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<Attribute>,
    #[prost(string, tag = "7")]
    domain: String,
}

impl NodeMessage {
    pub(super) fn new(op_type: &str, domain: &str, input: &[&str], output: &[&str], attribute: Vec<Attribute>) -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            input: owned(input),
            output: owned(output),
            name: op_type.to_owned(),
            op_type: op_type.to_owned(),
            attribute,
            domain: domain.to_owned(),
        }
    }
}

/// `AttributeProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Attribute {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int64, optional, tag = "3")]
    i: Option<i64>,
    #[prost(bytes = "vec", optional, tag = "4")]
    s: Option<Vec<u8>>,
    /// The export writes none.
    #[cfg(test)]
    #[prost(message, optional, tag = "5")]
    t: Option<Tensor>,
    #[prost(float, repeated, tag = "7")]
    floats: Vec<f32>,
    #[prost(int64, repeated, tag = "8")]
    ints: Vec<i64>,
    #[prost(bytes = "vec", repeated, tag = "9")]
    strings: Vec<Vec<u8>>,
    #[prost(int32, tag = "20")]
    kind: i32,
}

impl Attribute {
    const INT: i32 = 2;
    const STRING: i32 = 3;
    const FLOATS: i32 = 6;
    const INTS: i32 = 7;
    const STRINGS: i32 = 8;

    fn of(name: &str, kind: i32) -> Self {
        Self { name: name.to_owned(), kind, ..Self::default() }
    }

    #[cfg(test)]
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    #[cfg(test)]
    pub(super) fn tensor(name: &str, tensor: Tensor) -> Self {
        Self { t: Some(tensor), ..Self::of(name, 4) }
    }

    pub(super) fn int(name: &str, value: i64) -> Self {
        Self { i: Some(value), ..Self::of(name, Self::INT) }
    }

    pub(super) fn string(name: &str, value: &str) -> Self {
        Self { s: Some(value.as_bytes().to_vec()), ..Self::of(name, Self::STRING) }
    }

    pub(super) fn floats(name: &str, floats: Vec<f32>) -> Self {
        Self { floats, ..Self::of(name, Self::FLOATS) }
    }

    pub(super) fn ints(name: &str, ints: Vec<i64>) -> Self {
        Self { ints, ..Self::of(name, Self::INTS) }
    }

    pub(super) fn strings(name: &str, strings: &[&str]) -> Self {
        let strings = strings.iter().map(|text| text.as_bytes().to_vec()).collect();
        Self { strings, ..Self::of(name, Self::STRINGS) }
    }
}

/// `TensorProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Tensor {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub(super) data_type: i32,
    #[prost(float, repeated, tag = "4")]
    float_data: Vec<f32>,
    #[prost(bytes = "vec", repeated, tag = "6")]
    string_data: Vec<Vec<u8>>,
    #[prost(int64, repeated, tag = "7")]
    int64_data: Vec<i64>,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(double, repeated, tag = "10")]
    double_data: Vec<f64>,
}

impl Tensor {
    pub(super) const FLOAT: i32 = 1;
    const INT64: i32 = 7;
    const STRING: i32 = 8;
    #[cfg(test)]
    const DOUBLE: i32 = 11;

    fn of(name: &str, data_type: i32, len: usize) -> Self {
        let dims = vec![i64::try_from(len).unwrap_or(i64::MAX)];
        Self { dims, data_type, name: name.to_owned(), ..Self::default() }
    }

    pub(super) fn ints(name: &str, numbers: Vec<i64>) -> Self {
        let len = numbers.len();
        Self { int64_data: numbers, ..Self::of(name, Self::INT64, len) }
    }

    /// A tensor whose shape does not fit what it holds.
    #[cfg(test)]
    pub(super) fn claiming(name: &str, dims: &[i64], numbers: &[i64]) -> Self {
        Self { dims: dims.to_vec(), ..Self::ints(name, numbers.to_vec()) }
    }

    /// As other programs write them.
    #[cfg(test)]
    pub(super) fn doubles(name: &str, double_data: Vec<f64>) -> Self {
        let len = double_data.len();
        Self { double_data, ..Self::of(name, Self::DOUBLE, len) }
    }

    pub(super) fn floats(name: &str, float_data: Vec<f32>) -> Self {
        let len = float_data.len();
        Self { float_data, ..Self::of(name, Self::FLOAT, len) }
    }

    pub(super) fn strings(name: &str, texts: Vec<String>) -> Self {
        let len = texts.len();
        Self { string_data: texts.into_iter().map(String::into_bytes).collect(), ..Self::of(name, Self::STRING, len) }
    }
}

/// `ValueInfoProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ValueInfo {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value_type: Option<TypeMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeMessage {
    #[prost(message, optional, tag = "1")]
    tensor_type: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorType {
    #[prost(int32, tag = "1")]
    elem_type: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
}

#[derive(Clone, PartialEq, Message)]
struct Shape {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
struct Dimension {
    #[prost(int64, optional, tag = "1")]
    dim_value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    dim_param: Option<String>,
}

impl ValueInfo {
    /// A tensor; a dimension of `None` is the number of rows.
    pub(super) fn new(name: &str, elem_type: i32, dims: &[Option<i64>]) -> Self {
        let dimension =
            |dim: &Option<i64>| Dimension { dim_value: *dim, dim_param: dim.is_none().then(|| "N".to_owned()) };
        let shape = Shape { dim: dims.iter().map(dimension).collect() };
        let tensor = TensorType { elem_type, shape: Some(shape) };
        Self { name: name.to_owned(), value_type: Some(TypeMessage { tensor_type: Some(tensor) }) }
    }
}
