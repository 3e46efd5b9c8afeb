//! How the runtime stands, and how it stood.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::Deserialize;

use super::Desk;
use super::problem::{Problem, Query};
use crate::clock::now_ms;
use crate::samples::Sample;
use crate::status::{ColdStartRecord, Status};

/// Content type of the text format that Prometheus reads.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) async fn status(State(desk): State<Desk>) -> Json<Status> {
    Json(desk.view.status())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryQuery {
    /// How far back.
    #[serde(default = "ten_minutes")]
    seconds: u32,
}

fn ten_minutes() -> u32 {
    600
}

pub(super) async fn history(State(desk): State<Desk>, Query(query): Query<HistoryQuery>) -> Json<Vec<Sample>> {
    Json(desk.view.samples.since(now_ms() - i64::from(query.seconds) * 1_000))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ColdStartsQuery {
    /// `namespace/service`.
    service: Option<String>,
    #[serde(default = "super::events::hundred")]
    limit: usize,
}

pub(super) async fn cold_starts(
    State(desk): State<Desk>,
    Query(query): Query<ColdStartsQuery>,
) -> Json<Vec<ColdStartRecord>> {
    let mut starts = desk.view.cold_starts();
    starts.retain(|start| query.service.as_ref().is_none_or(|service| *service == start.service));
    Json(starts.split_off(starts.len().saturating_sub(query.limit)))
}

pub(super) async fn metrics(State(desk): State<Desk>) -> Result<Response, Problem> {
    let text = desk.view.metrics.text(&desk.view.services());
    let text = text.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response())
}
