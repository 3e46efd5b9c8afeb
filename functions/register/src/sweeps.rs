//! A sweep in MLflow: a parent run, the trials' runs below it, and the best of them as a version.

use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use regrove_events::event::SweepCompleted;
use regrove_events::log::{job_stream, sweep_stream};
use regrove_events::sweep::{self, Sweep};
use regrove_events::{CloudEvent, Event, TrainRequested, ids, job};
use regrove_host::Problem;
use regrove_mlflow::{JobRun, Metric, Param, RunStatus, Tag};

use crate::decide::progress;
use crate::{LEASE_WAIT, Ports, register};

/// Tag of the parent run: the job of the best trial.
const BEST_TAG: &str = "regrove.best_job";

/// Tells MLflow what the log says of a sweep.
pub(crate) async fn tell(
    ports: &Ports,
    id: &str,
    received: &CloudEvent,
    meaning: &Event,
) -> Result<Option<CloudEvent>, Problem> {
    let Some(run_id) = ensure_run(ports, id).await? else {
        let detail = format!("the log does not know sweep `{id}` yet; aggregate has not opened it");
        return Err(
            Problem::new("job-not-open", StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(Duration::from_secs(1))
        );
    };
    let Event::SweepCompleted(_) = meaning else { return Ok(None) };
    let state = read(ports, id).await?;
    let Some(completed) = &state.completed else { return Ok(None) };
    let said = match &completed.best {
        Some(best) => Some(register_best(ports, &state, best, received).await?),
        None => None,
    };
    finish(ports, id, &run_id, &state, completed).await?;
    Ok(said)
}

async fn read(ports: &Ports, id: &str) -> Result<Sweep, Problem> {
    Ok(sweep::replay(&ports.control.log.read(&sweep_stream(id), 0).await?))
}

/// The parent run; `None` while the log does not know the sweep.
pub(crate) async fn ensure_run(ports: &Ports, id: &str) -> Result<Option<String>, Problem> {
    let state = read(ports, id).await?;
    let Some(request) = &state.request else { return Ok(None) };
    let grid = request.grid.iter().map(|(name, values)| {
        let values = serde_json::to_string(values).unwrap_or_default();
        Param::new(format!("sweep.{name}"), values)
    });
    let run = JobRun {
        experiment: request.train.experiment.clone(),
        job_id: id.to_owned(),
        run_name: id.to_owned(),
        user: "regrove".to_owned(),
        start_time_ms: state.requested_at.map_or(0, Timestamp::as_millisecond),
        params: grid.chain([Param::new("sweep.metric", request.metric())]).collect(),
        tags: Vec::new(),
        dataset: None,
    };
    // Many trials begin at once, and each of them needs the parent.
    let lease = format!("register/{id}");
    let made = ports
        .control
        .leases
        .with_lease(&lease, LEASE_WAIT, || async { Ok::<_, Problem>(ports.record.ensure_run(&run).await?) });
    Ok(Some(made.await?))
}

/// Makes the best trial a version, once; the alias is the sweep's.
async fn register_best(ports: &Ports, state: &Sweep, best: &str, received: &CloudEvent) -> Result<CloudEvent, Problem> {
    let history = ports.control.log.read(&job_stream(best), 0).await?;
    let id = ids::model_registered(best);
    if let Some(known) = history.iter().find(|event| event.id() == id) {
        return Ok(known.clone());
    }
    let trial = job::replay(&history);
    let (Some(request), Some(model), Some(sweep)) = (&trial.request, &trial.model, &state.request) else {
        return Err(Problem::internal(&std::io::Error::other(format!("the best trial `{best}` has no model"))));
    };
    let request = TrainRequested { model: sweep.train.model.clone(), ..request.clone() };
    let points = progress(&history, received);
    register(ports, best, received, &trial, &request, model.clone(), points).await
}

pub(crate) async fn finish(
    ports: &Ports,
    id: &str,
    run_id: &str,
    state: &Sweep,
    completed: &SweepCompleted,
) -> Result<(), Problem> {
    let at = state.ended_at.unwrap_or(Timestamp::UNIX_EPOCH).as_millisecond();
    let points: Vec<Metric> = (1_i64..)
        .zip(&completed.trials)
        .filter_map(|(step, trial)| Some(Metric::new("trial_score", trial.score?, at, step)))
        .collect();
    ports.record.log_metrics(run_id, &points).await?;
    let best = completed.best.as_ref().map(|best| Tag::new(BEST_TAG, best));
    let reason = completed.reason.as_ref().map(|reason| Tag::new("regrove.failure", reason));
    for tag in best.iter().chain(&reason) {
        ports.record.client().set_run_tag(run_id, tag).await?;
    }
    let refused = state.request.as_ref().is_some_and(|request| request.trials(id).is_err());
    let status = match &completed.best {
        Some(_) => RunStatus::Finished,
        // Stopped on request: nobody waited for the trials.
        None if completed.trials.is_empty() && !refused => RunStatus::Killed,
        None => RunStatus::Failed,
    };
    ports.record.finish_run(run_id, status, at).await?;
    Ok(())
}
