//! A request: its tensors as rows of a model, and the outputs that it wants.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use regrove_host::Problem;

use super::HEADER_LENGTH;
use crate::json::{Kind, Read, Scanner};
use crate::protocol::reference;
use crate::protocol::tensor::{Data, Elements, Tensor};
use crate::refusal::Fault;
use crate::rows::{ROWS_MAX, Reader, Rows, not, too_many_rows};
use crate::signature::Signature;

/// Most inputs of a request.
const INPUTS_MAX: usize = 100_000;
/// Largest size: JSON's numbers are float64, which holds every whole number up to here and not the next.
const SIZE_MAX: u64 = 1 << 53;

/// How many bytes of a body are JSON; tensors as bytes follow them.
pub(super) fn json_bytes(headers: &HeaderMap, body: &[u8]) -> Result<usize, Problem> {
    let Some(length) = headers.get(HEADER_LENGTH) else {
        // Clients of this protocol may leave the content type out.
        let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("application/json");
        if reference::is_json(given) {
            return Ok(body.len());
        }
        let detail =
            format!("Content-Type is `{given}`, expected application/json, or {HEADER_LENGTH} with binary data");
        let refused = Problem::new("unsupported-media-type", StatusCode::UNSUPPORTED_MEDIA_TYPE, detail);
        return Err(refused.header(&CONTENT_TYPE));
    };
    let length = length.to_str().ok().and_then(|text| text.trim().parse::<usize>().ok());
    length.filter(|length| *length <= body.len()).ok_or_else(|| {
        let detail = format!("{HEADER_LENGTH} is not a number of bytes within the body, which has {}", body.len());
        Problem::from(Fault::value("wrong-tensor", String::new(), detail, "the length of the JSON part"))
            .header(&HEADER_LENGTH)
    })
}

/// What a request says beside its rows.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub(super) id: Option<String>,
    /// Outputs as bytes unless they say otherwise.
    binary: bool,
    /// Names of the outputs asked for, with their place in the body and whether as bytes.
    outputs: Vec<(String, String, Option<bool>)>,
}

/// An output that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    Predict,
    PredictProba,
}

impl Request {
    /// The outputs to write, each with whether as bytes; all of them if none is named.
    pub(super) fn wanted(&self, classifier: bool) -> Result<Vec<(Output, bool)>, Problem> {
        let all: &[(&str, Output)] = if classifier {
            &[("predict", Output::Predict), ("predict_proba", Output::PredictProba)]
        } else {
            &[("predict", Output::Predict)]
        };
        if self.outputs.is_empty() {
            return Ok(all.iter().map(|(_, output)| (*output, self.binary)).collect());
        }
        let find = |(name, pointer, binary): &(String, String, Option<bool>)| {
            let known = all.iter().find(|(known, _)| known == name);
            known.map(|(_, output)| (*output, binary.unwrap_or(self.binary))).ok_or_else(|| {
                let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
                let detail = format!("the model has no output `{name}`");
                Fault::value("wrong-tensor", pointer.clone(), detail, names.join(" or ")).into()
            })
        };
        self.outputs.iter().map(find).collect()
    }
}

/// A request that is a tensor alone, without JSON: float32 of all columns, row by row. It is answered in bytes, as Triton's "raw
/// binary request" is.
fn raw(bytes: &[u8], signature: &Signature) -> Result<(Request, Rows), Problem> {
    let width = signature.len() * size_of::<f32>();
    if !bytes.len().is_multiple_of(width) {
        let detail =
            format!("the tensor has {} bytes, rows of {} float32 have {width} each", bytes.len(), signature.len());
        return Err(Fault::value("wrong-tensor", String::new(), detail, format!("a multiple of {width} bytes")).into());
    }
    let mut reader = Reader::new(signature, bytes.len());
    let (numbers, _) = bytes.as_chunks::<4>();
    let numbers = numbers.iter().map(|number| Some(f64::from(f32::from_le_bytes(*number))));
    reader.numbers(numbers, "", |_| String::new())?;
    Ok((Request { binary: true, ..Request::default() }, reader.finish("")?))
}

/// Reads a request: JSON, and the bytes of tensors behind it, or a tensor alone.
///
/// # Errors
/// What is wrong with it, and where.
pub(crate) fn read(text: &str, binary: &[u8], signature: &Signature) -> Result<(Request, Rows), Problem> {
    if text.is_empty() && !binary.is_empty() {
        return raw(binary, signature);
    }
    let mut scanner = Scanner::new(text);
    let mut request = Request::default();
    let mut tensors = Vec::new();
    let mut found = false;
    let mut rest = binary;
    if let Some(fault) = not(&mut scanner, Kind::Object, "", "an object with `inputs`")? {
        return Err(fault.into());
    }
    scanner.object(|scanner, name| {
        match name {
            // Clients that write all members of a type leave out with null what is optional.
            "id" | "parameters" | "outputs" if scanner.kind()? == Kind::Null => scanner.null()?,
            "id" => request.id = Some(string(scanner, "/id")?),
            "parameters" => request.binary = flag(scanner, "/parameters", "binary_data_output")?.unwrap_or(false),
            "outputs" => outputs(scanner, &mut request)?,
            "inputs" => {
                found = true;
                if let Some(fault) = not(scanner, Kind::Array, "/inputs", "a list of tensors")? {
                    return Err(fault.into());
                }
                scanner.array(|scanner, at| {
                    if at == INPUTS_MAX {
                        let detail = format!("there are more than {INPUTS_MAX} inputs");
                        return Err(Fault::value("wrong-tensor", "/inputs".to_owned(), detail, "fewer inputs").into());
                    }
                    tensors.push(tensor(scanner, &format!("/inputs/{at}"), &mut rest)?);
                    Ok(())
                })?;
            }
            _ => scanner.skip()?,
        }
        Ok(())
    })?;
    scanner.end()?;
    if !found {
        return Err(Fault::missing("", "inputs", "a list of tensors").into());
    }
    if !rest.is_empty() {
        let detail = format!("{} bytes follow the last tensor", rest.len());
        return Err(Fault::value("wrong-tensor", "/inputs".to_owned(), detail, "as many bytes as the sizes say").into());
    }
    rows(tensors, signature, text.len() + binary.len()).map(|rows| (request, rows))
}

fn string(scanner: &mut Scanner<'_>, pointer: &str) -> Read<String> {
    match not(scanner, Kind::String, pointer, "a string")? {
        Some(fault) => Err(fault.into()),
        None => Ok(scanner.string()?.into_owned()),
    }
}

/// Parameters of extensions that change what is asked, and that this server has not: Triton's classification and shared memory.
const UNSUPPORTED: [&str; 4] =
    ["classification", "shared_memory_region", "shared_memory_offset", "shared_memory_byte_size"];

/// Refuses a parameter whose extension is not there; the ones that are not known are ignored.
fn check_parameter(pointer: &str, name: &str) -> Read<()> {
    if !UNSUPPORTED.contains(&name) {
        return Ok(());
    }
    let detail = format!("`{pointer}/{name}`: this server has no extension with the parameter `{name}`");
    Err(Fault::value("wrong-tensor", format!("{pointer}/{name}"), detail, "the extension binary_tensor_data only")
        .into())
}

/// A boolean member of the object that comes next; the others are ignored.
fn flag(scanner: &mut Scanner<'_>, pointer: &str, wanted: &str) -> Read<Option<bool>> {
    let mut flag = None;
    if let Some(fault) = not(scanner, Kind::Object, pointer, "an object")? {
        return Err(fault.into());
    }
    scanner.object(|scanner, name| {
        check_parameter(pointer, name)?;
        if name != wanted {
            return scanner.skip();
        }
        if let Some(fault) = not(scanner, Kind::Boolean, &format!("{pointer}/{wanted}"), "a boolean")? {
            return Err(fault.into());
        }
        flag = Some(scanner.boolean()?);
        Ok(())
    })?;
    Ok(flag)
}

fn outputs(scanner: &mut Scanner<'_>, request: &mut Request) -> Read<()> {
    if let Some(fault) = not(scanner, Kind::Array, "/outputs", "a list of outputs")? {
        return Err(fault.into());
    }
    scanner
        .array(|scanner, at| {
            let pointer = format!("/outputs/{at}");
            let (mut name, mut binary) = (None, None);
            if let Some(fault) = not(scanner, Kind::Object, &pointer, "an object with `name`")? {
                return Err(fault.into());
            }
            scanner.object(|scanner, member| {
                match member {
                    "parameters" if scanner.kind()? == Kind::Null => scanner.null()?,
                    "name" => name = Some(string(scanner, &format!("{pointer}/name"))?),
                    "parameters" => binary = flag(scanner, &format!("{pointer}/parameters"), "binary_data")?,
                    _ => scanner.skip()?,
                }
                Ok(())
            })?;
            let name = name.ok_or_else(|| Fault::missing(&pointer, "name", "an output's name"))?;
            // There are two outputs; more names could only repeat them.
            if at < 2 {
                request.outputs.push((name, pointer, binary));
                return Ok(());
            }
            let detail = "there are more outputs than the model has".to_owned();
            Err(Fault::value("wrong-tensor", "/outputs".to_owned(), detail, "at most 2").into())
        })
        .map(drop)
}

fn tensor<'a>(scanner: &mut Scanner<'a>, pointer: &str, rest: &mut &'a [u8]) -> Read<Tensor<'a>> {
    let (mut name, mut shape, mut elements, mut data, mut bytes) = (None, None, None, None, None);
    if let Some(fault) = not(scanner, Kind::Object, pointer, "a tensor")? {
        return Err(fault.into());
    }
    scanner.object(|scanner, member| {
        let place = format!("{pointer}/{member}");
        match member {
            "parameters" if scanner.kind()? == Kind::Null => scanner.null()?,
            "name" => name = Some(string(scanner, &place)?),
            "datatype" => {
                let given = string(scanner, &place)?;
                elements = Some(Elements::parse(&given).ok_or_else(|| {
                    Fault::shape(place, format!("one of {}", Elements::names()), &format!("`{given}`"))
                })?);
            }
            "shape" => shape = Some(sizes(scanner, &place)?),
            "data" => {
                if let Some(fault) = not(scanner, Kind::Array, &place, "a list of numbers")? {
                    return Err(fault.into());
                }
                data = Some(scanner.at(scanner.position()));
                scanner.skip()?;
            }
            "parameters" => bytes = binary_size(scanner, &place)?,
            _ => scanner.skip()?,
        }
        Ok(())
    })?;
    let missing = |member: &str, expected: &str| Fault::missing(pointer, member, expected);
    let data = match (data, bytes) {
        (Some(data), None) => Data::Json(data),
        (None, Some(size)) => {
            let Some((own, behind)) = rest.split_at_checked(size) else {
                let detail = format!("`{pointer}` says binary_data_size {size}, {} bytes are left", rest.len());
                return Err(Fault::value("wrong-tensor", pointer.to_owned(), detail, "the size of the tensor").into());
            };
            *rest = behind;
            Data::Binary(own)
        }
        (Some(_), Some(_)) => {
            let detail = format!("`{pointer}` has both `data` and `binary_data_size`");
            return Err(Fault::value("wrong-tensor", pointer.to_owned(), detail, "one of them").into());
        }
        (None, None) => return Err(missing("data", "a list of numbers").into()),
    };
    Ok(Tensor {
        name: name.ok_or_else(|| missing("name", "a string"))?,
        shape: shape.ok_or_else(|| missing("shape", "a list of whole numbers"))?,
        elements: elements.ok_or_else(|| missing("datatype", "a type's name"))?,
        data,
        pointer: pointer.to_owned(),
    })
}

fn sizes(scanner: &mut Scanner<'_>, pointer: &str) -> Read<Vec<usize>> {
    if let Some(fault) = not(scanner, Kind::Array, pointer, "a list of whole numbers")? {
        return Err(fault.into());
    }
    let mut sizes = Vec::new();
    scanner.array(|scanner, at| {
        sizes.push(size(scanner, &format!("{pointer}/{at}"))?);
        Ok(())
    })?;
    Ok(sizes)
}

/// A whole number that may be a size.
fn size(scanner: &mut Scanner<'_>, pointer: &str) -> Read<usize> {
    let expected = format!("a whole number from 0 to {SIZE_MAX}");
    if let Some(fault) = not(scanner, Kind::Number, pointer, &expected)? {
        return Err(fault.into());
    }
    let value = scanner.number()?;
    #[expect(clippy::cast_precision_loss, reason = "a power of two")]
    let max = SIZE_MAX as f64;
    if value < 0.0 || value.fract() != 0.0 || value > max {
        return Err(Fault::shape(pointer.to_owned(), expected, &value.to_string()).into());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
    Ok(value as usize)
}

fn binary_size(scanner: &mut Scanner<'_>, pointer: &str) -> Read<Option<usize>> {
    let mut found = None;
    if let Some(fault) = not(scanner, Kind::Object, pointer, "an object")? {
        return Err(fault.into());
    }
    scanner.object(|scanner, name| {
        check_parameter(pointer, name)?;
        if name == "binary_data_size" {
            found = Some(size(scanner, &format!("{pointer}/{name}"))?);
            return Ok(());
        }
        scanner.skip()
    })?;
    Ok(found)
}

/// One tensor with all columns, or one per column.
fn rows(mut tensors: Vec<Tensor<'_>>, signature: &Signature, bytes: usize) -> Result<Rows, Problem> {
    let n_features = signature.len();
    let mut reader = Reader::new(signature, bytes);
    let whole = tensors.len() == 1
        && tensors.first().is_some_and(|tensor| {
            tensor.shape.len() == 2 && (n_features > 1 || tensor.shape.get(1) == Some(&n_features))
        });
    if whole && let Some(tensor) = tensors.pop() {
        let pointer = tensor.pointer.clone();
        let count = count(&tensor, &[tensor.shape.first().copied().unwrap_or_default(), n_features])?;
        let (numbers, layout) = tensor.numbers(count)?;
        reader.numbers(numbers, &pointer, |at| layout.place(&pointer, at))?;
        return reader.finish(&pointer);
    }
    let names: Vec<String> = tensors.iter().map(|tensor| tensor.name.clone()).collect();
    let map = signature.map(&names, "/inputs").map_err(|fault| {
        fault.expecting(format!("one tensor of shape [n, {n_features}], or one of shape [n] per column"))
    })?;
    let n_rows = tensors.first().and_then(|tensor| tensor.shape.first().copied()).unwrap_or_default();
    let mut first = true;
    for (tensor, position) in tensors.into_iter().zip(map) {
        let Some(position) = position else { continue };
        let pointer = tensor.pointer.clone();
        let wanted: &[usize] = if tensor.shape.len() == 2 { &[n_rows, 1] } else { &[n_rows] };
        let count = count(&tensor, wanted)?;
        match tensor.elements {
            Elements::Numbers(_) => {
                let (numbers, layout) = tensor.numbers(count)?;
                reader.number_column(numbers, &pointer, |row| layout.place(&pointer, row), position, first)?;
            }
            Elements::Texts => {
                let (texts, layout) = tensor.texts(count)?;
                reader.text_column(texts, &pointer, |row| layout.place(&pointer, row), position, first)?;
            }
        }
        first = false;
    }
    reader.finish("/inputs")
}

/// The number of elements of a tensor whose shape is as wanted.
fn count(tensor: &Tensor<'_>, wanted: &[usize]) -> Result<usize, Problem> {
    let pointer = format!("{}/shape", tensor.pointer);
    if tensor.shape.first().is_some_and(|rows| *rows > ROWS_MAX) {
        return Err(too_many_rows(&pointer));
    }
    if tensor.shape == wanted
        && let Some(count) = tensor.count()
    {
        return Ok(count);
    }
    let detail = format!("`{pointer}` is {:?}, the model expects {wanted:?}", tensor.shape);
    Err(Fault::value("wrong-feature-count", pointer, detail, format!("{wanted:?}")).into())
}
