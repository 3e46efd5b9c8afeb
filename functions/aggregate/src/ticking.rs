//! What is overdue is asked for again.

use regrove_events::event::ShardRequested;
use regrove_events::log::{JOB_PREFIX, append_once, job_stream};
use regrove_events::{Cause, CloudEvent, Event, ids, job};
use regrove_host::{Problem, now};

use crate::completing::complete;
use crate::decide::{self, Overdue};
use crate::failing::fail;
use crate::{FUNCTION, Ports};

/// Looks at every open job and says again what is overdue. One job's trouble does not keep the others waiting.
pub(crate) async fn tick(ports: &Ports, received: &CloudEvent) -> Result<(), Problem> {
    let mut trouble = None;
    for stream in ports.control.log.streams(JOB_PREFIX).await? {
        let job = stream.strip_prefix(JOB_PREFIX).unwrap_or(&stream);
        if let Err(problem) = tick_job(ports, job, received).await {
            tracing::warn!(job, detail = %problem.detail, "tick failed");
            trouble.get_or_insert(problem);
        }
    }
    trouble.map_or(Ok(()), Err)
}

async fn tick_job(ports: &Ports, job: &str, received: &CloudEvent) -> Result<(), Problem> {
    let stream = job_stream(job);
    let history = ports.control.log.read(&stream, 0).await?;
    let state = job::replay(&history);
    let at = now();
    let say = match decide::overdue(&state, &history, at) {
        Overdue::Nothing => return Ok(()),
        Overdue::Registration(event) => vec![*event],
        Overdue::Merge => complete(ports, job, received).await?,
        Overdue::GiveUp(failure) => vec![fail(ports, job, received, failure).await?],
        Overdue::Shards(late) => {
            let cause = Cause { function: FUNCTION, event: received, at };
            let mut say = Vec::new();
            for (number, attempt) in late {
                let Some(Ok(Event::ShardRequested(last))) =
                    state.shards.get(&number).map(|shard| Event::read(&shard.request))
                else {
                    continue;
                };
                let again = Event::ShardRequested(ShardRequested { attempt, ..last });
                let event = again.caused_by(&cause, &ids::shard_requested(job, number, attempt), job)?;
                say.push(append_once(&*ports.control.log, &stream, event).await?);
            }
            say
        }
    };
    tracing::info!(job, events = say.len(), "overdue: asked again");
    ports.emitter.emit(&say).await?;
    Ok(())
}
