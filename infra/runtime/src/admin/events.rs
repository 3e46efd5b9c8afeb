//! Events, their deliveries, and what nobody took.

use std::path::PathBuf;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Desk;
use super::problem::{Problem, Query};
use crate::broker::{self, DeadLetter, DeliveryRecord, EventQuery, JournalError, KeptEvent, ReplayFrom, ReplayRequest};

/// Entries in an answer when nothing else is asked for.
pub(super) fn hundred() -> usize {
    100
}

/// Asks the journal beside the loop that serves.
async fn ask<T: Send + 'static>(
    desk: &Desk,
    question: impl FnOnce(PathBuf) -> Result<T, JournalError> + Send + 'static,
) -> Result<T, Problem> {
    let home = desk.view.home.clone();
    let answer = tokio::task::spawn_blocking(move || question(home)).await;
    Ok(answer.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))??)
}

pub(super) async fn list(
    State(desk): State<Desk>,
    Query(query): Query<EventQuery>,
) -> Result<Json<Vec<KeptEvent>>, Problem> {
    Ok(Json(ask(&desk, move |home| broker::kept_events(&home, &query)).await?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfEvent {
    event: String,
}

pub(super) async fn deliveries(
    State(desk): State<Desk>,
    Query(query): Query<OfEvent>,
) -> Result<Json<Vec<DeliveryRecord>>, Problem> {
    Ok(Json(ask(&desk, move |home| broker::delivery_records(&home, &query.event)).await?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AtMost {
    #[serde(default = "hundred")]
    limit: usize,
}

pub(super) async fn dead_letters(
    State(desk): State<Desk>,
    Query(query): Query<AtMost>,
) -> Result<Json<Vec<DeadLetter>>, Problem> {
    Ok(Json(ask(&desk, move |home| broker::dead_letters(&home, query.limit)).await?))
}

/// Dead letters by their numbers, or all of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Chosen {
    #[serde(default)]
    ids: Vec<i64>,
    #[serde(default)]
    all: bool,
}

impl Chosen {
    /// No numbers mean all of them.
    fn numbers(body: Result<Json<Self>, JsonRejection>) -> Result<Vec<i64>, Problem> {
        match json_body(body)? {
            Self { ids, all: false } if !ids.is_empty() => Ok(ids),
            Self { ids, all: true } if ids.is_empty() => Ok(ids),
            _ => Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "say either `ids` or `all: true`")),
        }
    }
}

fn json_body<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, Problem> {
    body.map(|Json(value)| value).map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))
}

pub(super) async fn redrive(
    State(desk): State<Desk>,
    body: Result<Json<Chosen>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let ids = Chosen::numbers(body)?;
    let count = ask(&desk, move |home| broker::redrive(&home, &ids)).await?;
    desk.view.eventing.broker.topology().look_again();
    Ok(Json(json!({ "redriven": count })))
}

pub(super) async fn discard(
    State(desk): State<Desk>,
    body: Result<Json<Chosen>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let ids = Chosen::numbers(body)?;
    let count = ask(&desk, move |home| broker::discard(&home, &ids)).await?;
    Ok(Json(json!({ "discarded": count })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplayBody {
    /// `namespace/trigger`.
    trigger: String,
    /// A time (RFC 3339) or the id of an event.
    from: String,
}

pub(super) async fn replay(
    State(desk): State<Desk>,
    body: Result<Json<ReplayBody>, JsonRejection>,
) -> Result<Json<ReplayRequest>, Problem> {
    let ReplayBody { trigger, from } = json_body(body)?;
    let from: ReplayFrom = from.into();
    let request = ask(&desk, move |home| Ok(broker::replay(&home, &trigger, &from))).await??;
    desk.view.eventing.broker.topology().look_again();
    Ok(Json(request))
}
