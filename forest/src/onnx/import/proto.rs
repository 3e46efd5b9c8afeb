//! The parts of `onnx.proto` that an import looks at, borrowed from the file's bytes.

use super::error::{ImportError, Limits, malformed};
use super::wire::{Field, Fields, push};

/// `ModelProto`.
#[derive(Debug, Default)]
pub(super) struct ModelView<'a> {
    pub(super) producer: String,
    pub(super) graph: GraphView<'a>,
    /// `opset_import`: domain and version.
    opsets: Vec<(&'a str, i64)>,
    /// `metadata_props`.
    pub(super) metadata: Vec<(&'a str, &'a str)>,
}

/// `GraphProto`.
#[derive(Debug, Default)]
pub(super) struct GraphView<'a> {
    pub(super) nodes: Vec<NodeView<'a>>,
    pub(super) initializers: Vec<(&'a str, Tensor<'a>)>,
    pub(super) inputs: Vec<InputView<'a>>,
    pub(super) outputs: Vec<&'a str>,
}

/// An input: a tensor of a shape whose dimensions may be unknown.
#[derive(Debug)]
pub(super) struct InputView<'a> {
    pub(super) name: &'a str,
    /// `TensorProto.DataType`, 0 if it is no tensor.
    pub(super) elem_type: i64,
    pub(super) dims: Vec<Option<i64>>,
}

/// `NodeProto`.
#[derive(Debug, Default)]
pub(super) struct NodeView<'a> {
    pub(super) op: &'a str,
    pub(super) domain: &'a str,
    pub(super) inputs: Vec<&'a str>,
    pub(super) outputs: Vec<&'a str>,
    pub(super) attributes: Vec<Attribute<'a>>,
}

/// `AttributeProto`, its content still as bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attribute<'a> {
    pub(super) name: &'a str,
    kind: i64,
    body: &'a [u8],
}

/// `TensorProto`, its content still as bytes.
#[derive(Debug, Clone)]
pub(super) struct Tensor<'a> {
    pub(super) dims: Vec<i64>,
    data_type: i64,
    body: &'a [u8],
}

/// The elements of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Elements {
    Numbers(Vec<f64>),
    Ints(Vec<i64>),
    Texts(Vec<String>),
}

/// Dimensions of a tensor, at most.
const DIMS_MAX: usize = 8;
/// Attributes of an operator, at most; the ensembles have about twenty.
const ATTRIBUTES_MAX: usize = 64;
/// Sets of operators of a model, at most.
const OPSETS_MAX: usize = 100;
/// The last version of `ai.onnx.ml` whose operators are known.
const OPSET_ML_MAX: i64 = 5;
/// Properties of a model, at most.
const METADATA_MAX: usize = 1000;

impl<'a> ModelView<'a> {
    pub(super) fn read(bytes: &'a [u8], limits: &Limits) -> Result<Self, ImportError> {
        let mut model = Self::default();
        let (mut name, mut version, mut graph) = ("", "", None);
        for field in Fields(bytes) {
            let field = field?;
            match field.tag {
                2 => name = field.text()?,
                3 => version = field.text()?,
                7 => graph = Some(GraphView::read(field.bytes()?, limits)?),
                8 => push(&mut model.opsets, opset(field.bytes()?)?, OPSETS_MAX)?,
                25 => return Err(ImportError::Operator("model-local function".to_owned())),
                14 => push(&mut model.metadata, property(field.bytes()?)?, METADATA_MAX)?,
                _ => {}
            }
        }
        [name, version].join(" ").trim().clone_into(&mut model.producer);
        match graph {
            Some(graph) => model.graph = graph,
            None => return malformed("it has no graph"),
        }
        model.check_opsets()?;
        Ok(model)
    }

    /// Operators mean what their version says; those of trees are known up to [`OPSET_ML_MAX`].
    fn check_opsets(&self) -> Result<(), ImportError> {
        match self.opsets.iter().find(|(domain, _)| *domain == "ai.onnx.ml").map(|(_, version)| *version) {
            Some(1..=OPSET_ML_MAX) => Ok(()),
            Some(other) => {
                malformed(format_args!("it uses version {other} of `ai.onnx.ml`, known are 1 to {OPSET_ML_MAX}"))
            }
            None => malformed("it does not say which version of `ai.onnx.ml` it uses (`opset_import`)"),
        }
    }
}

/// `OperatorSetIdProto`.
fn opset(bytes: &[u8]) -> Result<(&str, i64), ImportError> {
    let (mut domain, mut version) = ("", 0);
    for field in Fields(bytes) {
        let field = field?;
        match field.tag {
            1 => domain = field.text()?,
            2 => version = field.int()?,
            _ => {}
        }
    }
    Ok((domain, version))
}

/// `StringStringEntryProto`.
fn property(bytes: &[u8]) -> Result<(&str, &str), ImportError> {
    let (mut key, mut value) = ("", "");
    for field in Fields(bytes) {
        let field = field?;
        match field.tag {
            1 => key = field.text()?,
            2 => value = field.text()?,
            _ => {}
        }
    }
    Ok((key, value))
}

impl<'a> GraphView<'a> {
    fn read(bytes: &'a [u8], limits: &Limits) -> Result<Self, ImportError> {
        let mut graph = Self::default();
        let mut n_parts = 0;
        for field in Fields(bytes) {
            let field = field?;
            if matches!(field.tag, 1 | 5 | 11 | 12) {
                n_parts += 1;
                if n_parts > limits.operators_max {
                    return Err(ImportError::TooMany { what: "operators and values", max: limits.operators_max });
                }
            }
            match field.tag {
                1 => graph.nodes.push(NodeView::read(field.bytes()?, limits)?),
                5 => graph.initializers.push(Tensor::read(field.bytes()?)?),
                11 => graph.inputs.push(InputView::read(field.bytes()?)?),
                12 => graph.outputs.push(InputView::read(field.bytes()?)?.name),
                15 => return Err(ImportError::Operator("sparse initializer".to_owned())),
                _ => {}
            }
        }
        Ok(graph)
    }
}

/// The submessage with this tag.
fn inside(bytes: &[u8], tag: u32) -> Result<Option<&[u8]>, ImportError> {
    let mut found = None;
    for field in Fields(bytes) {
        let field = field?;
        if field.tag == tag {
            found = Some(field.bytes()?);
        }
    }
    Ok(found)
}

impl<'a> InputView<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, ImportError> {
        let mut input = Self { name: "", elem_type: 0, dims: Vec::new() };
        for field in Fields(bytes) {
            let field = field?;
            match field.tag {
                1 => input.name = field.text()?,
                2 => {
                    if let Some(tensor) = inside(field.bytes()?, 1)? {
                        input.read_tensor(tensor)?;
                    }
                }
                _ => {}
            }
        }
        Ok(input)
    }

    fn read_tensor(&mut self, bytes: &'a [u8]) -> Result<(), ImportError> {
        for field in Fields(bytes) {
            let field = field?;
            match field.tag {
                1 => self.elem_type = field.int()?,
                2 => {
                    for dim in Fields(field.bytes()?) {
                        let dim = dim?;
                        if dim.tag == 1 {
                            let value = Fields(dim.bytes()?).find_map(|part| match part {
                                Ok(part) if part.tag == 1 => Some(part.int()),
                                Ok(_) => None,
                                Err(error) => Some(Err(error)),
                            });
                            push(&mut self.dims, value.transpose()?, DIMS_MAX)?;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl<'a> NodeView<'a> {
    fn read(bytes: &'a [u8], limits: &Limits) -> Result<Self, ImportError> {
        let mut node = Self::default();
        for field in Fields(bytes) {
            let field = field?;
            match field.tag {
                1 => push(&mut node.inputs, field.text()?, limits.operators_max)?,
                2 => push(&mut node.outputs, field.text()?, limits.operators_max)?,
                4 => node.op = field.text()?,
                5 => {
                    let attribute = Attribute::read(field.bytes()?)?;
                    if node.attributes.iter().any(|other| other.name == attribute.name) {
                        return malformed(format_args!("an operator has two attributes `{}`", attribute.name));
                    }
                    push(&mut node.attributes, attribute, ATTRIBUTES_MAX)?;
                }
                7 => node.domain = field.text()?,
                _ => {}
            }
        }
        Ok(node)
    }

    /// An error about an attribute.
    pub(super) fn wrong<T>(&self, attribute: &str, reason: impl std::fmt::Display) -> Result<T, ImportError> {
        Err(ImportError::Attribute {
            operator: self.op.to_owned(),
            attribute: attribute.to_owned(),
            reason: reason.to_string(),
        })
    }

    /// The attribute of this name, which must be of this `AttributeProto.AttributeType`.
    fn find(&self, name: &str, kind: i64, described: &str) -> Result<Option<&Attribute<'a>>, ImportError> {
        match self.attributes.iter().find(|attribute| attribute.name == name) {
            Some(attribute) if attribute.kind != kind => self.wrong(name, format_args!("must be {described}")),
            found => Ok(found),
        }
    }

    pub(super) fn int(&self, name: &str) -> Result<Option<i64>, ImportError> {
        let Some(attribute) = self.find(name, Attribute::INT, "a whole number")? else { return Ok(None) };
        attribute.fields(3).next().transpose()?.map_or(Ok(Some(0)), |field| field.int().map(Some))
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, ImportError> {
        let Some(attribute) = self.find(name, Attribute::STRING, "a string")? else { return Ok(None) };
        attribute.fields(4).next().transpose()?.map_or(Ok(Some("")), |field| field.text().map(Some))
    }

    /// An attribute that lists whole numbers; empty if there is none.
    pub(super) fn ints(&self, name: &str, max: usize) -> Result<Vec<i64>, ImportError> {
        let mut numbers = Vec::new();
        if let Some(attribute) = self.find(name, Attribute::INTS, "a list of whole numbers")? {
            attribute.fields(8).try_for_each(|field| field?.ints(&mut numbers, max))?;
        }
        Ok(numbers)
    }

    /// An attribute that lists float32 numbers, or a tensor attribute `<name>_as_tensor`; empty if there is neither.
    pub(super) fn numbers(&self, name: &str, max: usize) -> Result<Vec<f64>, ImportError> {
        let as_tensor = format!("{name}_as_tensor");
        let mut numbers = Vec::new();
        if let Some(attribute) = self.find(name, Attribute::FLOATS, "a list of float32 numbers")? {
            attribute.fields(7).try_for_each(|field| field?.floats(&mut numbers, max))?;
        }
        match self.tensor(&as_tensor)? {
            None => Ok(numbers),
            Some(_) if !numbers.is_empty() => self.wrong(&as_tensor, format_args!("is there together with `{name}`")),
            Some(tensor) => match tensor.elements(max)? {
                Elements::Numbers(numbers) => Ok(numbers),
                _ => self.wrong(&as_tensor, "must be a tensor of float32 or float64"),
            },
        }
    }

    /// An attribute that lists strings; empty if there is none.
    pub(super) fn texts(&self, name: &str, max: usize) -> Result<Vec<&'a str>, ImportError> {
        let mut texts = Vec::new();
        if let Some(attribute) = self.find(name, Attribute::STRINGS, "a list of strings")? {
            attribute.fields(9).try_for_each(|field| push(&mut texts, field?.text()?, max))?;
        }
        Ok(texts)
    }

    pub(super) fn tensor(&self, name: &str) -> Result<Option<Tensor<'a>>, ImportError> {
        let Some(attribute) = self.find(name, Attribute::TENSOR, "a tensor")? else { return Ok(None) };
        match attribute.fields(5).next().transpose()? {
            Some(field) => Ok(Some(Tensor::read(field.bytes()?)?.1)),
            None => self.wrong(name, "is empty"),
        }
    }
}

impl<'a> Attribute<'a> {
    const INT: i64 = 2;
    const STRING: i64 = 3;
    const TENSOR: i64 = 4;
    const FLOATS: i64 = 6;
    const INTS: i64 = 7;
    const STRINGS: i64 = 8;

    fn read(body: &'a [u8]) -> Result<Self, ImportError> {
        let mut attribute = Self { name: "", kind: 0, body };
        for field in Fields(body) {
            let field = field?;
            match field.tag {
                1 => attribute.name = field.text()?,
                20 => attribute.kind = field.int()?,
                _ => {}
            }
        }
        Ok(attribute)
    }

    /// The fields with this tag.
    fn fields(&self, tag: u32) -> impl Iterator<Item = Result<Field<'a>, ImportError>> + use<'a> {
        Fields(self.body).filter(move |field| field.as_ref().map_or(true, |field| field.tag == tag))
    }
}

impl<'a> Tensor<'a> {
    pub(super) const FLOAT: i64 = 1;
    const UINT8: i64 = 2;
    pub(super) const INT32: i64 = 6;
    pub(super) const INT64: i64 = 7;
    pub(super) const STRING: i64 = 8;
    pub(super) const DOUBLE: i64 = 11;

    /// The name and the tensor.
    fn read(body: &'a [u8]) -> Result<(&'a str, Self), ImportError> {
        let mut tensor = Self { dims: Vec::new(), data_type: 0, body };
        let mut name = "";
        for field in Fields(body) {
            let field = field?;
            match field.tag {
                1 => field.ints(&mut tensor.dims, DIMS_MAX)?,
                2 => tensor.data_type = field.int()?,
                8 => name = field.text()?,
                14 if field.int()? == 1 => return malformed("a tensor's data lie in another file"),
                _ => {}
            }
        }
        Ok((name, tensor))
    }

    /// All elements; their number fits the dimensions.
    pub(super) fn elements(&self, max: usize) -> Result<Elements, ImportError> {
        let mut elements = match self.data_type {
            Self::FLOAT | Self::DOUBLE => Elements::Numbers(Vec::new()),
            Self::UINT8 | Self::INT32 | Self::INT64 => Elements::Ints(Vec::new()),
            Self::STRING => Elements::Texts(Vec::new()),
            other => return malformed(format_args!("a tensor has element type {other}, which trees have no use for")),
        };
        for field in Fields(self.body) {
            let field = field?;
            match (field.tag, &mut elements) {
                (4, Elements::Numbers(numbers)) => field.floats(numbers, max)?,
                (10, Elements::Numbers(numbers)) => field.doubles(numbers, max)?,
                (5 | 7, Elements::Ints(numbers)) => field.ints(numbers, max)?,
                (6, Elements::Texts(texts)) => push(texts, field.text()?.to_owned(), max)?,
                (9, elements) => self.raw(field, elements, max)?,
                _ => {}
            }
        }
        let len = elements.len();
        let claimed =
            self.dims.iter().try_fold(1_usize, |product, dim| product.checked_mul(usize::try_from(*dim).ok()?));
        if claimed != Some(len) {
            return malformed(format_args!("a tensor of shape {:?} has {len} elements", self.dims));
        }
        Ok(elements)
    }

    /// Appends `raw_data`, which is little-endian.
    fn raw(&self, field: Field<'a>, elements: &mut Elements, max: usize) -> Result<(), ImportError> {
        let bytes = field.bytes()?;
        match (self.data_type, elements) {
            (Self::FLOAT, Elements::Numbers(numbers)) => field.floats(numbers, max),
            (Self::DOUBLE, Elements::Numbers(numbers)) => field.doubles(numbers, max),
            (Self::UINT8, Elements::Ints(numbers)) => {
                bytes.iter().try_for_each(|byte| push(numbers, i64::from(*byte), max))
            }
            (Self::INT32, Elements::Ints(numbers)) => match bytes.as_chunks::<4>() {
                (words, []) => {
                    words.iter().try_for_each(|word| push(numbers, i64::from(i32::from_le_bytes(*word)), max))
                }
                _ => malformed("a tensor's data are cut"),
            },
            (Self::INT64, Elements::Ints(numbers)) => match bytes.as_chunks::<8>() {
                (words, []) => words.iter().try_for_each(|word| push(numbers, i64::from_le_bytes(*word), max)),
                _ => malformed("a tensor's data are cut"),
            },
            _ => malformed("a tensor of strings has raw data"),
        }
    }
}
