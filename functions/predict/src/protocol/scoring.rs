//! MLflow's scoring protocol, as `mlflow models serve` speaks it.
//!
//! Source: MLflow 3.17, `mlflow/pyfunc/scoring_server`. Answers are records with the columns of the model's signature.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use regrove_host::{Payload, Problem};

use super::{reference, write};
use crate::Service;
use crate::answer::Answer;
use crate::json::{Kind, Scanner};
use crate::log::Trace;
use crate::models::Served;
use crate::refusal::Fault;
use crate::rows::{Order, Reader, Rows, not};
use crate::signature::Signature;
use crate::{bodies, frame};

/// The members of which a body has exactly one.
const FORMS: &str = "exactly one of dataframe_split, dataframe_records, instances and inputs";

/// Errors of this protocol have `error_code` and `message`.
pub(crate) fn speak(problem: Problem) -> Problem {
    let status = match problem.status {
        StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
        other => other,
    };
    let code = match status {
        StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED | StatusCode::UNSUPPORTED_MEDIA_TYPE => "BAD_REQUEST",
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => "DEADLINE_EXCEEDED",
        StatusCode::SERVICE_UNAVAILABLE => "TEMPORARILY_UNAVAILABLE",
        StatusCode::PAYLOAD_TOO_LARGE => "INVALID_PARAMETER_VALUE",
        StatusCode::NOT_FOUND => "RESOURCE_DOES_NOT_EXIST",
        _ => "INTERNAL_ERROR",
    };
    let message = problem.detail.clone();
    problem.status(status).with("error_code", code).with("message", message)
}

/// `GET /ping` and `GET /health`: 200 when the default model can answer, else 404.
#[utoipa::path(get, path = "/ping", tag = "MLflow", summary = "Whether the default model can answer",
    responses((status = 200, description = "It can"), (status = 404, description = "It cannot")))]
pub(crate) async fn ping(State(service): State<Arc<Service>>) -> (StatusCode, &'static str) {
    match service.answering.models.get(&service.model_name, None).await {
        Ok(_) => (StatusCode::OK, "\n"),
        Err(_) => (StatusCode::NOT_FOUND, "\n"),
    }
}

/// `GET /health`, the same as `/ping`.
#[utoipa::path(get, path = "/health", tag = "MLflow", summary = "Whether the default model can answer",
    responses((status = 200, description = "It can"), (status = 404, description = "It cannot")))]
pub(crate) async fn health(state: State<Arc<Service>>) -> (StatusCode, &'static str) {
    ping(state).await
}

/// `GET /version`.
#[utoipa::path(get, path = "/version", tag = "MLflow", summary = "This server's version",
    responses((status = 200, description = "The version", body = String)))]
pub(crate) async fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// `POST /invocations`.
#[utoipa::path(post, path = "/invocations", tag = "MLflow", summary = "Predict with the default model",
    params(("regrove-session" = Option<String>, Header, description = "Requests with the same value get the same version while a canary runs")),
    request_body(content((crate::openapi::Invocation = "application/json"), (String = "text/csv"))),
    responses((status = 200, description = "A record for each row", body = crate::openapi::Scores), (status = 400, response = crate::openapi::Refused), (status = 415, response = crate::openapi::Refused)))]
pub(crate) async fn invocations(
    State(service): State<Arc<Service>>,
    trace: Trace,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Result<Response, Problem> {
    answer(&service, trace, &headers, body).await
}

async fn answer(
    service: &Service,
    Trace(caller): Trace,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let form = form(headers)?;
    let choice = service.answering.models.get(&service.model_name, Service::session(headers)).await?;
    let bytes = body.len();
    let read = move |served: &Served| {
        let rows = match form {
            Form::Csv => bodies::csv(&body, &served.signature)?,
            Form::Json => bodies::invocation(&body, &served.signature)?,
        };
        Ok((rows, reply))
    };
    service.answering.answer(choice, caller, bytes, read).await
}

#[derive(Debug, Clone, Copy)]
enum Form {
    Json,
    Csv,
}

fn form(headers: &HeaderMap) -> Result<Form, Problem> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let refuse = |detail: String| {
        Problem::new("unsupported-media-type", StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).header(&CONTENT_TYPE)
    };
    for parameter in given.split(';').skip(1) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let utf8 = value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8");
        if !(name.trim().eq_ignore_ascii_case("charset") && utf8) {
            return Err(refuse(format!(
                "Content-Type has the parameter `{}`, expected charset=utf-8",
                parameter.trim()
            )));
        }
    }
    let essence = given.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("text/csv") {
        return Ok(Form::Csv);
    }
    if reference::is_json(essence) {
        return Ok(Form::Json);
    }
    Err(refuse(format!("Content-Type is `{given}`, expected application/json or text/csv")))
}

pub(crate) fn parse(text: &str, signature: &Signature) -> Result<Rows, Problem> {
    let mut scanner = Scanner::new(text);
    if let Some(fault) = not(&mut scanner, Kind::Object, "", FORMS)? {
        return Err(fault.into());
    }
    let mut rows = None;
    let mut forms = 0;
    scanner.object(|scanner, name| {
        let read = match name {
            "dataframe_split" => frame::object(scanner, signature, "/dataframe_split", "data")?,
            "dataframe_records" => list(scanner, signature, "/dataframe_records")?,
            "instances" => list(scanner, signature, "/instances")?,
            "inputs" if scanner.kind()? == Kind::Object => frame::columns(scanner, signature, "/inputs")?,
            "inputs" => list(scanner, signature, "/inputs")?,
            // `params` among them: a forest has none.
            _ => return scanner.skip(),
        };
        forms += 1;
        rows = Some(read);
        Ok(())
    })?;
    scanner.end()?;
    match rows {
        Some(rows) if forms == 1 => Ok(rows),
        _ => Err(Fault::shape(String::new(), FORMS, &format!("an object with {forms} of them")).into()),
    }
}

/// Rows as lists or as objects.
fn list(scanner: &mut Scanner<'_>, signature: &Signature, pointer: &str) -> Result<Rows, Problem> {
    let mut reader = Reader::new(signature, scanner.bytes());
    reader.matrix(scanner, pointer, Order::Model)?;
    reader.finish(pointer)
}

fn reply(answer: &Answer) -> Response {
    // Names are written as JSON once, not once per row.
    let names = answer.names();
    let mut members = names.iter().map(|name| format!("{}:", serde_json::Value::from(name.as_str())));
    let first = members.next().unwrap_or_default();
    let others: Vec<String> = members.map(|member| format!(",{member}")).collect();
    let mut json = write::Json::with_capacity(64 + answer.outputs.len() * 48);
    json.raw("{\"predictions\":");
    if answer.is_classifier() {
        json.list(answer.by_row().zip(answer.labels()), |json, (row, label)| {
            json.raw("{").raw(&first).label(label);
            for (member, value) in others.iter().zip(row) {
                json.raw(member).value(value);
            }
            json.raw("}")
        });
    } else {
        json.list(&answer.outputs, |json, value| json.raw("{").raw(&first).value(value).raw("}"));
    }
    json.raw("}");
    json.respond()
}
