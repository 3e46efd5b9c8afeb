//! A job ends without a model: on request, or because nothing else can be done.

use regrove_events::event::JobFailed;
use regrove_events::log::{append_decided, append_once, job_stream};
use regrove_events::{Cause, CloudEvent, Event, TYPE_PREFIX, event, ids, job, names};
use regrove_host::{Problem, now};

use crate::decide::{self, Burial};
use crate::{DeadLetterLine, FUNCTION, Ports};

/// Ends a job on request, unless it has ended.
pub(crate) async fn cancel(
    ports: &Ports,
    job: &str,
    received: &CloudEvent,
    reason: Option<String>,
) -> Result<Vec<CloudEvent>, Problem> {
    let cause = Cause { function: FUNCTION, event: received, at: now() };
    append_decided(&*ports.control.log, &job_stream(job), |history| {
        Ok::<_, Problem>(match decide::cancel(&job::replay(history), history, reason.clone()) {
            Ok(cancelled) => {
                let event = cancelled.caused_by(&cause, &ids::job_cancelled(job), job)?;
                (vec![event.clone()], vec![event])
            }
            Err(known) => (Vec::new(), known),
        })
    })
    .await
}

/// Takes note of a dead letter in its job, which fails when no retry could have helped.
pub(crate) async fn bury(ports: &Ports, letter: &CloudEvent) -> Result<Vec<CloudEvent>, Problem> {
    // Letters about no job of ours (a model's name, a stranger's event) stay where they are: in the dead letters.
    let about_a_model = letter.ty().strip_prefix(TYPE_PREFIX) == Some(names::PREDICT_REQUESTED);
    DeadLetterLine::write(letter);
    let Some(job) = event::subject(letter).ok().filter(|_| !about_a_model) else { return Ok(Vec::new()) };
    let cause = Cause { function: FUNCTION, event: letter, at: now() };
    append_decided(&*ports.control.log, &job_stream(job), |history| {
        let (event, id) = match decide::bury(&job::replay(history), history, letter) {
            Some(Burial::Fails(failure)) => (Event::JobFailed(failure), ids::job_failed(job)),
            Some(Burial::Waits(note)) => {
                let id = ids::delivery_failed(&note.event, &note.step);
                (Event::DeliveryFailed(note), id)
            }
            None => return Ok((Vec::new(), decide::find(history, names::JOB_FAILED))),
        };
        // Delivered again, it is noted already.
        if let Some(known) = history.iter().find(|known| known.id() == id) {
            return Ok((Vec::new(), vec![known.clone()]));
        }
        let event = event.caused_by(&cause, &id, job)?;
        Ok::<_, Problem>((vec![event.clone()], vec![event]))
    })
    .await
}

/// Fails a job.
pub(crate) async fn fail(
    ports: &Ports,
    job: &str,
    received: &CloudEvent,
    failure: JobFailed,
) -> Result<CloudEvent, Problem> {
    let cause = Cause { function: FUNCTION, event: received, at: now() };
    let event = Event::JobFailed(failure).caused_by(&cause, &ids::job_failed(job), job)?;
    Ok(append_once(&*ports.control.log, &job_stream(job), event).await?)
}
