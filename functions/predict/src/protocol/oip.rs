//! The Open Inference Protocol, version 2, over REST, with the binary tensor data extension.
//!
//! Source: KServe's `open_inference_rest.yaml` and Triton's `extension_binary_data`. Inputs are one tensor
//! `[n_rows, n_features]`, or one tensor per column `[n_rows]` or `[n_rows, 1]` under the column's name; `BYTES` for the
//! texts of a column of categories. Outputs are
//! `predict` (labels, or values of a regressor) and, of a classifier, `predict_proba` `[n_rows, n_classes]`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use regrove_forest::Label;
use regrove_host::{Payload, Problem};
use serde_json::{Value, json};

use super::tensor::{Data, Elements, Tensor};
use super::{reference, write};
use crate::Service;
use crate::answer::Answer;
use crate::frame;
use crate::json::{Kind, Read, Scanner};
use crate::models::{Choice, Served};
use crate::refusal::Fault;
use crate::rows::{ROWS_MAX, Reader, Rows, not, too_many_rows};
use crate::signature::Signature;

/// Bytes of the JSON part, where bytes of tensors follow it.
pub(crate) const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");
/// Most inputs of a request.
const INPUTS_MAX: usize = 100_000;

/// Errors of this protocol are `{"error": "…"}` with any other members.
fn speak(problem: Problem) -> Problem {
    let error = problem.detail.clone();
    let problem = if problem.status == StatusCode::UNPROCESSABLE_ENTITY {
        problem.status(StatusCode::BAD_REQUEST)
    } else {
        problem
    };
    problem.with("error", error)
}

/// `GET /v2`.
#[utoipa::path(get, path = "/v2", tag = "Open Inference Protocol", summary = "About this server",
    responses((status = 200, body = Object)))]
pub(crate) async fn server() -> Json<Value> {
    Json(json!({"name": "regrove-predict", "version": env!("CARGO_PKG_VERSION"), "extensions": ["binary_tensor_data"]}))
}

/// `GET /v2/health/live`.
#[utoipa::path(get, path = "/v2/health/live", tag = "Open Inference Protocol", summary = "Whether the server runs",
    responses((status = 200, body = Object)))]
pub(crate) async fn live() -> Json<Value> {
    Json(json!({"live": true}))
}

/// `GET /v2/health/ready`: whether the default model can answer.
#[utoipa::path(get, path = "/v2/health/ready", tag = "Open Inference Protocol", summary = "Whether the default model can answer",
    responses((status = 200, body = Object), (status = 503, response = crate::openapi::Refused)))]
pub(crate) async fn ready(State(service): State<Arc<Service>>) -> Result<Json<Value>, Problem> {
    service.answering.models.get(&service.model_name, None).await.map_err(speak)?;
    Ok(Json(json!({"ready": true})))
}

/// `POST /v2/repository/index`: the models that this replica answers.
#[utoipa::path(post, path = "/v2/repository/index", tag = "Open Inference Protocol", summary = "The models that were asked for",
    responses((status = 200, body = Object)))]
pub(crate) async fn index(State(service): State<Arc<Service>>) -> Json<Value> {
    let mut models = Vec::new();
    for name in service.answering.models.names() {
        if let Ok(versions) = service.answering.models.versions(&name).await {
            models.extend(
                versions
                    .iter()
                    .map(|version| json!({"name": name, "version": version, "state": "READY", "reason": ""})),
            );
        }
    }
    Json(models.into())
}

async fn find(service: &Service, name: &str, version: Option<&str>, headers: &HeaderMap) -> Result<Choice, Problem> {
    match version {
        None => service.answering.models.get(name, Service::session(headers)).await,
        Some(version) => service.answering.models.version(name, version).await.map(Choice::from),
    }
}

/// `GET /v2/models/{name}`.
#[utoipa::path(get, path = "/v2/models/{name}", tag = "Open Inference Protocol", summary = "A model's inputs and outputs",
    params(("name" = String, Path, description = "Registered model name")),
    responses((status = 200, body = Object), (status = 503, response = crate::openapi::Refused)))]
pub(crate) async fn metadata(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    about(&service, &name, None).await.map_err(speak)
}

/// `GET /v2/models/{name}/versions/{version}`.
#[utoipa::path(get, path = "/v2/models/{name}/versions/{version}", tag = "Open Inference Protocol", summary = "A version's inputs and outputs",
    params(("name" = String, Path), ("version" = String, Path)),
    responses((status = 200, body = Object), (status = 404, response = crate::openapi::Refused)))]
pub(crate) async fn version_metadata(
    State(service): State<Arc<Service>>,
    Path((name, version)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    about(&service, &name, Some(&version)).await.map_err(speak)
}

async fn about(service: &Service, name: &str, version: Option<&str>) -> Result<Json<Value>, Problem> {
    let served = find(service, name, version, &HeaderMap::new()).await?.served;
    let versions = service.answering.models.versions(name).await?;
    Ok(Json(describe(&served, &versions)))
}

/// `GET /v2/models/{name}/ready`.
#[utoipa::path(get, path = "/v2/models/{name}/ready", tag = "Open Inference Protocol", summary = "Whether a model can answer",
    params(("name" = String, Path)),
    responses((status = 200, body = Object), (status = 503, response = crate::openapi::Refused)))]
pub(crate) async fn model_ready(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    find(&service, &name, None, &HeaderMap::new()).await.map_err(speak)?;
    Ok(Json(json!({"name": name, "ready": true})))
}

/// `GET /v2/models/{name}/versions/{version}/ready`.
#[utoipa::path(get, path = "/v2/models/{name}/versions/{version}/ready", tag = "Open Inference Protocol", summary = "Whether a version can answer",
    params(("name" = String, Path), ("version" = String, Path)),
    responses((status = 200, body = Object), (status = 404, response = crate::openapi::Refused)))]
pub(crate) async fn version_ready(
    State(service): State<Arc<Service>>,
    Path((name, version)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    find(&service, &name, Some(&version), &HeaderMap::new()).await.map_err(speak)?;
    Ok(Json(json!({"name": name, "ready": true})))
}

/// `POST /v2/models/{name}/infer`.
#[utoipa::path(post, path = "/v2/models/{name}/infer", tag = "Open Inference Protocol", summary = "Infer",
    params(("name" = String, Path, description = "Registered model name")),
    request_body(content = crate::openapi::InferenceRequest, content_type = "application/json"),
    responses((status = 200, body = Object), (status = 400, response = crate::openapi::Refused), (status = 503, response = crate::openapi::Refused)))]
pub(crate) async fn infer(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Result<Response, Problem> {
    answer(&service, &name, None, &headers, &body).await.map_err(speak)
}

/// `POST /v2/models/{name}/versions/{version}/infer`.
#[utoipa::path(post, path = "/v2/models/{name}/versions/{version}/infer", tag = "Open Inference Protocol", summary = "Infer with a version",
    params(("name" = String, Path), ("version" = String, Path, description = "Any version that was ever loaded under the name")),
    request_body(content = crate::openapi::InferenceRequest, content_type = "application/json"),
    responses((status = 200, body = Object), (status = 400, response = crate::openapi::Refused), (status = 404, response = crate::openapi::Refused)))]
pub(crate) async fn infer_version(
    State(service): State<Arc<Service>>,
    Path((name, version)): Path<(String, String)>,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Result<Response, Problem> {
    answer(&service, &name, Some(&version), &headers, &body).await.map_err(speak)
}

async fn answer(
    service: &Service,
    name: &str,
    version: Option<&str>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, Problem> {
    let (text, binary) = split(headers, body)?;
    let choice = find(service, name, version, headers).await?;
    let (request, rows) = read(frame::text(text)?, binary, &choice.served.signature)?;
    let wanted = request.wanted(choice.served.model.n_classes() > 0)?;
    Ok(reply(&service.answering.answer(choice, rows).await?, &request, &wanted))
}

/// The JSON part of a body, and the bytes behind it.
fn split<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), Problem> {
    let Some(length) = headers.get(HEADER_LENGTH) else {
        // Clients of this protocol may leave the content type out.
        let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("application/json");
        if reference::is_json(given) {
            return Ok((body, &[]));
        }
        let detail =
            format!("Content-Type is `{given}`, expected application/json, or {HEADER_LENGTH} with binary data");
        return Err(Problem::new("unsupported-media-type", StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    };
    let length = length.to_str().ok().and_then(|text| text.trim().parse::<usize>().ok());
    length.and_then(|length| body.split_at_checked(length)).ok_or_else(|| {
        let detail = format!("{HEADER_LENGTH} is not a number of bytes within the body, which has {}", body.len());
        Fault::value("wrong-tensor", String::new(), detail, "the length of the JSON part").into()
    })
}

/// What a request says beside its rows.
#[derive(Debug, Default)]
pub(crate) struct Request {
    id: Option<String>,
    /// Outputs as bytes unless they say otherwise.
    binary: bool,
    /// Names of the outputs asked for, with their place in the body and whether as bytes.
    outputs: Vec<(String, String, Option<bool>)>,
}

/// An output that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    Predict,
    PredictProba,
}

impl Request {
    /// The outputs to write, each with whether as bytes; all of them if none is named.
    fn wanted(&self, classifier: bool) -> Result<Vec<(Output, bool)>, Problem> {
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

pub(crate) fn read(text: &str, binary: &[u8], signature: &Signature) -> Result<(Request, Rows), Problem> {
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
    rows(tensors, signature).map(|rows| (request, rows))
}

fn string(scanner: &mut Scanner<'_>, pointer: &str) -> Read<String> {
    match not(scanner, Kind::String, pointer, "a string")? {
        Some(fault) => Err(fault.into()),
        None => Ok(scanner.string()?.into_owned()),
    }
}

/// A boolean member of the object that comes next; the others are ignored.
fn flag(scanner: &mut Scanner<'_>, pointer: &str, wanted: &str) -> Read<Option<bool>> {
    let mut flag = None;
    if let Some(fault) = not(scanner, Kind::Object, pointer, "an object")? {
        return Err(fault.into());
    }
    scanner.object(|scanner, name| {
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
    if let Some(fault) = not(scanner, Kind::Number, pointer, "a whole number, 0 or more")? {
        return Err(fault.into());
    }
    let value = scanner.number()?;
    if value < 0.0 || value.fract() != 0.0 || value > 2_f64.powi(53) {
        return Err(Fault::shape(pointer.to_owned(), "a whole number, 0 or more", &value.to_string()).into());
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
        if name == "binary_data_size" {
            found = Some(size(scanner, &format!("{pointer}/{name}"))?);
            return Ok(());
        }
        scanner.skip()
    })?;
    Ok(found)
}

/// One tensor with all columns, or one per column.
fn rows(mut tensors: Vec<Tensor<'_>>, signature: &Signature) -> Result<Rows, Problem> {
    let n_features = signature.len();
    let mut reader = Reader::new(signature);
    let whole = tensors.len() == 1
        && tensors.first().is_some_and(|tensor| {
            tensor.shape.len() == 2 && (n_features > 1 || tensor.shape.get(1) == Some(&n_features))
        });
    if whole && let Some(tensor) = tensors.pop() {
        let pointer = tensor.pointer.clone();
        let count = count(&tensor, &[tensor.shape.first().copied().unwrap_or_default(), n_features])?;
        reader.numbers(tensor.numbers(count)?, &format!("{pointer}/data"))?;
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
        let place = format!("{pointer}/data");
        match tensor.elements {
            Elements::Numbers(_) => reader.number_column(tensor.numbers(count)?, &place, position, first)?,
            Elements::Texts => reader.text_column(tensor.texts(count)?, &place, position, first)?,
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

fn describe(served: &Served, versions: &[String]) -> Value {
    let (k, n_features) = (served.model.n_classes(), served.model.n_features());
    let mut outputs = vec![json!({"name": "predict", "datatype": label_type(served), "shape": [-1]})];
    if k > 0 {
        outputs.push(json!({"name": "predict_proba", "datatype": "FP64", "shape": [-1, k]}));
    }
    json!({
        "name": served.name,
        "versions": versions,
        "platform": "regrove_forest",
        "inputs": [{
            "name": "input-0",
            "datatype": "FP32",
            "shape": [-1, n_features],
            "parameters": {"columns": served.signature.names(), "categories": served.model.categories()},
        }],
        "outputs": outputs,
    })
}

/// The datatype of `predict`: that of the labels, texts if they are of several.
fn label_type(served: &Served) -> &'static str {
    let classes = served.model.classes();
    match classes.first() {
        None => "FP64",
        Some(Label::Bool(_)) if classes.iter().all(|label| matches!(label, Label::Bool(_))) => "BOOL",
        Some(Label::Int(_)) if classes.iter().all(|label| matches!(label, Label::Int(_))) => "INT64",
        Some(Label::Float(_)) if classes.iter().all(|label| matches!(label, Label::Float(_))) => "FP64",
        Some(_) => "BYTES",
    }
}

fn reply(answer: &Answer, request: &Request, wanted: &[(Output, bool)]) -> Response {
    let served = &answer.served;
    let mut tail: Vec<u8> = Vec::new();
    let mut json = write::Json::with_capacity(256 + answer.outputs.len() * 22);
    json.raw("{\"model_name\":").value(&served.name).raw(",\"model_version\":").value(&served.version.version);
    if let Some(id) = &request.id {
        json.raw(",\"id\":").value(id);
    }
    json.raw(",\"outputs\":").list(wanted, |json, (output, binary)| {
        let (name, datatype) = match output {
            Output::Predict => ("predict", label_type(served)),
            Output::PredictProba => ("predict_proba", "FP64"),
        };
        json.raw("{\"name\":\"").raw(name).raw("\",\"datatype\":\"").raw(datatype).raw("\",\"shape\":[");
        json.number(answer.n_rows);
        if *output == Output::PredictProba {
            json.raw(",").number(served.model.n_classes());
        }
        json.raw("],");
        if *binary {
            let before = tail.len();
            encode(answer, *output, &mut tail);
            json.raw("\"parameters\":{\"binary_data_size\":").number(tail.len() - before).raw("}}");
            return json;
        }
        json.raw("\"data\":");
        if *output == Output::Predict && answer.is_classifier() {
            // A tensor has one type: beside texts, everything is a text.
            let texts = datatype == "BYTES";
            json.list(
                answer.labels(),
                |json, label| if texts { json.value(&label.to_string()) } else { json.label(label) },
            );
        } else {
            json.list(&answer.outputs, |json, value| json.value(value));
        }
        json.raw("}")
    });
    json.raw("}");
    if !wanted.iter().any(|(_, binary)| *binary) {
        return json.respond();
    }
    let mut body = json.bytes();
    let length = HeaderValue::from(body.len());
    body.extend_from_slice(&tail);
    let mut response = body.into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    response.headers_mut().insert(HEADER_LENGTH, length);
    response
}

/// An output as bytes: little-endian numbers; a text as its length in 4 bytes, then its bytes.
fn encode(answer: &Answer, output: Output, tail: &mut Vec<u8>) {
    if output == Output::PredictProba || !answer.is_classifier() {
        tail.extend(answer.outputs.iter().flat_map(|value| value.to_le_bytes()));
        return;
    }
    let texts = label_type(&answer.served) == "BYTES";
    for label in answer.labels() {
        match label {
            Label::Bool(truth) if !texts => tail.push(u8::from(*truth)),
            Label::Int(number) if !texts => tail.extend(number.to_le_bytes()),
            Label::Float(number) if !texts => tail.extend(number.to_le_bytes()),
            label => {
                let text = label.to_string();
                tail.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
                tail.extend(text.as_bytes());
            }
        }
    }
}
