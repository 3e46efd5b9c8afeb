//! `register` keeps MLflow true to the log: one run and one model version per job, whatever happens.
//!
//! | event | MLflow |
//! | --- | --- |
//! | `train-requested` | the run opens, with its parameters |
//! | `shard-trained` | the data set, and points of the progress curves |
//! | `model-aggregated` | metrics, model, version, alias; the run is FINISHED. Says `model-registered` |
//! | `job-failed`, `job-cancelled` | the run is FAILED or KILLED |
//! | `sweep-requested` | the parent run of the trials opens |
//! | `sweep-completed` | the best trial becomes a version, with the alias; the parent run ends. Says `model-registered` |

pub mod decide;
pub mod describe;
pub mod rebuild;
mod sweeps;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use http::StatusCode;
use jiff::Timestamp;
use regrove_events::event::{JobFailed, ModelAggregated, ModelRegistered, TrainRequested};
use regrove_events::log::{append_once, job_stream};
use regrove_events::{Cause, CloudEvent, Event, Job, event, ids, job};
use regrove_host::{Emitter, Problem, Received, now};
use regrove_mlflow::{Metric, ModelVersion, ModelVersionRequest, Record, RunStatus, Tag};
use regrove_store::Control;

use crate::decide::{Decision, decide};

/// This function's name, as it stands in the source of its events.
pub const FUNCTION: &str = "register";

/// How long to wait for `aggregate` to record a request that both were sent at the same time.
const OPENING_WAIT: Duration = Duration::from_secs(3);
/// How long to wait for another replica that works on the same job.
const LEASE_WAIT: Duration = Duration::from_secs(20);

/// What this function reaches for.
#[derive(Debug)]
pub struct Ports {
    /// Event log, leases and artifacts.
    pub control: Control,
    /// Where events go.
    pub emitter: Emitter,
    /// MLflow.
    pub record: Record,
}

/// The function as a service.
pub fn router(ports: Ports) -> Router {
    Router::new().route("/", post(receive)).with_state(Arc::new(ports))
}

async fn receive(State(ports): State<Arc<Ports>>, Received(received): Received) -> Result<StatusCode, Problem> {
    let meaning = Event::read(&received)?;
    let job = event::subject(&received)?.to_owned();
    let say = handle(&ports, &job, &received, &meaning).await?;
    ports.emitter.emit(say.as_slice()).await?;
    Ok(StatusCode::ACCEPTED)
}

async fn handle(
    ports: &Ports,
    job_id: &str,
    received: &CloudEvent,
    meaning: &Event,
) -> Result<Option<CloudEvent>, Problem> {
    if let Event::SweepRequested(_) | Event::SweepCompleted(_) = meaning {
        return sweeps::tell(ports, job_id, received, meaning).await;
    }
    await_opening(ports, job_id, received, meaning).await?;
    // Two replicas that look for the same run at the same time would both find none.
    let lease = format!("register/{job_id}");
    ports.control.leases.with_lease(&lease, LEASE_WAIT, || tell(ports, job_id, received, meaning)).await
}

/// Tells MLflow what the log says, one event of a job at a time.
async fn tell(
    ports: &Ports,
    job_id: &str,
    received: &CloudEvent,
    meaning: &Event,
) -> Result<Option<CloudEvent>, Problem> {
    let history = ports.control.log.read(&job_stream(job_id), 0).await?;
    let state = job::replay(&history);
    let Some(request) = &state.request else { return Ok(None) };
    match decide(job_id, &state, &history, received, meaning) {
        Decision::Await | Decision::Nothing => {}
        Decision::Repeat(known) => return Ok(Some(*known)),
        Decision::Open => {
            ensure_run(ports, job_id, &state, request).await?;
        }
        Decision::Progress(points) => {
            let run_id = ensure_run(ports, job_id, &state, request).await?;
            ports.record.log_metrics(&run_id, &points).await?;
        }
        Decision::Evaluated(model) => {
            evaluated(ports, job_id, &state, request, &model, decide::progress(&history, received)).await?;
        }
        Decision::End(status, failure) => end(ports, job_id, &state, request, status, failure).await?,
        Decision::Register(model) => {
            // The whole forest may be heard of before its last shards, whose points would come too late.
            let points = decide::progress(&history, received);
            return register(ports, job_id, received, &state, request, *model, points).await.map(Some);
        }
    }
    Ok(None)
}

/// The run of a job; that of a trial lies below its sweep's.
async fn ensure_run(ports: &Ports, job_id: &str, state: &Job, request: &TrainRequested) -> Result<String, Problem> {
    let mut run = describe::run(job_id, state, request);
    if let Some(trial) = &request.sweep {
        let parent = sweeps::ensure_run(ports, &trial.id).await?;
        run.tags.extend(parent.map(|parent| Tag::new("mlflow.parentRunId", parent)));
    }
    Ok(ports.record.ensure_run(&run).await?)
}

/// `aggregate` and this function get a train request at the same time; the log has to know the job first.
async fn await_opening(ports: &Ports, job_id: &str, received: &CloudEvent, meaning: &Event) -> Result<(), Problem> {
    let until = tokio::time::Instant::now() + OPENING_WAIT;
    loop {
        let head = ports.control.log.head().await?;
        let history = ports.control.log.read(&job_stream(job_id), 0).await?;
        let decision = decide(job_id, &job::replay(&history), &history, received, meaning);
        if decision != Decision::Await {
            return Ok(());
        }
        let left = until.saturating_duration_since(tokio::time::Instant::now());
        if left.is_zero() {
            let detail = format!("the log does not know job `{job_id}` yet; aggregate has not opened it");
            return Err(Problem::new("job-not-open", StatusCode::SERVICE_UNAVAILABLE, detail)
                .retry_after(Duration::from_secs(1)));
        }
        ports.control.log.wait(head, left).await?;
    }
}

/// The run of a trial that was measured, to its end.
async fn evaluated(
    ports: &Ports,
    job_id: &str,
    state: &Job,
    request: &TrainRequested,
    model: &ModelAggregated,
    mut points: Vec<Metric>,
) -> Result<String, Problem> {
    let run_id = ensure_run(ports, job_id, state, request).await?;
    let at = state.aggregated_at.unwrap_or(Timestamp::UNIX_EPOCH).as_millisecond();
    points.extend(decide::final_metrics(request, model, at));
    ports.record.log_metrics(&run_id, &points).await?;
    ports.record.finish_run(&run_id, RunStatus::Finished, at).await?;
    Ok(run_id)
}

async fn register(
    ports: &Ports,
    job_id: &str,
    received: &CloudEvent,
    state: &Job,
    request: &TrainRequested,
    model: ModelAggregated,
    metrics: Vec<Metric>,
) -> Result<CloudEvent, Problem> {
    let artifact = model.model.clone();
    let (run_id, version) = ensure_version(ports, job_id, state, request, model, metrics).await?;
    let registered = ModelRegistered {
        job: job_id.to_owned(),
        uri: version.uri(),
        name: version.name,
        version: version.version.to_string(),
        run_id,
        model: artifact,
        alias: request.model.alias.clone(),
    };
    tracing::info!(job = job_id, name = registered.name, version = registered.version, "registered");
    let cause = Cause { function: FUNCTION, event: received, at: now() };
    let fact = Event::ModelRegistered(registered).caused_by(&cause, &ids::model_registered(job_id), job_id)?;
    Ok(append_once(&*ports.control.log, &job_stream(job_id), fact).await?)
}

/// The version of a job and the run that made it, to its end.
async fn ensure_version(
    ports: &Ports,
    job_id: &str,
    state: &Job,
    request: &TrainRequested,
    model: ModelAggregated,
    mut metrics: Vec<Metric>,
) -> Result<(String, ModelVersion), Problem> {
    let at = state.aggregated_at.unwrap_or(Timestamp::UNIX_EPOCH);
    let run_id = ensure_run(ports, job_id, state, request).await?;
    metrics.extend(decide::final_metrics(request, &model, at.as_millisecond()));
    ports.record.log_metrics(&run_id, &metrics).await?;
    let native = ports.control.artifacts.get(&model.model).await?;
    let onnx = ports.control.artifacts.get(&model.onnx).await?;
    let mlflow_version = ports.record.client().server_version().await?;
    let version = ports
        .record
        .ensure_model_version(&ModelVersionRequest {
            job_id: job_id.to_owned(),
            run_id: run_id.clone(),
            registered_name: request.model_name(),
            model: describe::model(&model, native, onnx, mlflow_version, at),
            params: describe::run(job_id, state, request).params,
            tags: describe::version_tags(&model),
            description: request.model.description.clone().unwrap_or_default(),
            alias: request.model.alias.clone(),
        })
        .await?;
    ports.record.finish_run(&run_id, RunStatus::Finished, at.as_millisecond()).await?;
    Ok((run_id, version))
}

async fn end(
    ports: &Ports,
    job_id: &str,
    state: &Job,
    request: &TrainRequested,
    status: RunStatus,
    failure: Option<JobFailed>,
) -> Result<(), Problem> {
    let mut tags = Vec::new();
    if let Some(failure) = failure {
        tags.push(Tag::new("regrove.failure", failure.reason));
        tags.push(Tag::new("regrove.failed_step", failure.step));
    }
    let run_id = ensure_run(ports, job_id, state, request).await?;
    for tag in &tags {
        ports.record.client().set_run_tag(&run_id, tag).await?;
    }
    let at = state.ended_at.unwrap_or(Timestamp::UNIX_EPOCH);
    ports.record.finish_run(&run_id, status, at.as_millisecond()).await?;
    Ok(())
}
