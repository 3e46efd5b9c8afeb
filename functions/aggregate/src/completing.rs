//! The forest is put together when its last shard is in.

use regrove_events::event::{
    Dataset, EarlyStop, JobFailed, ModelAggregated, RoundEvaluated, ShardTrained, TrainRequested, TreeRange,
};
use regrove_events::job::Shard;
use regrove_events::log::{append_decided, job_stream};
use regrove_events::{Artifact, Cause, CloudEvent, Event, Job, ids, job};
use regrove_host::{Problem, now};
use tokio::runtime::Handle;

use crate::decide::{self, Completion};
use crate::failing::fail;
use crate::merge::{self, Grown, Merged, Rows, merge, score};
use crate::rounds::{self, After};
use crate::{FUNCTION, Ports, plan};

/// Puts the forest together when the last shard is in, or asks for more trees. Returns what is to be said.
pub(crate) async fn complete(ports: &Ports, job: &str, received: &CloudEvent) -> Result<Vec<CloudEvent>, Problem> {
    let stream = job_stream(job);
    let history = ports.control.log.read(&stream, 0).await?;
    let state = job::replay(&history);
    let shards = match decide::complete(&state, &history, received) {
        Completion::Wait => return Ok(Vec::new()),
        Completion::Repeat(events) => return Ok(events),
        Completion::Merge(shards) => shards,
    };
    let facts = match aggregate(ports, job, &state, shards).await? {
        Ok(facts) => facts,
        Err(failure) => return Ok(vec![fail(ports, job, received, failure).await?]),
    };
    let cause = Cause { function: FUNCTION, event: received, at: now() };
    let events =
        facts.into_iter().map(|(id, fact)| fact.caused_by(&cause, &id, job)).collect::<Result<Vec<CloudEvent>, _>>()?;
    append_decided(&*ports.control.log, &stream, |history| {
        // Whoever was faster has said the same.
        Ok::<_, Problem>(match decide::complete(&job::replay(history), history, received) {
            Completion::Wait => (Vec::new(), Vec::new()),
            Completion::Repeat(events) => (Vec::new(), events),
            Completion::Merge(_) => (events.clone(), events.clone()),
        })
    })
    .await
}

/// What is known once all shards are in, each fact with its id: the forest, or its score and the shards of the next round.
type Facts = Vec<(String, Event)>;

/// Merges and evaluates. The inner error is final: the shards do not make a forest.
async fn aggregate(
    ports: &Ports,
    job: &str,
    state: &Job,
    shards: Vec<ShardTrained>,
) -> Result<Result<Facts, JobFailed>, Problem> {
    let (Some(dataset), Some(request)) = (state.dataset.clone(), state.request.clone()) else {
        return Ok(Err(failure("the job has shards but no data set".to_owned())));
    };
    let frames = frames(state, &dataset);
    let holdout = fetch(ports, shards.iter().filter_map(|shard| shard.holdout.as_ref())).await?;
    let shards = fetch(ports, shards.iter().map(|shard| &shard.model)).await?;
    let test_size = request.test_size;
    let (rounds, stop, trees) = (state.rounds.clone(), request.early_stop.clone(), state.trees_asked());
    let artifacts = ports.control.artifacts.clone();
    let outcome = tokio::task::spawn_blocking(move || {
        let get = |artifact: &Artifact| Handle::current().block_on(artifacts.get(artifact));
        let grown = Grown::read(shards, holdout, test_size)?;
        outcome(&Rows { frames, get: &get }, &grown, stop.as_ref(), rounds, trees)
    });
    let (round, outcome) = match outcome.await.map_err(|error| Problem::internal(&error))? {
        Ok(outcome) => outcome,
        Err(merge::Error::Store(error)) => return Err(error.into()),
        Err(merge::Error::Forest(error)) => return Ok(Err(failure(error.to_string()))),
    };
    let mut facts: Facts = Vec::new();
    facts.extend(round.map(|round| (ids::round_evaluated(job, round.trees), Event::RoundEvaluated(round))));
    match outcome {
        Outcome::Grow(trees) => {
            let before = u32::try_from(state.shards.len()).unwrap_or(u32::MAX);
            let next = plan::round(&request, trees, before, &dataset).into_iter();
            facts.extend(next.map(|shard| (ids::shard_requested(job, shard.shard, 1), Event::ShardRequested(shard))));
        }
        Outcome::Whole(merged) => {
            let model = store(ports, dataset, request, *merged).await?;
            facts.push((ids::model_aggregated(job), Event::ModelAggregated(model)));
        }
    }
    Ok(Ok(facts))
}

/// What has become of a forest whose shards are all in.
enum Outcome {
    /// More trees are to be grown.
    Grow(TreeRange),
    /// It is whole.
    Whole(Box<Merged>),
}

/// Scores a forest that may stop early, and puts together what is whole.
fn outcome(
    rows: &Rows<'_>,
    grown: &Grown,
    stop: Option<&EarlyStop>,
    mut rounds: Vec<RoundEvaluated>,
    trees: u32,
) -> Result<(Option<RoundEvaluated>, Outcome), merge::Error> {
    let Some(stop) = stop else { return Ok((None, Outcome::Whole(Box::new(merge(rows, grown, None)?)))) };
    let (metric, score) = score(rows, grown, trees, stop.metric.as_deref())?;
    let round = RoundEvaluated { trees, metric, score };
    rounds.push(round.clone());
    let outcome = match rounds::after(stop, &rounds, grown.n_estimators()) {
        After::Grow(trees) => Outcome::Grow(trees),
        After::Whole(trees) => Outcome::Whole(Box::new(merge(rows, grown, Some(trees))?)),
    };
    Ok((Some(round), outcome))
}

async fn store(
    ports: &Ports,
    dataset: Dataset,
    request: TrainRequested,
    merged: Merged,
) -> Result<ModelAggregated, Problem> {
    let mut params = request.forest_params();
    if request.early_stop.is_some() {
        params.insert("n_estimators".to_owned(), merged.n_estimators.into());
    }
    Ok(ModelAggregated {
        dataset,
        params,
        n_estimators: merged.n_estimators,
        model: ports.control.artifacts.put(merged.native).await?,
        onnx: ports.control.artifacts.put(merged.onnx).await?,
        input_example: merged.input_example,
        output_example: Some(merged.output_example),
        metrics: merged.metrics,
        feature_importances: merged.feature_importances,
        confusion_matrix: merged.confusion_matrix,
    })
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
