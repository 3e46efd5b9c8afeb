//! A train request opens a job.

use regrove_events::event::{Dataset, TrainRequested};
use regrove_events::log::{self, ATTEMPTS_MAX, Version, job_stream};
use regrove_events::{Cause, CloudEvent, Event, ids, job};
use regrove_host::{Problem, now};

use crate::dataset::{self, Refused};
use crate::decide::{self, Opening};
use crate::plan::{self, Plan};
use crate::{FUNCTION, Ports, rounds};

/// Opens a job, or finds it open. Returns what is to be said.
pub(crate) async fn open(
    ports: &Ports,
    job: &str,
    received: &CloudEvent,
    request: &TrainRequested,
) -> Result<Vec<CloudEvent>, Problem> {
    let stream = job_stream(job);
    let mut planned: Option<Vec<CloudEvent>> = None;
    for _ in 0..ATTEMPTS_MAX {
        let history = ports.control.log.read(&stream, 0).await?;
        let say = match decide::open(&job::replay(&history), &history, received) {
            Opening::Repeat(events) => return Ok(events),
            Opening::Taken => return Err(taken(job)),
            Opening::Keep => Vec::new(),
            Opening::Plan => match &planned {
                Some(events) => events.clone(),
                None => planned.insert(plan_events(ports, job, received, request).await?).clone(),
            },
        };
        let facts: Vec<CloudEvent> = std::iter::once(received.clone()).chain(say.iter().cloned()).collect();
        match ports.control.log.append(&stream, history.len() as Version, &facts).await {
            Ok(_) => return Ok(say),
            Err(log::Error::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(log::Error::Contended { stream, attempts: ATTEMPTS_MAX }.into())
}

fn taken(job: &str) -> Problem {
    let detail = format!("job `{job}` exists with other parameters; choose another id (the event's subject)");
    Problem::new("job-id-taken", http::StatusCode::UNPROCESSABLE_ENTITY, detail).with("job", job)
}

/// The shard requests of a new job, or its failure.
async fn plan_events(
    ports: &Ports,
    job: &str,
    received: &CloudEvent,
    request: &TrainRequested,
) -> Result<Vec<CloudEvent>, Problem> {
    let cause = Cause { function: FUNCTION, event: received, at: now() };
    let Plan { data, cut, params } = match plan::check(request, &ports.data).await {
        Ok(plan) => plan,
        Err(Refused::Later(problem)) => return Err(problem),
        Err(Refused::Final(failure)) => {
            return Ok(vec![Event::JobFailed(failure).caused_by(&cause, &ids::job_failed(job), job)?]);
        }
    };
    let labels = data.classes.iter().map(|(label, _)| dataset::label(label)).collect();
    let (n_samples, feature_names, categories) = (data.n_samples, data.feature_names.clone(), data.categories.clone());
    let (frame, cut_parts) = match cut {
        None => (dataset::store(data, &ports.control.artifacts).await?, Vec::new()),
        Some(cut) => (cut.frame.clone(), dataset::store_parts(cut, &ports.control.artifacts).await?),
    };
    for part in cut_parts.iter().filter(|part| !part.classes_missing.is_empty()) {
        tracing::warn!(job, part = part.index, missing = ?part.classes_missing, "a part of the rows lacks classes");
    }
    let dataset = Dataset {
        name: dataset::name(&request.dataset),
        uri: request.dataset.uri.clone(),
        target: request.dataset.target.clone(),
        n_samples,
        feature_names,
        classes: labels,
        categories,
        frame,
    };
    let shards = if cut_parts.is_empty() {
        let trees = rounds::first(request.early_stop.as_ref(), params.n_estimators);
        plan::round(request, trees, 0, &dataset)
    } else {
        plan::by_rows(request, &params, &dataset, cut_parts)
    };
    shards
        .into_iter()
        .map(|shard| {
            let id = ids::shard_requested(job, shard.shard, shard.attempt);
            Ok(Event::ShardRequested(shard).caused_by(&cause, &id, job)?)
        })
        .collect()
}
