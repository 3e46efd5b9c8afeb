//! What has to be true of everything that jobs and sweeps are asked for with. The fuzz target and the test that reads its kept corpus
//! share it.

use regrove_console::wish;
use regrove_events::event::check_subject;
use regrove_events::sweep::TRIALS_MAX;
use regrove_events::{Event, json};
use serde_json::Value;

/// Reads the body as a job's and as a sweep's, and tells how many of them it was. What is asked for, and each trial of a sweep, is an
/// event that is read as the same.
///
/// # Panics
/// When a wish breaks a promise.
pub(crate) fn wishes(body: &[u8]) -> usize {
    let Ok(body) = json::read::<Value>(body) else { return 0 };
    let job = wish::job(body.clone()).ok();
    let sweep = wish::sweep(body).ok();
    if let Some((id, request)) = &job {
        said(id, &Event::TrainRequested(request.clone()));
    }
    if let Some((id, request)) = &sweep {
        said(id, &Event::SweepRequested(request.clone()));
        let trials = request.trials(id).unwrap_or_default();
        assert!(trials.len() as u64 <= TRIALS_MAX, "{} trials", trials.len());
        for trial in trials {
            check_subject(&trial.job).expect("a trial's id can be a job's");
            said(&trial.job, &Event::TrainRequested(trial.request));
        }
    }
    usize::from(job.is_some()) + usize::from(sweep.is_some())
}

/// The event with the job's id as its subject, unless no job can have it.
fn said(id: &str, event: &Event) {
    if check_subject(id).is_err() {
        return;
    }
    let at = "2026-11-27T08:00:00Z".parse().expect("a time");
    let sent = event.first(&format!("{id}/request"), "/test", id, at).expect("a wish can be recorded");
    assert_eq!(Event::read(&sent).as_ref(), Ok(event));
}
