//! `load-model` moves serving pointers: it resolves a version in MLflow, verifies its bytes, and records the switch.
//!
//! | request | does |
//! | --- | --- |
//! | event `model-registered` | serves the version, unless a newer one is served |
//! | `POST /model/load` | serves the latest version, or the one that `name`, `version` or `alias` says; forward or back |
//!
//! Every replica of `predict` follows the record, so a switch reaches all of them.

mod candidate;
pub mod decide;
mod request;

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use http::StatusCode;
use regrove_events::event::ModelLoaded;
use regrove_events::log::{append_decided, serving_stream};
use regrove_events::{Cause, CloudEvent, Event, SwitchedBy};
use regrove_host::{Emitter, Problem, Received, now};
use regrove_mlflow::{Record, Selector};
use regrove_store::Control;
use serde_json::Value;

use crate::decide::{Decision, decide};

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

/// The function as a service.
pub fn router(ports: Ports) -> Router {
    Router::new().route("/", post(receive)).route("/model/load", post(load)).with_state(Arc::new(ports))
}

async fn receive(State(ports): State<Arc<Ports>>, Received(received): Received) -> Result<StatusCode, Problem> {
    let Event::ModelRegistered(registered) = Event::read(&received)? else {
        return Err(regrove_events::Unreadable::UnknownType(received.ty().to_owned()).into());
    };
    let number = registered.version.parse().map_err(|_| {
        let detail = format!("`version` is `{}`, MLflow's are whole numbers", registered.version);
        Problem::new("invalid-event-data", StatusCode::UNPROCESSABLE_ENTITY, detail)
    })?;
    let candidate = candidate::fetch(&ports, &registered.name, &Selector::Version(number), SwitchedBy::Event).await?;
    if candidate.model.sha256 != registered.model.sha256 {
        let detail = format!(
            "{} is registered with SHA-256 {}, MLflow's tag says {}",
            registered.uri, registered.model.sha256, candidate.model.sha256
        );
        return Err(Problem::new("model-checksum", StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    let say = switch(&ports, candidate, &received).await?;
    ports.emitter.emit(say.as_slice()).await?;
    Ok(StatusCode::ACCEPTED)
}

async fn load(State(ports): State<Arc<Ports>>, body: Bytes) -> Result<Json<Value>, Problem> {
    let (name, selector) = request::parse(&body, &ports.model_name)?;
    let candidate = candidate::fetch(&ports, &name, &selector, SwitchedBy::Request).await?;
    let cause = request::as_event(&candidate, now())?;
    let say = switch(&ports, candidate.clone(), &cause).await?;
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
