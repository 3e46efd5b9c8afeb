//! `aggregate` runs a job: it opens it, plans its shards, puts the forest together, and ends what cannot go on.
//!
//! | path | event | does | says |
//! | --- | --- | --- | --- |
//! | `/` | `train-requested` | reads and hashes the data set, plans shards | `shard-requested` × N, or `job-failed` |
//! | `/` | `shard-trained` | when the last one is in: merges, evaluates | `model-aggregated`, or `round-evaluated` and `shard-requested` × N |
//! | `/` | `train-cancelled` | ends the job, or the sweep and its trials | `job-cancelled`, `sweep-completed` |
//! | `/` | `sweep-requested` | asks for trials, a few at a time; picks the best | `train-requested`, `sweep-completed` |
//! | `/dead-letters` | any | fails the job when no retry could help, else takes note | `job-failed`, `delivery-failed` |
//! | `/tick` | the ping source's | asks again for what is overdue | `shard-requested`, `model-aggregated`, `job-failed` |

mod completing;
pub mod dataset;
mod dead_letter_line;
pub mod decide;
mod failing;
mod measure;
mod merge;
mod opening;
pub mod plan;
pub mod rounds;
pub mod sweeping;
mod ticking;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use http::StatusCode;
use regrove_events::{CloudEvent, Event, event};
use regrove_host::{Emitter, Problem, Received};
use regrove_store::Control;

use crate::dataset::DataAccess;

pub use crate::dead_letter_line::DeadLetterLine;

/// This function's name, as it stands in the source of its events.
pub const FUNCTION: &str = "aggregate";

/// What this function reaches for.
#[derive(Debug)]
pub struct Ports {
    /// Event log and artifacts.
    pub control: Control,
    /// Where events go.
    pub emitter: Emitter,
    /// What may be read.
    pub data: DataAccess,
}

/// The function as a service.
pub fn router(ports: Ports) -> Router {
    let ports = Arc::new(ports);
    let ticks = Router::new().route("/tick", post(tick)).with_state((Arc::clone(&ports), Arc::default()));
    Router::new().route("/", post(receive)).route("/dead-letters", post(dead_letter)).with_state(ports).merge(ticks)
}

async fn receive(State(ports): State<Arc<Ports>>, Received(received): Received) -> Result<StatusCode, Problem> {
    let meaning = Event::read(&received)?;
    let job = event::subject(&received)?.to_owned();
    let say = match meaning {
        Event::TrainRequested(request) => opening::open(&ports, &job, &received, &request).await?,
        Event::ShardTrained(_) => completing::complete(&ports, &job, &received).await?,
        Event::SweepRequested(request) => sweeping::open(&ports, &job, &received, &request).await?,
        Event::TrainCancelled(cancelled) => {
            match sweeping::cancel(&ports, &job, &received, cancelled.reason.as_ref()).await? {
                Some(say) => say,
                None => failing::cancel(&ports, &job, &received, cancelled.reason).await?,
            }
        }
        _ => return Err(regrove_events::Unreadable::UnknownType(received.ty().to_owned()).into()),
    };
    let say = sweeping::after_trial(&ports, &job, &received, say).await?;
    ports.emitter.emit(&say).await?;
    Ok(StatusCode::ACCEPTED)
}

async fn dead_letter(State(ports): State<Arc<Ports>>, Received(letter): Received) -> Result<StatusCode, Problem> {
    let mut say: Vec<CloudEvent> = failing::bury(&ports, &letter).await?;
    if let Ok(job) = event::subject(&letter) {
        say = sweeping::after_trial(&ports, job, &letter, say).await?;
    }
    ports.emitter.emit(&say).await?;
    Ok(StatusCode::ACCEPTED)
}

async fn tick(
    State((ports, ended)): State<(Arc<Ports>, Arc<ticking::Ended>)>,
    Received(tick): Received,
) -> Result<StatusCode, Problem> {
    ticking::tick(&ports, &ended, &tick).await?;
    sweeping::tick(&ports, &tick).await?;
    Ok(StatusCode::ACCEPTED)
}
