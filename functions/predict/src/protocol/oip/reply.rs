//! What is answered: what a model is, and what it says, as JSON or as bytes behind it.

use axum::response::{IntoResponse as _, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use regrove_forest::Label;
use serde_json::{Value, json};

use super::HEADER_LENGTH;
use super::request::{Output, Request};
use crate::answer::Answer;
use crate::models::Served;
use crate::protocol::write::Json;

/// A model's metadata.
pub(super) fn describe(served: &Served, versions: &[String]) -> Value {
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

/// The answer in the outputs that are wanted, each with whether as bytes.
pub(super) fn write(answer: &Answer, request: &Request, wanted: &[(Output, bool)]) -> Response {
    let served = &answer.served;
    let mut tail: Vec<u8> = Vec::new();
    let mut json = Json::with_capacity(256 + answer.outputs.len() * 22);
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
