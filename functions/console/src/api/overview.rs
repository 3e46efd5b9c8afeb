//! How everything stands, at a glance.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use regrove_events::log::Position;
use regrove_host::{Problem, now};
use regrove_jobs::Summary;
use serde::Serialize;
use utoipa::ToSchema;

use super::functions::{self, FunctionList};
use super::jobs::{self, JobQuery};
use crate::Ports;

/// How long a part may take to show that it is there.
const HEALTH_WAIT: Duration = Duration::from_secs(2);
/// Jobs that are shown.
const JOBS_SHOWN: usize = 8;

/// How a part of the system stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Health {
    /// What it is: `log`, `mlflow`, `broker`.
    pub(crate) part: &'static str,
    /// Whether it answers.
    pub(crate) ok: bool,
    /// Where it is, or what is wrong.
    pub(crate) detail: String,
}

/// How everything stands.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Overview {
    /// Log, MLflow, broker.
    pub(crate) health: Vec<Health>,
    /// Position of the newest event.
    pub(crate) head: Position,
    /// Jobs by state.
    pub(crate) states: BTreeMap<String, usize>,
    /// Events by type, since the log began.
    pub(crate) event_types: BTreeMap<String, u64>,
    /// Events in each of the last 60 minutes, the current one last.
    pub(crate) events_per_minute: Vec<u64>,
    /// The newest jobs.
    pub(crate) jobs: Vec<Summary>,
    /// Models and the versions that are served.
    pub(crate) served: BTreeMap<String, String>,
    /// Replicas, deliveries and cold starts, which only the local runtime knows.
    pub(crate) functions: FunctionList,
}

/// How everything stands now.
///
/// # Errors
/// 503 when the log does not answer.
pub(crate) async fn overview(ports: &Ports) -> Result<Overview, Problem> {
    let functions = functions::list(ports).await.unwrap_or_else(|problem| FunctionList::unknown(problem.detail));
    let newest = jobs::list(ports, &JobQuery { limit: Some(JOBS_SHOWN), ..JobQuery::default() }).await?;
    let health = tokio::join!(log(ports), mlflow(ports), broker(ports));
    let health = vec![health.0, health.1, health.2];
    let lists = ports.index.lists().await?;
    let served = lists
        .serving
        .iter()
        .filter_map(|(name, serving)| Some((name.clone(), serving.current.as_ref()?.version.clone())));
    Ok(Overview {
        health,
        head: lists.position,
        states: newest.states,
        event_types: lists.types.clone(),
        events_per_minute: lists.per_minute(now()),
        jobs: newest.jobs,
        served: served.collect(),
        functions,
    })
}

async fn log(ports: &Ports) -> Health {
    let place = format!("{}, {}", ports.control.kind(), ports.control.place());
    match tokio::time::timeout(HEALTH_WAIT, ports.control.check()).await {
        Ok(Ok(())) => Health { part: "log", ok: true, detail: place },
        Ok(Err(error)) => Health { part: "log", ok: false, detail: error.to_string() },
        Err(_) => Health { part: "log", ok: false, detail: format!("{place} does not answer") },
    }
}

async fn mlflow(ports: &Ports) -> Health {
    let uri = ports.record.uri();
    match tokio::time::timeout(HEALTH_WAIT, ports.record.client().server_version()).await {
        Ok(Ok(version)) => Health { part: "mlflow", ok: true, detail: format!("{version} at {uri}") },
        Ok(Err(error)) => Health { part: "mlflow", ok: false, detail: error.to_string() },
        Err(_) => Health { part: "mlflow", ok: false, detail: format!("{uri} does not answer") },
    }
}

async fn broker(ports: &Ports) -> Health {
    match tokio::time::timeout(HEALTH_WAIT, ports.sink.check()).await {
        Ok(Ok(place)) => Health { part: "broker", ok: true, detail: place },
        Ok(Err(reason)) => Health { part: "broker", ok: false, detail: reason },
        Err(_) => Health { part: "broker", ok: false, detail: "the broker does not answer".to_owned() },
    }
}

/// Shows how everything stands.
#[utoipa::path(get, path = "/api/overview", tag = "overview", responses((status = 200, description = "What there is, and what runs", body = Overview)))]
pub(crate) async fn show_overview(State(ports): State<Arc<Ports>>) -> Result<Json<Overview>, Problem> {
    Ok(Json(overview(&ports).await?))
}
