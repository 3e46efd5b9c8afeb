//! `train-shard` grows the trees `from..to` of a job's forest.
//!
//! A tree depends on the data set, the parameters, the job's seed and its index, and on nothing else: whoever grows it,
//! and however often, gets the same bytes. So a repeated request costs time at worst, and trees that an earlier job has
//! grown are taken from there ([`known`]).

pub mod decide;
pub mod known;
pub mod train;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use http::StatusCode;
use regrove_events::event::{ShardRequested, ShardTrained};
use regrove_events::log::{append_once, job_stream};
use regrove_events::{Cause, CloudEvent, Event, event, ids, job};
use regrove_host::{Emitter, Problem, Received, now};
use regrove_store::Control;

use crate::decide::{Decision, decide};
use crate::train::{Trained, train};

/// This function's name, as it stands in the source of its events.
pub const FUNCTION: &str = "train-shard";

/// Time between two looks at whether the job has ended meanwhile; the trees under way are what it takes longer to stop.
const ENDED_LOOK: Duration = Duration::from_millis(500);

/// What this function reaches for.
#[derive(Debug)]
pub struct Ports {
    /// Event log and artifacts.
    pub control: Control,
    /// Where events go.
    pub emitter: Emitter,
    /// This replica, as its platform names it.
    pub worker: Option<String>,
}

/// The function as a service.
pub fn router(ports: Ports) -> Router {
    Router::new().route("/", post(receive)).with_state(Arc::new(ports))
}

async fn receive(State(ports): State<Arc<Ports>>, Received(received): Received) -> Result<StatusCode, Problem> {
    let Event::ShardRequested(request) = Event::read(&received)? else {
        return Err(regrove_events::Unreadable::UnknownType(received.ty().to_owned()).into());
    };
    let job = event::subject(&received)?.to_owned();
    let say = handle(&ports, &job, &received, request).await?;
    ports.emitter.emit(say.as_slice()).await?;
    Ok(StatusCode::ACCEPTED)
}

async fn handle(
    ports: &Ports,
    job: &str,
    received: &CloudEvent,
    request: ShardRequested,
) -> Result<Option<CloudEvent>, Problem> {
    let stream = job_stream(job);
    let history = ports.control.log.read(&stream, 0).await?;
    match decide(job, &job::replay(&history), &history, &request) {
        Decision::Ignore => return Ok(None),
        Decision::Repeat(known) => return Ok(Some(*known)),
        Decision::Train => {}
    }
    let params = serde_json::from_value(request.params.clone().into()).map_err(|error| refused(&error))?;
    let rows = request.part.as_ref().map_or(&request.dataset.frame, |part| &part.frame);
    let frame = ports.control.artifacts.get(rows).await?;
    let started = Instant::now();
    let trees_stream = known::stream(&request, &params);
    let pieces = known::find(&ports.control, &trees_stream, &request).await?;
    let trees_reused = pieces.iter().map(|piece| piece.trees.to - piece.trees.from).sum();
    let work = request.clone();
    let cancel = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&cancel);
    let growing = tokio::task::spawn_blocking(move || train(frame.as_ref(), &work, &params, &pieces, &flag));
    let grown = tokio::select! {
        grown = growing => grown.map_err(|error| Problem::internal(&error))?,
        ended = ended(ports, job, history.len() as u64) => {
            // The nodes under way end by themselves; nobody waits for them.
            cancel.store(true, Ordering::Relaxed);
            tracing::info!(job, shard = request.shard, "stopped: the job has ended");
            return ended.map(|()| None);
        }
    };
    let Trained { model, holdout, n_nodes } = grown.map_err(|error| refused(&error))?;
    let seconds = started.elapsed().as_secs_f64();
    let model = ports.control.artifacts.put(model).await?;
    let holdout = match holdout {
        Some(bytes) => Some(ports.control.artifacts.put(bytes).await?),
        None => None,
    };
    let ShardRequested { shard, of, trees, .. } = request;
    let worker = ports.worker.clone();
    let trained = ShardTrained { shard, of, trees, model, holdout, n_nodes, seconds, worker, trees_reused };
    let cause = Cause { function: FUNCTION, event: received, at: now() };
    let fact = Event::ShardTrained(trained.clone()).caused_by(&cause, &ids::shard_trained(job, shard), job)?;
    tracing::info!(job, shard, of, trees_from = trees.from, trees_to = trees.to, trees_reused, seconds, "trained");
    let fact = append_once(&*ports.control.log, &stream, fact).await?;
    known::keep(&ports.control, &trees_stream, &fact, &trained).await?;
    Ok(Some(fact))
}

/// Returns when the job has ended. `version` is that of the history in which it had not.
async fn ended(ports: &Ports, job: &str, mut version: u64) -> Result<(), Problem> {
    let stream = job_stream(job);
    loop {
        tokio::time::sleep(ENDED_LOOK).await;
        let news = ports.control.log.read(&stream, version).await?;
        version += news.len() as u64;
        let is_end =
            |event: &CloudEvent| matches!(Event::read(event), Ok(Event::JobCancelled(_) | Event::JobFailed(_)));
        if news.iter().any(is_end) {
            return Ok(());
        }
    }
}

/// No attempt could do it: the dead letter ends the job.
fn refused(error: &dyn std::error::Error) -> Problem {
    Problem::new("shard-untrainable", StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
}
