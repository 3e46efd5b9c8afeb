//! The forest is put together when its last shard is in.

use regrove_events::event::{Dataset, JobFailed, ModelAggregated, ShardTrained};
use regrove_events::job::Shard;
use regrove_events::log::{append_once, job_stream};
use regrove_events::{Artifact, Cause, CloudEvent, Event, Job, ids, job};
use regrove_host::{Problem, now};
use tokio::runtime::Handle;

use crate::decide::{self, Completion};
use crate::failing::fail;
use crate::merge::{self, Merged, Rows, merge};
use crate::{FUNCTION, Ports};

/// Puts the forest together when the last shard is in. Returns what is to be said.
pub(crate) async fn complete(ports: &Ports, job: &str, received: &CloudEvent) -> Result<Vec<CloudEvent>, Problem> {
    let stream = job_stream(job);
    let history = ports.control.log.read(&stream, 0).await?;
    let state = job::replay(&history);
    let shards = match decide::complete(&state, &history, received) {
        Completion::Wait => return Ok(Vec::new()),
        Completion::Repeat(event) => return Ok(vec![*event]),
        Completion::Merge(shards) => shards,
    };
    let cause = Cause { function: FUNCTION, event: received, at: now() };
    match aggregate(ports, &state, &shards).await? {
        Ok(model) => {
            let event = Event::ModelAggregated(model).caused_by(&cause, &ids::model_aggregated(job), job)?;
            Ok(vec![append_once(&*ports.control.log, &stream, event).await?])
        }
        Err(failure) => Ok(vec![fail(ports, job, received, failure).await?]),
    }
}

/// Merges and evaluates. The inner error is final: the shards do not make a forest.
async fn aggregate(
    ports: &Ports,
    state: &Job,
    shards: &[ShardTrained],
) -> Result<Result<ModelAggregated, JobFailed>, Problem> {
    let (Some(dataset), Some(request)) = (state.dataset.clone(), state.request.clone()) else {
        return Ok(Err(failure("the job has shards but no data set".to_owned())));
    };
    let frames = frames(state, &dataset);
    let models = fetch(ports, shards.iter().map(|shard| &shard.model)).await?;
    let holdout = fetch(ports, shards.iter().filter_map(|shard| shard.holdout.as_ref())).await?;
    let (test_size, artifacts) = (request.test_size, ports.control.artifacts.clone());
    let merged = tokio::task::spawn_blocking(move || {
        let get = |artifact: &Artifact| Handle::current().block_on(artifacts.get(artifact));
        merge(&Rows { frames, get: &get }, models, holdout, test_size)
    })
    .await
    .map_err(|error| Problem::internal(&error))?;
    let merged: Merged = match merged {
        Ok(merged) => merged,
        Err(merge::Error::Store(error)) => return Err(error.into()),
        Err(merge::Error::Forest(error)) => return Ok(Err(failure(error.to_string()))),
    };
    Ok(Ok(ModelAggregated {
        dataset,
        params: request.forest_params(),
        n_estimators: merged.n_estimators,
        model: ports.control.artifacts.put(merged.native).await?,
        onnx: ports.control.artifacts.put(merged.onnx).await?,
        input_example: merged.input_example,
        output_example: Some(merged.output_example),
        metrics: merged.metrics,
        feature_importances: merged.feature_importances,
    }))
}

/// The frames with all rows: the whole one, or the parts that the shards learned from, in order.
fn frames(state: &Job, dataset: &Dataset) -> Vec<Artifact> {
    let part = |shard: &Shard| match Event::read(&shard.request) {
        Ok(Event::ShardRequested(request)) => request.part.map(|part| part.frame),
        _ => None,
    };
    let parts: Vec<Artifact> = state.shards.values().filter_map(part).collect();
    if parts.is_empty() { vec![dataset.frame.clone()] } else { parts }
}

fn failure(reason: String) -> JobFailed {
    JobFailed { step: FUNCTION.to_owned(), problem: "shards-do-not-fit".to_owned(), reason }
}

async fn fetch<'a>(ports: &Ports, artifacts: impl Iterator<Item = &'a Artifact>) -> Result<Vec<Vec<u8>>, Problem> {
    let mut all = Vec::new();
    for artifact in artifacts {
        all.push(ports.control.artifacts.get(artifact).await?.to_vec());
    }
    Ok(all)
}
