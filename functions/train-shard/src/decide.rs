//! What a shard request means. Pure.

use regrove_events::event::ShardRequested;
use regrove_events::{CloudEvent, Job, JobState, ids};

/// What to do about a shard.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Grow it.
    Train,
    /// It has been grown: say so again, for the first time may have been lost.
    Repeat(Box<CloudEvent>),
    /// The job has ended, or never asked for this shard.
    Ignore,
}

/// Decides on a shard request from the job's history.
pub fn decide(subject: &str, job: &Job, history: &[CloudEvent], request: &ShardRequested) -> Decision {
    let id = ids::shard_trained(subject, request.shard);
    if job.state != JobState::Training {
        return Decision::Ignore;
    }
    if let Some(known) = history.iter().find(|event| event.id() == id) {
        return Decision::Repeat(Box::new(known.clone()));
    }
    match job.shards.get(&request.shard) {
        Some(shard) if shard.trees == request.trees => Decision::Train,
        _ => Decision::Ignore,
    }
}

#[cfg(test)]
mod tests {
    use regrove_events::{Event, job, json_format};

    use super::*;

    const JOB: &str = "reference-1";

    fn golden(name: &str) -> CloudEvent {
        let path = format!("{}/../../events/testdata/{name}.v1.json", env!("CARGO_MANIFEST_DIR"));
        json_format::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    fn decided(names: &[&str], change: impl FnOnce(&mut ShardRequested)) -> Decision {
        let history: Vec<CloudEvent> = names.iter().map(|name| golden(name)).collect();
        let Ok(Event::ShardRequested(mut request)) = Event::read(&golden("shard-requested")) else { panic!("golden") };
        change(&mut request);
        decide(JOB, &job::replay(&history), &history, &request)
    }

    #[test]
    fn a_shard_is_grown_while_its_job_wants_it() {
        let asked = ["train-requested", "shard-requested"];
        assert_eq!(decided(&asked, |_| ()), Decision::Train);
        assert_eq!(decided(&asked, |request| request.attempt = 2), Decision::Train, "asked for again");
        assert_eq!(decided(&[], |_| ()), Decision::Ignore, "no such job");
        assert_eq!(decided(&asked, |request| request.shard = 3), Decision::Ignore, "no such shard");
        assert_eq!(decided(&asked, |request| request.trees.to += 1), Decision::Ignore, "other trees");
        assert_eq!(decided(&["train-requested", "shard-requested", "job-cancelled"], |_| ()), Decision::Ignore);
    }

    #[test]
    fn a_grown_shard_is_said_again() {
        let Ok(Event::ShardTrained(trained)) = Event::read(&golden("shard-trained")) else { panic!("golden") };
        let at = golden("shard-trained").time().unwrap();
        let known = Event::ShardTrained(trained).first(&ids::shard_trained(JOB, 1), "/test", JOB, at).unwrap();
        let history = [golden("train-requested"), golden("shard-requested"), known.clone()];
        let Ok(Event::ShardRequested(request)) = Event::read(&golden("shard-requested")) else { panic!("golden") };
        assert_eq!(decide(JOB, &job::replay(&history), &history, &request), Decision::Repeat(Box::new(known)));
    }
}
