//! The Open Inference Protocol, version 2, over REST, with the binary tensor data extension.
//!
//! Source: KServe's `open_inference_rest.yaml` and Triton's `extension_binary_data`. Inputs are one tensor
//! `[n_rows, n_features]`, or one tensor per column `[n_rows]` or `[n_rows, 1]` under the column's name; `BYTES` for the
//! texts of a column of categories. Outputs are
//! `predict` (labels, or values of a regressor) and, of a classifier, `predict_proba` `[n_rows, n_classes]`.

mod reply;
mod request;

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use axum::routing::{any, get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};
use regrove_host::{Path, Payload, Problem, no_such_path};
use serde_json::{Value, json};

pub(crate) use self::request::read;
use crate::Service;
use crate::answer::Answer;
use crate::frame;
use crate::log::Trace;
use crate::models::{Choice, Served};

/// Bytes of the JSON part, where bytes of tensors follow it.
pub(crate) const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// Errors of this protocol are `{"error": "…"}` with any other members.
pub(crate) fn speak(problem: Problem) -> Problem {
    let error = problem.detail.clone();
    let problem = if problem.status == StatusCode::UNPROCESSABLE_ENTITY {
        problem.status(StatusCode::BAD_REQUEST)
    } else {
        problem
    };
    problem.with("error", error)
}

/// The routes that tell about the server and its models, and those that lead nowhere: they are refused in this protocol's
/// words too.
pub(crate) fn telling() -> Router<Arc<Service>> {
    Router::new()
        .route("/v2", get(server))
        .route("/v2/health/live", get(live))
        .route("/v2/health/ready", get(ready))
        .route("/v2/repository/index", post(index))
        .route("/v2/models/{name}", get(metadata))
        .route("/v2/models/{name}/ready", get(model_ready))
        .route("/v2/models/{name}/versions/{version}", get(version_metadata))
        .route("/v2/models/{name}/versions/{version}/ready", get(version_ready))
        .route("/v2/", any(no_such_path))
        .route("/v2/{*path}", any(no_such_path))
}

/// `GET /v2`.
#[utoipa::path(get, path = "/v2", tag = "Open Inference Protocol", summary = "About this server",
    responses((status = 200, description = "The server's name, version and extensions", body = crate::openapi::inference::ServerMetadata)))]
pub(crate) async fn server() -> Json<Value> {
    Json(json!({"name": "regrove-predict", "version": env!("CARGO_PKG_VERSION"), "extensions": ["binary_tensor_data"]}))
}

/// `GET /v2/health/live`.
#[utoipa::path(get, path = "/v2/health/live", tag = "Open Inference Protocol", summary = "Whether the server runs",
    responses((status = 200, description = "It runs", body = crate::openapi::inference::ServerLive)))]
pub(crate) async fn live() -> Json<Value> {
    Json(json!({"live": true}))
}

/// `GET /v2/health/ready`: whether the default model can answer.
#[utoipa::path(get, path = "/v2/health/ready", tag = "Open Inference Protocol", summary = "Whether the default model can answer",
    responses((status = 200, description = "It can", body = crate::openapi::inference::ServerReady), (status = 503, response = crate::openapi::Refused)))]
pub(crate) async fn ready(State(service): State<Arc<Service>>) -> Result<Json<Value>, Problem> {
    service.answering.models.get(&service.model_name, None).await?;
    Ok(Json(json!({"ready": true})))
}

/// `POST /v2/repository/index`: the models that this replica answers.
#[utoipa::path(post, path = "/v2/repository/index", tag = "Open Inference Protocol", summary = "The models that were asked for",
    responses((status = 200, description = "Each version that can answer", body = Vec<crate::openapi::inference::IndexedModel>)))]
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
    responses((status = 200, description = "The model's inputs and outputs", body = crate::openapi::inference::ModelMetadata), (status = 404, response = crate::openapi::Refused), (status = 503, response = crate::openapi::Refused)))]
pub(crate) async fn metadata(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    about(&service, &name, None).await
}

/// `GET /v2/models/{name}/versions/{version}`.
#[utoipa::path(get, path = "/v2/models/{name}/versions/{version}", tag = "Open Inference Protocol", summary = "A version's inputs and outputs",
    params(("name" = String, Path), ("version" = String, Path)),
    responses((status = 200, description = "The version's inputs and outputs", body = crate::openapi::inference::ModelMetadata), (status = 404, response = crate::openapi::Refused), (status = 503, response = crate::openapi::Refused)))]
pub(crate) async fn version_metadata(
    State(service): State<Arc<Service>>,
    Path((name, version)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    about(&service, &name, Some(&version)).await
}

async fn about(service: &Service, name: &str, version: Option<&str>) -> Result<Json<Value>, Problem> {
    let served = find(service, name, version, &HeaderMap::new()).await?.served;
    let versions = service.answering.models.versions(name).await?;
    Ok(Json(reply::describe(&served, &versions)))
}

/// `GET /v2/models/{name}/ready`.
#[utoipa::path(get, path = "/v2/models/{name}/ready", tag = "Open Inference Protocol", summary = "Whether a model can answer",
    params(("name" = String, Path)),
    responses((status = 200, description = "It can", body = crate::openapi::inference::ModelReady), (status = 404, response = crate::openapi::Refused), (status = 503, response = crate::openapi::Refused)))]
pub(crate) async fn model_ready(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    find(&service, &name, None, &HeaderMap::new()).await?;
    Ok(Json(json!({"name": name, "ready": true})))
}

/// `GET /v2/models/{name}/versions/{version}/ready`.
#[utoipa::path(get, path = "/v2/models/{name}/versions/{version}/ready", tag = "Open Inference Protocol", summary = "Whether a version can answer",
    params(("name" = String, Path), ("version" = String, Path)),
    responses((status = 200, description = "It can", body = crate::openapi::inference::ModelReady), (status = 404, response = crate::openapi::Refused), (status = 503, response = crate::openapi::Refused)))]
pub(crate) async fn version_ready(
    State(service): State<Arc<Service>>,
    Path((name, version)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    find(&service, &name, Some(&version), &HeaderMap::new()).await?;
    Ok(Json(json!({"name": name, "ready": true})))
}

/// `POST /v2/models/{name}/infer`.
#[utoipa::path(post, path = "/v2/models/{name}/infer", tag = "Open Inference Protocol", summary = "Infer",
    params(("name" = String, Path, description = "Registered model name"), ("regrove-session" = Option<String>, Header, description = "Requests with the same value get the same version while a canary runs"), ("inference-header-content-length" = Option<u64>, Header, description = "Bytes of the JSON part, if bytes of tensors follow it")),
    request_body(content((crate::openapi::inference::InferenceRequest = "application/json"), (crate::openapi::inference::Tensors = "application/octet-stream"))),
    responses((status = 200, description = "The outputs that are wanted, as JSON, or as bytes behind it", content((crate::openapi::inference::InferenceReply = "application/json"), (crate::openapi::inference::Tensors = "application/octet-stream")), headers(("inference-header-content-length" = Option<u64>, description = "Bytes of the JSON part, if bytes of tensors follow it"))), (status = 400, response = crate::openapi::Refused), (status = 404, response = crate::openapi::Refused), (status = 503, response = crate::openapi::Refused)))]
pub(crate) async fn infer(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
    trace: Trace,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Result<Response, Problem> {
    answer(&service, (&name, None), trace, &headers, body).await
}

/// `POST /v2/models/{name}/versions/{version}/infer`.
#[utoipa::path(post, path = "/v2/models/{name}/versions/{version}/infer", tag = "Open Inference Protocol", summary = "Infer with a version",
    params(("name" = String, Path), ("version" = String, Path, description = "Any version that was ever loaded under the name"), ("inference-header-content-length" = Option<u64>, Header, description = "Bytes of the JSON part, if bytes of tensors follow it")),
    request_body(content((crate::openapi::inference::InferenceRequest = "application/json"), (crate::openapi::inference::Tensors = "application/octet-stream"))),
    responses((status = 200, description = "The outputs that are wanted, as JSON, or as bytes behind it", content((crate::openapi::inference::InferenceReply = "application/json"), (crate::openapi::inference::Tensors = "application/octet-stream")), headers(("inference-header-content-length" = Option<u64>, description = "Bytes of the JSON part, if bytes of tensors follow it"))), (status = 400, response = crate::openapi::Refused), (status = 404, response = crate::openapi::Refused)))]
pub(crate) async fn infer_version(
    State(service): State<Arc<Service>>,
    Path((name, version)): Path<(String, String)>,
    trace: Trace,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Result<Response, Problem> {
    answer(&service, (&name, Some(&version)), trace, &headers, body).await
}

async fn answer(
    service: &Service,
    (name, version): (&str, Option<&str>),
    Trace(caller): Trace,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let json = request::json_bytes(headers, &body)?;
    let choice = find(service, name, version, headers).await?;
    let bytes = body.len();
    let read = move |served: &Served| {
        let (text, binary) = body.split_at(json);
        let (request, rows) = read(frame::text(text)?, binary, &served.signature)?;
        let wanted = request.wanted(served.model.n_classes() > 0)?;
        Ok((rows, move |answer: &Answer| reply::write(answer, &request, &wanted)))
    };
    service.answering.answer(choice, caller, bytes, read).await
}
