//! Jobs: list, show, submit, stop, retry, replay, compare.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use jiff::Timestamp;
use regrove_events::JobState;
use regrove_events::log::job_stream;
use regrove_host::Problem;
use regrove_jobs::{Comparison, Span};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::Ports;
use crate::action::{self, Ordered, Replayed};
use crate::respond::{Body, Params};
use crate::view::{EventView, JobSummary, JobView, MlflowView, Series};

/// Jobs in a page of a list when nothing else is said.
pub(crate) const LIMIT_DEFAULT: usize = 50;
/// Jobs in a page of a list at most.
pub(crate) const LIMIT_MAX: usize = 500;
/// How long MLflow may take before a job is shown without it.
const MLFLOW_WAIT: Duration = Duration::from_secs(2);
/// Metrics whose points are fetched for one job at most.
const SERIES_MAX: usize = 12;

/// Which jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct JobQuery {
    /// Only jobs in this state.
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
    /// How many: 1 to 500, 50 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<usize>,
}

/// A page of jobs, the newest first.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct JobList {
    /// The jobs.
    pub(crate) jobs: Vec<JobSummary>,
    /// How many there are on all pages.
    pub(crate) total: usize,
    /// How many there are in each state, whatever state was asked for.
    pub(crate) states: BTreeMap<String, usize>,
    /// `after` of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
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
    fn check(&self) -> Result<Checked, Problem> {
        let time = |name: &str, text: &str| -> Result<Option<Timestamp>, Problem> {
            if text.is_empty() {
                return Ok(None);
            }
            let wrong = || action::invalid(&format!("`{name}` is `{text}`, expected RFC 3339: 2026-11-23T08:00:00Z"));
            text.parse().map(Some).map_err(|_| wrong())
        };
        if !self.state.is_empty() && STATES.iter().all(|state| state.as_str() != self.state) {
            let known = STATES.map(JobState::as_str).join(", ");
            return Err(action::invalid(&format!("`state` is `{}`, expected one of {known}", self.state)));
        }
        let limit = self.limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(action::invalid(&format!("`limit` is {limit}, expected 1 to {LIMIT_MAX}")));
        }
        Ok(Checked {
            name: self.name.trim().to_lowercase(),
            since: time("since", &self.since)?,
            until: time("until", &self.until)?,
            limit,
        })
    }
}

/// A query whose parts make sense.
struct Checked {
    name: String,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    limit: usize,
}

impl Checked {
    /// Everything but the state.
    fn fits(&self, job: &JobSummary) -> bool {
        let texts = [Some(&job.id), job.dataset.as_ref(), job.model_name.as_ref()];
        let named =
            self.name.is_empty() || texts.into_iter().flatten().any(|text| text.to_lowercase().contains(&self.name));
        named
            && self.since.is_none_or(|since| job.requested_at.is_some_and(|at| at >= since))
            && self.until.is_none_or(|until| job.requested_at.is_some_and(|at| at < until))
    }
}

/// The jobs that a query asks for.
///
/// # Errors
/// 422 for a query that is none; 503 when the log does not answer.
pub(crate) async fn list(ports: &Ports, query: &JobQuery) -> Result<JobList, Problem> {
    let checked = query.check()?;
    let lists = ports.index.lists().await?;
    let order = |job: &JobSummary| Reverse((job.requested_at, job.id.clone()));
    let mut fit: Vec<&JobSummary> = lists.jobs.values().filter(|job| checked.fits(job)).collect();
    let mut states: BTreeMap<String, usize> = BTreeMap::new();
    for job in &fit {
        *states.entry(job.state.to_string()).or_default() += 1;
    }
    fit.retain(|job| query.state.is_empty() || job.state.as_str() == query.state);
    fit.sort_by_cached_key(|job| order(job));
    let total = fit.len();
    if !query.after.is_empty() {
        let Some(last) = lists.jobs.get(&query.after) else {
            return Err(action::invalid(&format!("`after` names job `{}`, which does not exist", query.after)));
        };
        let last = order(last);
        fit.retain(|job| order(job) > last);
    }
    let next = fit.get(checked.limit.saturating_sub(1)).filter(|_| fit.len() > checked.limit).map(|job| job.id.clone());
    let jobs = fit.into_iter().take(checked.limit).cloned().collect();
    Ok(JobList { jobs, total, states, next })
}

/// A job with all its parts.
///
/// # Errors
/// 404 for an unknown job; 503 when the log does not answer. An MLflow that does not answer is said in the view.
pub(crate) async fn show(ports: &Ports, id: &str) -> Result<JobView, Problem> {
    let mut view = JobView::of(id, &action::history(ports, id).await?);
    view.mlflow = Some(mlflow(ports, &view).await);
    Ok(view)
}

async fn mlflow(ports: &Ports, job: &JobView) -> MlflowView {
    let mut view = MlflowView { uri: ports.record.uri().to_owned(), ..MlflowView::default() };
    match tokio::time::timeout(MLFLOW_WAIT, ask_mlflow(ports, job, &mut view)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => view.unavailable = Some(error.to_string()),
        Err(_) => view.unavailable = Some(format!("MLflow at {} does not answer", ports.record.uri())),
    }
    view
}

async fn ask_mlflow(ports: &Ports, job: &JobView, view: &mut MlflowView) -> Result<(), regrove_mlflow::Error> {
    let Some(experiment) = &job.summary.experiment else { return Ok(()) };
    let client = ports.record.client();
    let run = match ports.record.find_run(experiment, &job.summary.id).await {
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
    responses((status = 200, body = JobList), (status = 422, description = "invalid-request")))]
pub(crate) async fn list_jobs(
    State(ports): State<Arc<Ports>>,
    Params(query): Params<JobQuery>,
) -> Result<Json<JobList>, Problem> {
    Ok(Json(list(&ports, &query).await?))
}

/// Shows one job: parameters, data set, shards, metrics, MLflow, model version, timeline.
#[utoipa::path(get, path = "/api/jobs/{id}", tag = "jobs", params(("id" = String, Path, description = "Job id")),
    responses((status = 200, body = JobView), (status = 404, description = "job-not-found")))]
pub(crate) async fn show_job(
    State(ports): State<Arc<Ports>>,
    Path(id): Path<String>,
) -> Result<Json<JobView>, Problem> {
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
}

/// Asks for a job. Sending it again under the same `id` is harmless.
#[utoipa::path(post, path = "/api/jobs", tag = "jobs", request_body = Submission,
    responses((status = 202, body = Ordered), (status = 200, body = Ordered, description = "the same job was there before"),
        (status = 409, description = "job-id-taken"), (status = 422, description = "invalid-request")))]
pub(crate) async fn submit_job(State(ports): State<Arc<Ports>>, Body(body): Body<Value>) -> Result<Response, Problem> {
    let ordered = action::submit(&ports, body).await?;
    let status = if ordered.created { StatusCode::ACCEPTED } else { StatusCode::OK };
    let place = HeaderValue::from_str(&format!("/api{}", ordered.href));
    let mut response = (status, Json(ordered)).into_response();
    if let Ok(place) = place {
        response.headers_mut().insert(LOCATION, place);
    }
    Ok(response)
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
    responses((status = 202, body = Ordered), (status = 404, description = "job-not-found"),
        (status = 409, description = "job-ended")))]
pub(crate) async fn stop_job(
    State(ports): State<Arc<Ports>>,
    Path(id): Path<String>,
    Body(order): Body<StopOrder>,
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
    responses((status = 202, body = Ordered), (status = 404, description = "job-not-found"),
        (status = 409, description = "job-not-retryable, job-id-taken")))]
pub(crate) async fn retry_job(
    State(ports): State<Arc<Ports>>,
    Path(id): Path<String>,
    Body(order): Body<RetryOrder>,
) -> Result<(StatusCode, Json<Ordered>), Problem> {
    Ok((StatusCode::ACCEPTED, Json(action::retry(&ports, &id, order.id).await?)))
}

/// Body of a replay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ReplayOrder {
    /// Only lists what would be said.
    dry_run: bool,
}

/// Says a job's events to the broker again. Nothing is trained twice; what was lost on the way is made good.
#[utoipa::path(post, path = "/api/jobs/{id}/replay", tag = "jobs", request_body = Option<ReplayOrder>,
    params(("id" = String, Path, description = "Job id")),
    responses((status = 202, body = Replayed), (status = 404, description = "job-not-found")))]
pub(crate) async fn replay_job(
    State(ports): State<Arc<Ports>>,
    Path(id): Path<String>,
    Body(order): Body<ReplayOrder>,
) -> Result<(StatusCode, Json<Replayed>), Problem> {
    Ok((StatusCode::ACCEPTED, Json(action::replay(&ports, &id, order.dry_run).await?)))
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
    responses((status = 200, body = JobEvents), (status = 404, description = "job-not-found")))]
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
    responses((status = 200, body = Object), (status = 404, description = "job-not-found")))]
pub(crate) async fn compare_jobs(
    State(ports): State<Arc<Ports>>,
    Params(pair): Params<Pair>,
) -> Result<Json<Comparison>, Problem> {
    Ok(Json(action::compare(&ports, &pair.a, &pair.b).await?))
}

/// The spans of a job's work, as a tree: from the request to the moment at which its version is served.
#[utoipa::path(get, path = "/api/jobs/{id}/trace", tag = "jobs",
    params(("id" = String, Path, description = "Job id")),
    responses((status = 200, body = Object), (status = 404, description = "job-not-found")))]
pub(crate) async fn job_trace(State(ports): State<Arc<Ports>>, Path(id): Path<String>) -> Result<Json<Span>, Problem> {
    Ok(Json(action::trace(&ports, &id).await?))
}
