//! `load-model` moves serving pointers: it resolves a version in MLflow, verifies its bytes, and records the switch.
//!
//! | request | does |
//! | --- | --- |
//! | event `model-registered` | serves the version, unless a newer one is served or an alias is followed: then what that names |
//! | the ping source's event to `/tick` | serves what followed aliases name now |
//! | `POST /model/load` | serves the latest version, or the one that `name`, `version` or `alias` says; forward or back; an alias is followed |
//! | `POST /model/rollback` | serves the version that was served before |
//! | `POST /model/traffic` | sets or ends a canary and a shadow beside the served version |
//!
//! Every replica of `predict` follows the record, so a switch reaches all of them.

mod aliases;
mod candidate;
pub mod decide;
pub mod foreign;
mod keeping;
mod openapi;
pub mod request;

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::routing::post;
use http::StatusCode;
use regrove_events::event::{Canary, ModelLoaded, ServedVersion, TrafficChanged};
use regrove_events::log::{SERVING_PREFIX, append_decided, serving_stream};
use regrove_events::{Cause, CloudEvent, Event, SwitchedBy, serving};
use regrove_host::{Caller, Emitter, JsonBody, Problem, Received, now};
use regrove_mlflow::{Record, Selector};
use regrove_store::Control;
use serde_json::Value;
use utoipa::OpenApi as _;

use crate::decide::{Decision, decide};
use crate::request::{Order, Wish};

/// This function's name, as it stands in the source of its events.
pub const FUNCTION: &str = "load-model";

/// What this function reaches for.
#[derive(Debug)]
pub struct Ports {
    /// Event log and artifacts.
    pub control: Control,
    /// Where events go.
    pub emitter: Emitter,
    /// MLflow.
    pub record: Record,
    /// The model that a request without a name means.
    pub model_name: String,
}

/// OpenAPI 3.1 of this function, made from the code.
pub fn openapi() -> utoipa::openapi::OpenApi {
    openapi::Document::openapi()
}

/// The function as a service.
pub fn router(ports: Ports) -> Router {
    Router::new()
        .route("/", post(receive))
        .route("/tick", post(tick))
        .route("/model/load", post(load))
        .route("/model/rollback", post(rollback))
        .route("/model/traffic", post(traffic))
        .merge(regrove_host::openapi::routes(openapi))
        .with_state(Arc::new(ports))
}

/// `POST /`.
#[utoipa::path(post, path = "/", tag = "CloudEvents", summary = "Serve the version that model-registered names, unless a newer one is served",
    params(regrove_host::openapi::EventHeaders),
    request_body(description = "The event in structured mode, or its data in binary mode", content(
        (regrove_host::openapi::StructuredEvent<regrove_host::openapi::ModelRegistered> = "application/cloudevents+json"), (regrove_host::openapi::ModelRegistered = "application/json"))),
    responses((status = 202, description = "Done, or nothing to do"), (status = 400, response = openapi::Refused), (status = 409, response = openapi::Refused), (status = 422, response = openapi::Refused)))]
async fn receive(State(ports): State<Arc<Ports>>, Received(received): Received) -> Result<StatusCode, Problem> {
    let Event::ModelRegistered(registered) = Event::read(&received)? else {
        return Err(regrove_events::Unreadable::UnknownType(received.ty().to_owned()).into());
    };
    let number = registered.version.parse().map_err(|_| {
        let detail = format!("`version` is `{}`, MLflow's are whole numbers", registered.version);
        Problem::new("invalid-event-data", StatusCode::UNPROCESSABLE_ENTITY, detail)
    })?;
    let wish =
        Wish { by: SwitchedBy::Event, actor: Some(received.source().to_owned()), reason: Some(registered.job.clone()) };
    let candidate = candidate::fetch(&ports, &registered.name, &Selector::Version(number), wish).await;
    let candidate = candidate.map_err(Problem::for_broker)?;
    if candidate.model.sha256 != registered.model.sha256 {
        let detail = format!(
            "{} is registered with SHA-256 {}, MLflow's tag says {}",
            registered.uri, registered.model.sha256, candidate.model.sha256
        );
        return Err(Problem::new("model-checksum", StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    let say = switch(&ports, candidate, &received).await?;
    ports.emitter.emit(say.as_slice()).await?;
    // It may have got the alias that is followed.
    let now = serving::replay(&ports.control.log.read(&serving_stream(&registered.name), 0).await?);
    aliases::follow(&ports, &registered.name, &now, &received).await?;
    Ok(StatusCode::ACCEPTED)
}

/// `POST /tick`.
#[utoipa::path(post, path = "/tick", tag = "CloudEvents", summary = "Keep what is served, and look where the aliases that are followed have moved",
    params(regrove_host::openapi::EventHeaders),
    request_body(description = "Any event, in structured or binary mode: that it comes is all it says", content(
        (regrove_host::openapi::StructuredEvent<Value> = "application/cloudevents+json"), (Value = "application/json"))),
    responses((status = 202, description = "Done, or nothing to do"), (status = 400, response = openapi::Refused), (status = 409, response = openapi::Refused), (status = 422, response = openapi::Refused), (status = 503, response = openapi::Refused)))]
async fn tick(State(ports): State<Arc<Ports>>, Received(tick): Received) -> Result<StatusCode, Problem> {
    // One model's trouble does not keep the others waiting.
    let mut trouble = None;
    for stream in ports.control.log.streams(SERVING_PREFIX).await? {
        let name = stream.strip_prefix(SERVING_PREFIX).unwrap_or(&stream);
        let now = serving::replay(&ports.control.log.read(&stream, 0).await?);
        for done in [keeping::all(&ports, name, &now).await, aliases::follow(&ports, name, &now, &tick).await] {
            if let Err(problem) = done {
                trouble.get_or_insert(problem);
            }
        }
    }
    trouble.map_or(Ok(StatusCode::ACCEPTED), Err)
}

/// `POST /model/load`.
#[utoipa::path(post, path = "/model/load", tag = "serving", summary = "Serve a version",
    request_body(content = request::Load, content_type = "application/json"),
    responses((status = 200, description = "The version that is served now", body = openapi::Loaded), (status = 404, response = openapi::Refused), (status = 409, response = openapi::Refused), (status = 415, response = openapi::Refused), (status = 422, response = openapi::Refused)))]
async fn load(
    State(ports): State<Arc<Ports>>,
    caller: Caller,
    JsonBody(body): JsonBody<request::Load>,
) -> Result<Json<Value>, Problem> {
    let wish = body.check(&ports.model_name)?;
    let candidate = candidate::fetch(&ports, &wish.name, &wish.selector, wish.wish).await?;
    serve(&ports, candidate, Order::Load, &caller).await
}

/// `POST /model/rollback`.
#[utoipa::path(post, path = "/model/rollback", tag = "serving", summary = "Serve the version that was served before; canary and shadow end",
    request_body(content = request::Rollback, content_type = "application/json"),
    responses((status = 200, description = "The version that is served again", body = openapi::Loaded), (status = 404, response = openapi::Refused), (status = 409, response = openapi::Refused), (status = 415, response = openapi::Refused), (status = 422, response = openapi::Refused)))]
async fn rollback(
    State(ports): State<Arc<Ports>>,
    caller: Caller,
    JsonBody(body): JsonBody<request::Rollback>,
) -> Result<Json<Value>, Problem> {
    let (name, wish) = body.check(&ports.model_name)?;
    let history = ports.control.log.read(&serving_stream(&name), 0).await?;
    let Some(before) = serving::replay(&history).before().cloned() else {
        let detail = format!("no version of `{name}` was served before the one that is");
        return Err(Problem::new("nothing-before", StatusCode::CONFLICT, detail));
    };
    keeping::whole(&ports, &name, &ServedVersion::from(&before)).await?;
    let Wish { by, actor, reason } = wish;
    // Whatever alias it had then: a rollback stays where it went.
    serve(&ports, ModelLoaded { by, actor, reason, alias: None, previous: None, ..before }, Order::Rollback, &caller)
        .await
}

/// `POST /model/traffic`.
#[utoipa::path(post, path = "/model/traffic", tag = "serving", summary = "Say what stands beside the served version: a canary, a shadow, or nothing",
    request_body(content = request::Traffic, content_type = "application/json"),
    responses((status = 200, description = "What stands beside the served version now", body = openapi::Beside), (status = 404, response = openapi::Refused), (status = 409, response = openapi::Refused), (status = 415, response = openapi::Refused), (status = 422, response = openapi::Refused)))]
async fn traffic(
    State(ports): State<Arc<Ports>>,
    caller: Caller,
    JsonBody(body): JsonBody<request::Traffic>,
) -> Result<Json<Value>, Problem> {
    let wish = body.check(&ports.model_name)?;
    let canary = match &wish.canary {
        Some((selector, percent)) => {
            Some(Canary { version: candidate::version(&ports, &wish.name, selector).await?, percent: *percent })
        }
        None => None,
    };
    let shadow = match &wish.shadow {
        Some(selector) => Some(candidate::version(&ports, &wish.name, selector).await?),
        None => None,
    };
    let change = TrafficChanged { name: wish.name, canary, shadow, actor: wish.actor, reason: wish.reason };
    let cause = Order::Traffic.as_event(&change.name, &caller, now())?;
    let name = change.name.clone();
    let at = Cause { function: FUNCTION, event: &cause, at: now() };
    let said = append_decided(&*ports.control.log, &serving_stream(&name), |history| {
        let (change, id) = decide::traffic(history, change.clone())?;
        let event = Event::TrafficChanged(change).caused_by(&at, &id, &name)?;
        Ok::<_, Problem>((vec![event.clone()], event))
    })
    .await?;
    ports.emitter.emit(std::slice::from_ref(&said)).await?;
    Ok(Json(request::changed(&change, now())))
}

/// Moves the pointer because somebody asked, and tells them.
async fn serve(ports: &Ports, candidate: ModelLoaded, order: Order, caller: &Caller) -> Result<Json<Value>, Problem> {
    let cause = order.as_event(&candidate.name, caller, now())?;
    let say = switch(ports, candidate.clone(), &cause).await?;
    ports.emitter.emit(say.as_slice()).await?;
    Ok(Json(request::reply(&candidate, ports.record.uri(), now())))
}

/// Records that a candidate is served now, if it takes over. Returns what is to be said.
async fn switch(ports: &Ports, candidate: ModelLoaded, received: &CloudEvent) -> Result<Option<CloudEvent>, Problem> {
    let name = candidate.name.clone();
    let cause = Cause { function: FUNCTION, event: received, at: now() };
    append_decided(&*ports.control.log, &serving_stream(&name), |history| {
        Ok::<_, Problem>(match decide(history, candidate.clone()) {
            Decision::Stay => (Vec::new(), None),
            Decision::Repeat(known) => (Vec::new(), Some(*known)),
            Decision::Switch(event, id) => {
                let event = event.caused_by(&cause, &id, &name)?;
                (vec![event.clone()], Some(event))
            }
        })
    })
    .await
}
