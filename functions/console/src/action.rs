//! Orders: each becomes an event, or a call of the function whose business it is.

use std::time::Duration;

use http::{Method, StatusCode};
use regrove_events::event::{self, JobFailed, TrainRequested};
use regrove_events::log::job_stream;
use regrove_events::{CloudEvent, Event, Job, JobState, job, model_name};
use regrove_host::{Problem, now};
use regrove_jobs::{Comparison, Span, Submitted};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::models::{LoadOrder, TrafficOrder};
use crate::{Ports, wish};

/// Who orders, in the log: the console knows a token and no names.
const ACTOR: &str = "console";
/// The version that was served before.
const PREVIOUS: &str = "previous";
/// How long an order waits to see what comes of it. It is carried out all the same when that takes longer.
const SEEN_WITHIN: Duration = Duration::from_secs(2);

/// What came of an order about a job.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Ordered {
    /// The job.
    pub(crate) id: String,
    /// Its state a moment later; `stopping` while a stop is under way, `queued` when nothing has heard of it yet.
    pub(crate) state: String,
    /// Whether this order made the job; `false` when the same job was there before.
    pub(crate) created: bool,
    /// Why it failed, if it did so at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) failure: Option<JobFailed>,
    /// Its page.
    pub(crate) href: String,
}

impl Ordered {
    fn of(id: &str, job: &Job, created: bool) -> Self {
        let state = if job.state == JobState::Unknown { JobState::Queued } else { job.state };
        Self {
            id: id.to_owned(),
            state: state.to_string(),
            created,
            failure: job.failure.clone(),
            href: format!("/jobs/{id}"),
        }
    }
}

/// What a replay says again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Replayed {
    /// The job.
    pub(crate) id: String,
    /// Whether nothing was sent.
    pub(crate) dry_run: bool,
    /// Ids of the events, in the order of the log.
    pub(crate) events: Vec<String>,
}

/// A refusal of the jobs' own rules, as a problem.
pub(crate) fn refused(error: regrove_jobs::Error) -> Problem {
    use regrove_jobs::Error;
    let (kind, status) = match &error {
        Error::NotFound { .. } => ("job-not-found", StatusCode::NOT_FOUND),
        Error::Taken { .. } => ("job-id-taken", StatusCode::CONFLICT),
        Error::Ended { .. } => ("job-ended", StatusCode::CONFLICT),
        Error::NotRetryable { .. } => ("job-not-retryable", StatusCode::CONFLICT),
        Error::NoRequest { .. } => ("job-without-request", StatusCode::CONFLICT),
        Error::Id(reason) => return invalid(&format!("`id`: {reason}")).with("pointer", "/id"),
        Error::Log(_) => {
            let Error::Log(error) = error else { return Problem::internal(&error) };
            return error.into();
        }
        _ => ("invalid-request", StatusCode::UNPROCESSABLE_ENTITY),
    };
    Problem::new(kind, status, error.to_string())
}

/// An id that no job can have names none.
///
/// # Errors
/// 404.
pub(crate) fn check_id(id: &str) -> Result<(), Problem> {
    event::check_subject(id).map_err(|_| refused(regrove_jobs::Error::NotFound { id: id.to_owned() }))
}

/// The events of a job.
///
/// # Errors
/// 404 for a job that nobody asked for; 503 when the log does not answer.
pub(crate) async fn history(ports: &Ports, id: &str) -> Result<Vec<CloudEvent>, Problem> {
    check_id(id)?;
    ports.jobs.history(id).await.map_err(refused)
}

/// The spans of a job's work, from the request to the moment at which its version is served.
///
/// # Errors
/// As [`history`].
pub(crate) async fn trace(ports: &Ports, id: &str) -> Result<Span, Problem> {
    ports.jobs.trace(id, now()).await.map_err(refused)
}

/// Two jobs side by side.
///
/// # Errors
/// As [`history`].
pub(crate) async fn compare(ports: &Ports, left: &str, right: &str) -> Result<Comparison, Problem> {
    ports.jobs.compare(left, right).await.map_err(refused)
}

/// Asks for a job. The same request under the same id is one job, however often it is sent.
///
/// # Errors
/// 422 for a request that is none; 409 when the id stands for another request; 503 when log or broker do not answer.
pub(crate) async fn submit(ports: &Ports, body: Value) -> Result<Ordered, Problem> {
    let (id, request) = wish::job(body)?;
    ask(ports, &id, &request).await
}

/// Asks for a sweep. The same request under the same id is one sweep.
///
/// # Errors
/// As [`submit`]; 422 also for a grid that is empty or too large.
pub(crate) async fn submit_sweep(ports: &Ports, body: Value) -> Result<Ordered, Problem> {
    let (id, request) = wish::sweep(body)?;
    let Submitted { id, known, event } = ports.jobs.submit_sweep(&id, &request, now()).await.map_err(refused)?;
    if !known {
        ports.emitter.emit(&[traced(event)?]).await?;
    }
    let href = format!("/sweeps/{id}");
    Ok(Ordered { id, state: "requested".to_owned(), created: !known, failure: None, href })
}

/// Asks for a job with this request.
///
/// # Errors
/// As [`submit`].
async fn ask(ports: &Ports, id: &str, request: &TrainRequested) -> Result<Ordered, Problem> {
    let submitted = ports.jobs.submit(id, request, now()).await.map_err(refused)?;
    asked(ports, submitted).await
}

/// Says a job's request, unless the log has it.
async fn asked(ports: &Ports, submitted: Submitted) -> Result<Ordered, Problem> {
    let Submitted { id, known, event } = submitted;
    if !known {
        ports.emitter.emit(&[traced(event)?]).await?;
    }
    let job = look(ports, &id, |job| job.state != JobState::Unknown).await?;
    Ok(Ordered::of(&id, &job, !known))
}

/// The event as the first of a trace of its own.
fn traced(event: CloudEvent) -> Result<CloudEvent, Problem> {
    let (trace, span) = (Uuid::new_v4().as_u128(), Uuid::new_v4().as_u64_pair().1);
    Ok(regrove_jobs::traced(event, trace, span)?)
}

/// The job as soon as it is as wanted, or as it is after [`SEEN_WITHIN`].
async fn look(ports: &Ports, id: &str, wanted: impl Fn(&Job) -> bool) -> Result<Job, Problem> {
    let until = tokio::time::Instant::now() + SEEN_WITHIN;
    loop {
        let head = ports.control.log.head().await?;
        let job = job::replay(&ports.control.log.read(&job_stream(id), 0).await?);
        let left = until.saturating_duration_since(tokio::time::Instant::now());
        if wanted(&job) || left.is_zero() {
            return Ok(job);
        }
        ports.control.log.wait(head, left).await?;
    }
}

/// Asks a job to stop.
///
/// # Errors
/// 404 for an unknown job, 409 for one that has ended.
pub(crate) async fn stop(ports: &Ports, id: &str, reason: Option<String>) -> Result<Ordered, Problem> {
    let reason = reason.filter(|reason| !reason.trim().is_empty());
    let wish = ports.jobs.stop(id, reason, now()).await.map_err(refused)?;
    ports.emitter.emit(&[wish]).await?;
    // A sweep has no state of its own: its trials have.
    let job = look(ports, id, |job| job.state.is_terminal() || job.state == JobState::Unknown).await?;
    let mut ordered = Ordered::of(id, &job, false);
    if !job.state.is_terminal() {
        "stopping".clone_into(&mut ordered.state);
    }
    Ok(ordered)
}

/// Asks once more for a job that failed or was cancelled: under `ID.retry-N`, unless another id is given.
///
/// # Errors
/// 404 for an unknown job, 409 for one that is at work or has succeeded, or under an id that is taken.
pub(crate) async fn retry(ports: &Ports, id: &str, new_id: Option<String>) -> Result<Ordered, Problem> {
    let submitted = ports.jobs.retry(id, now()).await.map_err(refused)?;
    match new_id.filter(|new_id| !new_id.is_empty()) {
        None => asked(ports, submitted).await,
        Some(new_id) => match Event::read(&submitted.event)? {
            Event::TrainRequested(request) => ask(ports, &new_id, &request).await,
            _ => Err(refused(regrove_jobs::Error::NoRequest { id: id.to_owned() })),
        },
    }
}

/// Says a job's events to the broker again, in the order of the log; with `waiting` only those whose answer is missing. Functions find in the log what they have done and
/// repeat it, so nothing is trained twice; what was lost on the way, in MLflow for instance, is made good.
///
/// # Errors
/// 404 for an unknown job; 503 when the broker does not take an event: those before it were taken.
pub(crate) async fn replay(ports: &Ports, id: &str, dry_run: bool, waiting: bool) -> Result<Replayed, Problem> {
    check_id(id)?;
    let said = if waiting { ports.jobs.waiting_for(id).await } else { ports.jobs.history(id).await };
    let said = said.map_err(refused)?;
    if !dry_run {
        ports.emitter.emit(&said).await?;
    }
    let events = said.iter().map(|event| event.id().to_owned()).collect();
    Ok(Replayed { id: id.to_owned(), dry_run, events })
}

/// Has `load-model` move a model's serving pointer. The version is a number, `latest`, or `previous`.
///
/// # Errors
/// What `load-model` refuses; 409 when there is no version before.
pub(crate) async fn load(ports: &Ports, name: &str, order: &LoadOrder) -> Result<Value, Problem> {
    let mut body = json!({"name": name, "actor": ACTOR, "reason": order.reason});
    let path = if order.version == PREVIOUS {
        check_previous(ports, name).await?;
        "/model/rollback"
    } else {
        body["version"] = json!(order.version);
        "/model/load"
    };
    let answer = ports.functions.call("load-model", Method::POST, path, Some(&body)).await?;
    passed_on("load-model", answer)
}

/// Has `load-model` say what stands beside the served version.
///
/// # Errors
/// 422 for a canary without a share or a share without a canary; what `load-model` refuses.
pub(crate) async fn traffic(ports: &Ports, name: &str, order: &TrafficOrder) -> Result<Value, Problem> {
    let canary = match (&order.canary, order.percent) {
        (Some(version), Some(percent)) => Some(json!({"version": version, "percent": percent})),
        (None, None) => None,
        (Some(_), None) => return Err(invalid("`percent` is missing: the canary's share, 1 to 100")),
        (None, Some(_)) => return Err(invalid("`canary` is missing: the version whose share `percent` is")),
    };
    let shadow = order.shadow.as_ref().map(|version| json!({"version": version}));
    let mut body = json!({"name": name, "actor": ACTOR, "reason": order.reason});
    if let Value::Object(members) = &mut body {
        members.extend(canary.map(|canary| ("canary".to_owned(), canary)));
        members.extend(shadow.map(|shadow| ("shadow".to_owned(), shadow)));
    }
    let answer = ports.functions.call("load-model", Method::POST, "/model/traffic", Some(&body)).await?;
    passed_on("load-model", answer)
}

/// A rollback needs a version to go back to.
async fn check_previous(ports: &Ports, name: &str) -> Result<(), Problem> {
    let lists = ports.index.lists().await?;
    let before = lists.serving.get(name).and_then(regrove_events::Serving::before);
    before.map(|_| ()).ok_or_else(|| {
        let detail = format!("model `{name}` has served no version before this one");
        Problem::new("no-version-before", StatusCode::CONFLICT, detail)
    })
}

/// Has `predict` answer one row or many: `{"features": [[…]]}`.
///
/// # Errors
/// What `predict` refuses.
pub(crate) async fn predict(ports: &Ports, name: &str, body: &Value) -> Result<Value, Problem> {
    model_name::check(name).map_err(|error| invalid(&error.to_string()))?;
    let path = format!("/models/{}/predict", model_name::segment(name));
    let answer = ports.functions.call("predict", Method::POST, &path, Some(body)).await?;
    passed_on("predict", answer)
}

/// Another function's answer, or its refusal under its own status.
fn passed_on(function: &str, answer: crate::ports::Answer) -> Result<Value, Problem> {
    if answer.status.is_success() {
        return Ok(answer.body);
    }
    let detail = format!("{function}: {}", answer.detail());
    let mut problem = Problem::new("function-refused", answer.status, detail).with("function", function);
    if let Some(kind) = answer.body.get("type") {
        problem = problem.with("cause", kind.clone());
    }
    Err(problem)
}

/// A request that is none.
pub(crate) fn invalid(detail: &str) -> Problem {
    Problem::new("invalid-request", StatusCode::UNPROCESSABLE_ENTITY, detail)
}
