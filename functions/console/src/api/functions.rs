//! Functions: replicas, revisions, traffic, cold starts, logs.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use regrove_host::{Path, Problem};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::follow;
use crate::respond::Params;
use crate::runtime::{ABSENT, ColdStart, Line, LineQuery, Sample, Service, Status};
use crate::{Ports, action};

/// Seconds of history that are shown.
pub(crate) const HISTORY_SECONDS: u32 = 600;
/// Starts from zero that are shown.
const COLD_STARTS_SHOWN: usize = 100;
/// Lines in an answer when nothing else is said.
const LINES_DEFAULT: usize = 500;
/// Lines in an answer at most.
const LINES_MAX: usize = 5000;
/// Levels, from the least to the most serious.
pub(crate) const LEVELS: [&str; 5] = ["trace", "debug", "info", "warn", "error"];

/// All functions.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct FunctionList {
    /// How they stand; absent without a local runtime.
    pub(crate) status: Option<Status>,
    /// How the last ten minutes went, oldest first.
    pub(crate) history: Vec<Sample>,
    /// The latest starts from zero, oldest first.
    pub(crate) cold_starts: Vec<ColdStart>,
    /// Why nothing is known here.
    pub(crate) unavailable: Option<String>,
}

impl FunctionList {
    /// Says why nothing is known.
    pub(crate) fn unknown(reason: String) -> Self {
        Self { status: None, history: Vec::new(), cold_starts: Vec::new(), unavailable: Some(reason) }
    }
}

/// How all functions stand.
///
/// # Errors
/// 503 when the runtime does not answer. A missing runtime is said in the list.
pub(crate) async fn list(ports: &Ports) -> Result<FunctionList, Problem> {
    if !ports.runtime.is_known() {
        return Ok(FunctionList::unknown(ABSENT.to_owned()));
    }
    let (status, history, cold_starts) = tokio::try_join!(
        ports.runtime.status(),
        ports.runtime.history(HISTORY_SECONDS),
        ports.runtime.cold_starts(None, COLD_STARTS_SHOWN)
    )?;
    Ok(FunctionList { status: Some(status), history, cold_starts, unavailable: None })
}

/// One function.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct FunctionView {
    /// How it stands.
    pub(crate) service: Service,
    /// How the last ten minutes went, oldest first.
    pub(crate) history: Vec<Sample>,
    /// Its latest starts from zero, oldest first.
    pub(crate) cold_starts: Vec<ColdStart>,
    /// The last lines of its replicas, oldest first.
    pub(crate) lines: Vec<Line>,
}

/// How one function stands, by its name with or without its namespace.
///
/// # Errors
/// 404 for an unknown function; 501 without a local runtime; 503 when it does not answer.
pub(crate) async fn show(ports: &Ports, name: &str, query: &LogQuery) -> Result<FunctionView, Problem> {
    let status = ports.runtime.status().await?;
    let found = status.services.into_iter().find(|service| service.key == name || service.name() == name);
    let Some(service) = found else {
        let detail = format!("there is no function `{name}`; GET /api/functions lists them");
        return Err(Problem::new("function-not-found", StatusCode::NOT_FOUND, detail));
    };
    let of = LogQuery { service: service.key.clone(), ..query.clone() };
    let (history, cold_starts, lines) = tokio::try_join!(
        ports.runtime.history(HISTORY_SECONDS),
        ports.runtime.cold_starts(Some(&service.key), COLD_STARTS_SHOWN),
        lines(ports, "", &of)
    )?;
    let history = history.into_iter().map(|mut sample| {
        sample.services.retain(|one| one.service == service.key);
        sample
    });
    Ok(FunctionView { history: history.collect(), cold_starts, lines, service })
}

/// Which lines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogQuery {
    /// Only of this function, `namespace/service` or the service alone.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) service: String,
    /// At least this level: `trace`, `debug`, `info`, `warn`, `error`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) level: String,
    /// Only lines that contain this.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) text: String,
    /// Only after the line of this number: to go on where the answer before ended.
    pub(crate) after: u64,
    /// How many at most: 1 to 5000, 500 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<usize>,
    /// Go on with new lines, as server-sent events. Of a job only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) follow: bool,
}

/// Lines of functions, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct LineList {
    /// The lines.
    pub(crate) lines: Vec<Line>,
    /// Why they are not known here.
    pub(crate) unavailable: Option<String>,
}

/// Lines about a job; about anything when `job` is empty.
///
/// # Errors
/// 422 for a query that is none; 501 without a local runtime; 503 when it does not answer.
pub(crate) async fn lines(ports: &Ports, job: &str, query: &LogQuery) -> Result<Vec<Line>, Problem> {
    ports.runtime.lines(&checked(job, query)?).await
}

fn checked<'a>(job: &'a str, query: &'a LogQuery) -> Result<LineQuery<'a>, Problem> {
    if !query.level.is_empty() && !LEVELS.contains(&query.level.as_str()) {
        let known = LEVELS.join(", ");
        return Err(action::invalid(&format!("`level` is `{}`, expected one of {known}", query.level)));
    }
    let limit = query.limit.unwrap_or(LINES_DEFAULT);
    if !(1..=LINES_MAX).contains(&limit) {
        return Err(action::invalid(&format!("`limit` is {limit}, expected 1 to {LINES_MAX}")));
    }
    let LogQuery { service, level, text, after, .. } = query;
    Ok(LineQuery { service, job, level, text, after: *after, limit })
}

/// Lists functions: replicas, revisions, traffic, the last ten minutes, cold starts.
#[utoipa::path(get, path = "/api/functions", tag = "functions", responses((status = 200, description = "The functions", body = FunctionList)))]
pub(crate) async fn list_functions(State(ports): State<Arc<Ports>>) -> Result<Json<FunctionList>, Problem> {
    Ok(Json(list(&ports).await?))
}

/// Shows one function with its cold starts and last lines.
#[utoipa::path(get, path = "/api/functions/{name}", tag = "functions",
    params(("name" = String, Path, description = "Function, such as predict"), LogQuery),
    responses((status = 200, description = "The function", body = FunctionView), (status = 404, description = "function-not-found"),
        (status = 501, description = "runtime-absent")))]
pub(crate) async fn show_function(
    State(ports): State<Arc<Ports>>,
    Path(name): Path<String>,
    Params(query): Params<LogQuery>,
) -> Result<Json<FunctionView>, Problem> {
    Ok(Json(show(&ports, &name, &query).await?))
}

/// Lines that functions wrote about a job, in the order in which they were written.
#[utoipa::path(get, path = "/api/jobs/{id}/logs", tag = "jobs",
    params(("id" = String, Path, description = "Job id"), LogQuery),
    responses((status = 200, body = LineList, description = "with `follow`: server-sent events, each a line"),
        (status = 404, description = "job-not-found"), (status = 501, description = "runtime-absent, with `follow`")))]
pub(crate) async fn job_logs(
    State(ports): State<Arc<Ports>>,
    Path(id): Path<String>,
    Params(query): Params<LogQuery>,
) -> Result<Response, Problem> {
    action::history(&ports, &id).await?;
    if query.follow {
        return Ok(follow::lines(ports.runtime.follow_lines(&checked(&id, &query)?).await?));
    }
    if !ports.runtime.is_known() {
        return Ok(Json(LineList { lines: Vec::new(), unavailable: Some(ABSENT.to_owned()) }).into_response());
    }
    Ok(Json(LineList { lines: lines(&ports, &id, &query).await?, unavailable: None }).into_response())
}
