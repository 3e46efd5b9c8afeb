//! MLflow made again from the log: for a record that was lost, or for another one.
//!
//! The log says what each job came to; nothing is said to it. Safe to repeat: what MLflow has is left alone.

use regrove_events::log::{job_stream, sweep_stream};
use regrove_events::{JobState, job, sweep};
use regrove_host::Problem;
use regrove_mlflow::{ModelVersion, RunStatus};

use crate::{LEASE_WAIT, Ports, decide, end, ensure_run, ensure_version, evaluated, sweeps};

/// What MLflow has of a job.
#[derive(Debug, Clone)]
pub struct Rebuilt {
    /// Its run, which has the job's name and another id than before in a record that is new.
    pub run_id: String,
    /// Its version, if it made one.
    pub version: Option<ModelVersion>,
}

/// Makes what the log says of a job; `None` for a job that was refused before it was one. The forest of a job that made a
/// version must be among the artifacts.
///
/// # Errors
/// What the log, MLflow or the artifacts say.
pub async fn job(ports: &Ports, job_id: &str) -> Result<Option<Rebuilt>, Problem> {
    let lease = format!("register/{job_id}");
    ports.control.leases.with_lease(&lease, LEASE_WAIT, || of_job(ports, job_id)).await
}

async fn of_job(ports: &Ports, job_id: &str) -> Result<Option<Rebuilt>, Problem> {
    let history = ports.control.log.read(&job_stream(job_id), 0).await?;
    let state = job::replay(&history);
    let (Some(request), Some(last)) = (&state.request, history.last()) else { return Ok(None) };
    let points = decide::progress(&history, last);
    if let (Some(model), Some(registered)) = (&state.model, &state.registered) {
        let mut request = request.clone();
        // The best trial of a sweep was registered under the sweep's name and alias.
        request.model.name = Some(registered.name.clone());
        request.model.alias.clone_from(&registered.alias);
        let (run_id, version) = ensure_version(ports, job_id, &state, &request, model.clone(), points).await?;
        return Ok(Some(Rebuilt { run_id, version: Some(version) }));
    }
    if let (JobState::Succeeded, Some(model)) = (state.state, &state.model) {
        let run_id = evaluated(ports, job_id, &state, request, model, points).await?;
        return Ok(Some(Rebuilt { run_id, version: None }));
    }
    let run_id = ensure_run(ports, job_id, &state, request).await?;
    ports.record.log_metrics(&run_id, &points).await?;
    match state.state {
        JobState::Failed => end(ports, job_id, &state, request, RunStatus::Failed, state.failure.clone()).await?,
        JobState::Cancelled => end(ports, job_id, &state, request, RunStatus::Killed, None).await?,
        _ => {}
    }
    Ok(Some(Rebuilt { run_id, version: None }))
}

/// Makes the run of a sweep, to its end if it has one. Its trials are jobs, and go first.
///
/// # Errors
/// What the log or MLflow say.
pub async fn sweep(ports: &Ports, id: &str) -> Result<Option<String>, Problem> {
    let Some(run_id) = sweeps::ensure_run(ports, id).await? else { return Ok(None) };
    let state = sweep::replay(&ports.control.log.read(&sweep_stream(id), 0).await?);
    if let Some(completed) = &state.completed {
        sweeps::finish(ports, id, &run_id, &state, completed).await?;
    }
    Ok(Some(run_id))
}
