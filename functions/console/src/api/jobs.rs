//! Jobs: list, show, submit, stop, retry, replay, compare.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use jiff::Timestamp;
use regrove_events::JobState;
use regrove_events::log::job_stream;
use regrove_host::{JsonBody, Path, Problem, now};
use regrove_jobs::{Comparison, LIMIT_DEFAULT, Page, Query, ReplayStep, Span, Summary};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::Ports;
use crate::action::{self, Ordered, Replayed};
use crate::respond::Params;
use crate::view::{EventView, JobAndRun, MlflowView, Series};

/// How long MLflow may take before a job is shown without it.
const MLFLOW_WAIT: Duration = Duration::from_secs(2);
/// Metrics whose points are fetched for one job at most.
const SERIES_MAX: usize = 12;

/// Which jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct JobQuery {
    /// Only jobs in this state, or in one of these, with commas between them.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) state: String,
    /// Only jobs whose id, data set or model contains this, letter case aside.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    /// Only jobs asked for at or after this time (RFC 3339).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) since: String,
    /// Only jobs asked for before this time (RFC 3339).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) until: String,
    /// Go on after this job: `next` of the page before.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) after: String,
    /// How many: 1 to 1000, 50 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<usize>,
}

/// The states that a job can be in.
pub(crate) const STATES: [JobState; 6] = [
    JobState::Queued,
    JobState::Training,
    JobState::Registering,
    JobState::Succeeded,
    JobState::Failed,
    JobState::Cancelled,
];

impl JobQuery {
    fn read(&self) -> Result<Query, Problem> {
        let time = |name: &str, text: &str| -> Result<Option<Timestamp>, Problem> {
            if text.is_empty() {
                return Ok(None);
            }
            let wrong = || action::invalid(&format!("`{name}` is `{text}`, expected RFC 3339: 2026-11-23T08:00:00Z"));
            text.parse().map(Some).map_err(|_| wrong())
        };
        let given = |text: &str| Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned);
        Ok(Query {
            states: Query::states(&self.state).map_err(action::refused)?,
            name: given(&self.name),
            since: time("since", &self.since)?,
            until: time("until", &self.until)?,
            limit: self.limit.unwrap_or(LIMIT_DEFAULT),
            after: given(&self.after),
        })
    }
}

/// The jobs that a query asks for.
///
/// # Errors
/// 422 for a query that is none; 503 when the log does not answer.
pub(crate) async fn list(ports: &Ports, query: &JobQuery) -> Result<Page, Problem> {
    ports.jobs.list(&query.read()?).await.map_err(action::refused)
}

/// A job with all its parts.
///
/// # Errors
/// 404 for an unknown job; 503 when the log does not answer. An MLflow that does not answer is said in the view.
pub(crate) async fn show(ports: &Ports, id: &str) -> Result<JobAndRun, Problem> {
    action::check_id(id)?;
    let job = ports.jobs.show(id, now()).await.map_err(action::refused)?.linked_to(ports.record.uri());
    let mlflow = mlflow(ports, &job.summary).await;
    Ok(JobAndRun { job, mlflow })
}

async fn mlflow(ports: &Ports, job: &Summary) -> MlflowView {
    let mut view = MlflowView { uri: ports.record.uri().to_owned(), ..MlflowView::default() };
    match tokio::time::timeout(MLFLOW_WAIT, ask_mlflow(ports, job, &mut view)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => view.unavailable = Some(error.to_string()),
        Err(_) => view.unavailable = Some(format!("MLflow at {} does not answer", ports.record.uri())),
    }
    view
}

async fn ask_mlflow(ports: &Ports, job: &Summary, view: &mut MlflowView) -> Result<(), regrove_mlflow::Error> {
    let Some(experiment) = &job.experiment else { return Ok(()) };
    let client = ports.record.client();
    let run = match ports.record.find_run(experiment, &job.id).await {
        Ok(Some(run)) => run,
        Ok(None) => return Ok(()),
        Err(error) if error.is_not_found() => return Ok(()),
        Err(error) => return Err(error),
    };
    view.status = Some(format!("{:?}", run.info.status).to_uppercase());
    let (root, of) = (ports.record.uri().trim_end_matches('/'), &run.info.experiment_id);
    view.run_url = Some(format!("{root}/#/experiments/{of}/runs/{}", run.info.run_id));
    view.run_id = Some(run.info.run_id.clone());
    for metric in run.data.metrics.iter().take(SERIES_MAX) {
        let history = client.metric_history(&run.info.run_id, &metric.key).await?;
        if history.len() > 1 {
            let points = history.iter().map(|point| (point.step, point.value)).collect();
            view.series.push(Series { key: metric.key.clone(), points });
        }
    }
    Ok(())
}

/// Lists jobs, the newest first.
#[utoipa::path(get, path = "/api/jobs", tag = "jobs", params(JobQuery),
    responses((status = 200, description = "The jobs", body = Page), (status = 422, description = "invalid-request")))]
pub(crate) async fn list_jobs(
    State(ports): State<Arc<Ports>>,
    Params(query): Params<JobQuery>,
) -> Result<Json<Page>, Problem> {
    Ok(Json(list(&ports, &query).await?))
}

/// Shows one job: parameters, data set, shards, metrics, MLflow, model version, timeline.
#[utoipa::path(get, path = "/api/jobs/{id}", tag = "jobs", params(("id" = String, Path, description = "Job id")),
    responses((status = 200, description = "The job", body = JobAndRun), (status = 404, description = "job-not-found")))]
pub(crate) async fn show_job(
    State(ports): State<Arc<Ports>>,
    Path(id): Path<String>,
) -> Result<Json<JobAndRun>, Problem> {
    Ok(Json(show(&ports, &id).await?))
}

/// What a job is asked for with: `id` and the data of `train-requested` (`events/schemas/train-requested.v1.json`).
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
pub(crate) struct Submission {
    /// Job id and idempotency key: 1 to 128 letters, digits, `.`, `_`, `-`; made up when absent.
    id: Option<String>,
    /// What to learn from: `uri`, and `target` and `name` where the defaults do not fit.
    #[schema(value_type = Object)]
    dataset: Value,
    /// Parameters of the forest under scikit-learn's names.
    #[schema(value_type = Option<Object>)]
    params: Option<Value>,
    /// 1 to 1024, 2 when absent. Never changes the model, unless they divide the rows.
    shards: Option<u32>,
    /// What the shards divide: `trees` when absent, or `rows`, which makes another model.
    #[schema(value_type = Option<String>)]
    shard_by: Option<Value>,
    /// Share of rows that a second forest does not see and is scored on, 0.2 when absent.
    test_size: Option<f64>,
    /// `name`, `alias` and `description` of the version to make.
    #[schema(value_type = Option<Object>)]
    model: Option<Value>,
    /// MLflow experiment, `regrove` when absent.
    experiment: Option<String>,
    /// When the forest is to stop growing: `trees` of a round, `rounds` without a gain, `min_gain`, `metric`.
    #[schema(value_type = Option<Object>)]
    early_stop: Option<Value>,
}

/// Asks for a job. Sending it again under the same `id` is harmless.
#[utoipa::path(post, path = "/api/jobs", tag = "jobs", request_body = Submission,
    responses((status = 202, description = "The job is asked for", body = Ordered), (status = 200, body = Ordered, description = "the same job was there before"),
        (status = 409, description = "job-id-taken"), (status = 422, description = "invalid-request")))]
pub(crate) async fn submit_job(
    State(ports): State<Arc<Ports>>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, Problem> {
    Ok(created(action::submit(&ports, body).await?))
}

/// The answer to an order that makes something: 202, or 200 when the same was there before.
pub(super) fn created(ordered: Ordered) -> Response {
    let status = if ordered.created { StatusCode::ACCEPTED } else { StatusCode::OK };
    let place = HeaderValue::from_str(&format!("/api{}", ordered.href));
    let mut response = (status, Json(ordered)).into_response();
    if let Ok(place) = place {
        response.headers_mut().insert(LOCATION, place);
    }
    response
}

/// Body of a stop.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct StopOrder {
    /// Why, for the record.
    reason: Option<String>,
}

/// Asks a job to stop. Answers after the stop, or after two seconds with `stopping`.
#[utoipa::path(post, path = "/api/jobs/{id}/stop", tag = "jobs", request_body = Option<StopOrder>,
    params(("id" = String, Path, description = "Job id")),
    responses((status = 202, description = "The stop is asked for", body = Ordered), (status = 404, description = "job-not-found"),
        (status = 409, description = "job-ended")))]
pub(crate) async fn stop_job(
    State(ports): State<Arc<Ports>>,
    Path(id): Path<String>,
    JsonBody(order): JsonBody<StopOrder>,
) -> Result<(StatusCode, Json<Ordered>), Problem> {
    Ok((StatusCode::ACCEPTED, Json(action::stop(&ports, &id, order.reason).await?)))
}

/// Body of a retry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RetryOrder {
    /// Id of the new job; `ID.retry-N` when absent.
    id: Option<String>,
}

/// Asks once more, as a new job, for what a job that failed or was cancelled was asked for.
#[utoipa::path(post, path = "/api/jobs/{id}/retry", tag = "jobs", request_body = Option<RetryOrder>,
    params(("id" = String, Path, description = "Job id")),
    responses((status = 202, description = "The new job is asked for", body = Ordered), (status = 404, description = "job-not-found"),
        (status = 409, description = "job-not-retryable, job-id-taken")))]
pub(crate) async fn retry_job(
    State(ports): State<Arc<Ports>>,
    Path(id): Path<String>,
    JsonBody(order): JsonBody<RetryOrder>,
) -> Result<(StatusCode, Json<Ordered>), Problem> {
    Ok((StatusCode::ACCEPTED, Json(action::retry(&ports, &id, order.id).await?)))
}

/// Body of a replay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ReplayOrder {
    /// Only lists what would be said.
    dry_run: bool,
    /// Only what an open job waits for an answer to.
    waiting: bool,
}

/// Says a job's events to the broker again. Nothing is trained twice; what was lost on the way is made good.
#[utoipa::path(post, path = "/api/jobs/{id}/replay", tag = "jobs", request_body = Option<ReplayOrder>,
    params(("id" = String, Path, description = "Job id")),
    responses((status = 202, description = "What was said again", body = Replayed), (status = 404, description = "job-not-found")))]
pub(crate) async fn replay_job(
    State(ports): State<Arc<Ports>>,
    Path(id): Path<String>,
    JsonBody(order): JsonBody<ReplayOrder>,
) -> Result<(StatusCode, Json<Replayed>), Problem> {
    Ok((StatusCode::ACCEPTED, Json(action::replay(&ports, &id, order.dry_run, order.waiting).await?)))
}

/// The state of a job after each of its events: how it came to be what it is.
#[utoipa::path(get, path = "/api/jobs/{id}/steps", tag = "jobs",
    params(("id" = String, Path, description = "Job id")),
    responses((status = 200, description = "A step for each event", body = Vec<Object>), (status = 404, description = "job-not-found")))]
pub(crate) async fn job_steps(
    State(ports): State<Arc<Ports>>,
    Path(id): Path<String>,
) -> Result<Json<Vec<ReplayStep>>, Problem> {
    action::check_id(&id)?;
    Ok(Json(ports.jobs.steps(&id).await.map_err(action::refused)?))
}

/// The events of a job.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct JobEvents {
    /// In the order of the log, with their data.
    events: Vec<EventView>,
}

/// Lists the events of a job with their data.
#[utoipa::path(get, path = "/api/jobs/{id}/events", tag = "jobs",
    params(("id" = String, Path, description = "Job id")),
    responses((status = 200, description = "The events", body = JobEvents), (status = 404, description = "job-not-found")))]
pub(crate) async fn job_events(
    State(ports): State<Arc<Ports>>,
    Path(id): Path<String>,
) -> Result<Json<JobEvents>, Problem> {
    let history = action::history(&ports, &id).await?;
    let stream = job_stream(&id);
    let events = (1..).zip(&history).map(|(version, event)| EventView::whole(&stream, version, None, event)).collect();
    Ok(Json(JobEvents { events }))
}

/// Which two jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Pair {
    /// The first job's id.
    pub(crate) a: String,
    /// The second job's id.
    pub(crate) b: String,
}

/// Compares two jobs: settings, data, metrics, model.
#[utoipa::path(get, path = "/api/jobs/compare", tag = "jobs", params(Pair),
    responses((status = 200, description = "Where they differ", body = Object), (status = 404, description = "job-not-found")))]
pub(crate) async fn compare_jobs(
    State(ports): State<Arc<Ports>>,
    Params(pair): Params<Pair>,
) -> Result<Json<Comparison>, Problem> {
    Ok(Json(action::compare(&ports, &pair.a, &pair.b).await?))
}

/// The spans of a job's work, as a tree: from the request to the moment at which its version is served.
#[utoipa::path(get, path = "/api/jobs/{id}/trace", tag = "jobs",
    params(("id" = String, Path, description = "Job id")),
    responses((status = 200, description = "The spans", body = Object), (status = 404, description = "job-not-found")))]
pub(crate) async fn job_trace(State(ports): State<Arc<Ports>>, Path(id): Path<String>) -> Result<Json<Span>, Problem> {
    Ok(Json(action::trace(&ports, &id).await?))
}
