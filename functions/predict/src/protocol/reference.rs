//! The reference stack's protocol: `{"features": [[…], …]}` in, `predictions` and `probabilities` out.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use regrove_host::{Path, Payload, Problem, now};
use serde_json::{Value, json};

use super::write;
use crate::Service;
use crate::answer::Answer;
use crate::bodies;
use crate::log::Trace;
use crate::models::Served;

/// `POST /predict`.
#[utoipa::path(post, path = "/predict", tag = "predict", summary = "Predict with the default model",
    request_body(content = crate::openapi::Features, content_type = "application/json"),
    params(("regrove-session" = Option<String>, Header, description = "Requests with the same value get the same version while a canary runs")),
    responses((status = 200, description = "The prediction of each row", body = crate::openapi::Prediction), (status = 400, response = crate::openapi::Refused), (status = 422, response = crate::openapi::Refused), (status = 503, response = crate::openapi::Refused)))]
pub(crate) async fn predict(
    State(service): State<Arc<Service>>,
    trace: Trace,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Result<Response, Problem> {
    answer(&service, &service.model_name, trace, &headers, body).await
}

/// `POST /models/{name}/predict`.
#[utoipa::path(post, path = "/models/{name}/predict", tag = "predict", summary = "Predict with a model by name",
    request_body(content = crate::openapi::Features, content_type = "application/json"),
    params(("name" = String, Path, description = "Registered model name"), ("regrove-session" = Option<String>, Header, description = "Requests with the same value get the same version while a canary runs")),
    responses((status = 200, description = "The prediction of each row", body = crate::openapi::Prediction), (status = 400, response = crate::openapi::Refused), (status = 404, response = crate::openapi::Refused), (status = 422, response = crate::openapi::Refused), (status = 503, response = crate::openapi::Refused)))]
pub(crate) async fn predict_named(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
    trace: Trace,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Result<Response, Problem> {
    answer(&service, &name, trace, &headers, body).await
}

/// `GET /model/info`.
#[utoipa::path(get, path = "/model/info", tag = "predict", summary = "The default model",
    responses((status = 200, description = "The version that is served", body = crate::openapi::ModelInfo), (status = 503, response = crate::openapi::Refused)))]
pub(crate) async fn info(State(service): State<Arc<Service>>) -> Result<Json<Value>, Problem> {
    Ok(Json(describe(&service.answering.models.get(&service.model_name, None).await?.served)))
}

/// `GET /models/{name}/info`.
#[utoipa::path(get, path = "/models/{name}/info", tag = "predict", summary = "A model by name",
    params(("name" = String, Path, description = "Registered model name")),
    responses((status = 200, description = "The version that is served", body = crate::openapi::ModelInfo), (status = 404, response = crate::openapi::Refused), (status = 503, response = crate::openapi::Refused)))]
pub(crate) async fn info_named(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(describe(&service.answering.models.get(&name, None).await?.served)))
}

async fn answer(
    service: &Service,
    name: &str,
    Trace(caller): Trace,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    check_content_type(headers)?;
    let choice = service.answering.models.get(name, Service::session(headers)).await?;
    let bytes = body.len();
    let read = move |served: &Served| Ok((bodies::features(&body, &served.signature)?, reply));
    service.answering.answer(choice, caller, bytes, read).await
}

/// The reference stack refuses a body without a JSON content type like one that is not JSON.
fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if is_json(given) {
        return Ok(());
    }
    let detail = format!("Content-Type is `{given}`, expected application/json");
    Err(Problem::new("invalid-request", StatusCode::UNPROCESSABLE_ENTITY, detail).header(&CONTENT_TYPE))
}

/// Whether a content type is one of JSON.
pub(super) fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json") || essence.to_ascii_lowercase().ends_with("+json")
}

/// Bytes of an answer beside its rows, and of a number in it, at most about.
const REPLY_BYTES: usize = 160;
const NUMBER_BYTES: usize = 22;

fn reply(answer: &Answer) -> Response {
    let mut json = write::Json::with_capacity(REPLY_BYTES + (answer.outputs.len() + answer.n_rows) * NUMBER_BYTES);
    json.raw("{\"predictions\":");
    if answer.is_classifier() {
        json.list(answer.labels(), |json, label| json.label(label));
        json.raw(",\"probabilities\":")
            .list(answer.by_row(), |json, row| json.list(row, |json, value| json.value(value)));
    } else {
        json.list(&answer.outputs, |json, value| json.value(value));
    }
    json.raw(",\"model_version\":").value(&answer.served.version.version);
    json.raw(",\"timestamp\":\"").raw(&now().to_string()).raw("\"}");
    json.respond()
}

fn describe(served: &Served) -> Value {
    let model = &served.model;
    json!({
        "model_loaded": true,
        "model_info": served.info(),
        "sha256": served.version.model.sha256,
        "n_features": model.n_features(),
        "feature_names": served.signature.names(),
        "categories": model.categories(),
        "classes": model.classes(),
        "n_estimators": model.n_trees(),
        "timestamp": now().to_string(),
    })
}
