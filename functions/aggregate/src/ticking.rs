//! What is overdue is asked for again.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use regrove_events::event::ShardRequested;
use regrove_events::log::{JOB_PREFIX, append_once, job_stream};
use regrove_events::{Cause, CloudEvent, Event, ids, job};
use regrove_host::{Problem, TRACE_LINK, now};

use crate::completing::complete;
use crate::decide::{self, Overdue};
use crate::failing::fail;
use crate::{FUNCTION, Ports};

/// Streams of jobs that have ended, as far as this process has seen. An end is final, so none of them is read again: a tick
/// costs what the open jobs cost. A new process reads each once.
#[derive(Debug, Default)]
pub(crate) struct Ended(Mutex<HashSet<String>>);

impl Ended {
    /// Those of the streams that have not ended. What is no longer in the log is forgotten.
    fn leave_out(&self, streams: Vec<String>) -> Vec<String> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (ended, open): (Vec<_>, Vec<_>) = streams.into_iter().partition(|stream| known.contains(stream));
        *known = ended.into_iter().collect();
        open
    }

    fn add(&self, stream: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(stream);
    }
}

/// Looks at every open job and says again what is overdue. One job's trouble does not keep the others waiting.
pub(crate) async fn tick(ports: &Ports, ended: &Ended, received: &CloudEvent) -> Result<(), Problem> {
    let mut trouble = None;
    for stream in ended.leave_out(ports.control.log.streams(JOB_PREFIX).await?) {
        let job = stream.strip_prefix(JOB_PREFIX).unwrap_or(&stream).to_owned();
        match tick_job(ports, &job, received).await {
            Ok(true) => ended.add(stream),
            Ok(false) => {}
            Err(problem) => {
                tracing::warn!(job, detail = %problem.detail, "tick failed");
                trouble.get_or_insert(problem);
            }
        }
    }
    trouble.map_or(Ok(()), Err)
}

/// Looks at one job; `true` when it has ended.
async fn tick_job(ports: &Ports, job: &str, received: &CloudEvent) -> Result<bool, Problem> {
    let stream = job_stream(job);
    let history = ports.control.log.read(&stream, 0).await?;
    let state = job::replay(&history);
    let at = now();
    let say = match decide::overdue(&state, &history, at) {
        Overdue::Nothing => return Ok(state.state.is_terminal()),
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
                let mut event = again.caused_by(&cause, &ids::shard_requested(job, number, attempt), job)?;
                stay_in_trace(&mut event, state.shards.get(&number).map(|shard| &shard.request))?;
                say.push(append_once(&*ports.control.log, &stream, event).await?);
            }
            say
        }
    };
    tracing::info!(job, events = say.len(), "overdue: asked again");
    ports.emitter.emit(&say).await?;
    Ok(false)
}

/// An event that is sent again belongs to the trace of the one before it; the tick because of which it is sent is linked.
fn stay_in_trace(event: &mut CloudEvent, before: Option<&CloudEvent>) -> Result<(), Problem> {
    let Some(parent) = before.and_then(|before| before.extension("traceparent")).cloned() else { return Ok(()) };
    if let Some(tick) = event.extension("traceparent").cloned() {
        event.set_extension(TRACE_LINK, tick)?;
    }
    Ok(event.set_extension("traceparent", parent)?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use async_trait::async_trait;
    use regrove_data::{Limits, Policy};
    use regrove_events::event::{DatasetRequest, JobCancelled, TrainRequested};
    use regrove_events::log::{Entry, Error, EventLog, Position, Version};
    use regrove_host::Emitter;
    use regrove_store::Control;

    use super::*;
    use crate::dataset::DataAccess;

    /// A log that remembers which streams were read.
    #[derive(Debug)]
    struct Watched {
        log: Arc<dyn EventLog>,
        read: Mutex<Vec<String>>,
    }

    #[async_trait]
    impl EventLog for Watched {
        async fn append(&self, stream: &str, expected: Version, events: &[CloudEvent]) -> Result<Version, Error> {
            self.log.append(stream, expected, events).await
        }

        async fn read(&self, stream: &str, after: Version) -> Result<Vec<CloudEvent>, Error> {
            self.read.lock().unwrap().push(stream.to_owned());
            self.log.read(stream, after).await
        }

        async fn streams(&self, prefix: &str) -> Result<Vec<String>, Error> {
            self.log.streams(prefix).await
        }

        async fn tail(&self, after: Position, limit: usize) -> Result<Vec<Entry>, Error> {
            self.log.tail(after, limit).await
        }

        async fn head(&self) -> Result<Position, Error> {
            self.log.head().await
        }

        async fn wait(&self, after: Position, timeout: Duration) -> Result<bool, Error> {
            self.log.wait(after, timeout).await
        }
    }

    fn wish(job: &str) -> CloudEvent {
        let request = TrainRequested::new(DatasetRequest::new("synthetic:x", "target"));
        let at = "2026-11-23T08:00:00Z".parse().unwrap();
        Event::TrainRequested(request).first(&format!("{job}/request"), "/test", job, at).unwrap()
    }

    #[tokio::test]
    async fn a_job_that_has_ended_is_read_once() {
        let home = tempfile::tempdir().unwrap();
        let mut control = Control::embedded(home.path());
        let watched = Arc::new(Watched { log: Arc::clone(&control.log), read: Mutex::default() });
        control.log = Arc::clone(&watched) as Arc<dyn EventLog>;
        let data = DataAccess {
            policy: Policy::for_events(None, None).unwrap(),
            limits: Limits::default(),
            spool: home.path().to_owned(),
            frame_bytes_max: 1 << 20,
        };
        let ports = Ports { control, emitter: Emitter::new(None), data };
        let (open, over) = (wish("open"), wish("over"));
        let cause = Cause { function: FUNCTION, event: &over, at: now() };
        let end = Event::JobCancelled(JobCancelled::default());
        let end = end.caused_by(&cause, &ids::job_cancelled("over"), "over").unwrap();
        ports.control.log.append(&job_stream("open"), 0, &[open]).await.unwrap();
        ports.control.log.append(&job_stream("over"), 0, &[over, end]).await.unwrap();
        let ended = Ended::default();
        for _ in 0..3 {
            tick(&ports, &ended, &wish("tick")).await.unwrap();
        }
        let read = watched.read.lock().unwrap().clone();
        assert_eq!(read, ["job/open", "job/over", "job/open", "job/open"]);
    }

    #[test]
    fn what_is_no_longer_in_the_log_is_forgotten() {
        let ended = Ended::default();
        ended.add("job/a".to_owned());
        ended.add("job/b".to_owned());
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(ended.leave_out(names(&["job/a", "job/c"])), ["job/c"]);
        assert_eq!(ended.leave_out(names(&["job/a", "job/b"])), ["job/b"], "a new job by an old name is read");
    }

    #[test]
    fn a_shard_that_is_asked_for_again_stays_in_its_jobs_trace() {
        let event = |trace: Option<&str>| {
            let at = "2026-11-27T08:00:00Z".parse().unwrap();
            let wish = Event::TrainCancelled(regrove_events::TrainCancelled::default());
            let mut event = wish.first("a", "/test", "job", at).unwrap();
            if let Some(trace) = trace {
                event.set_extension("traceparent", trace.to_owned()).unwrap();
            }
            event
        };
        let text = |event: &CloudEvent, name: &str| event.attribute(name).map(std::borrow::Cow::into_owned);
        let mut again = event(Some("tick"));
        stay_in_trace(&mut again, Some(&event(Some("job")))).unwrap();
        assert_eq!(
            (text(&again, "traceparent").as_deref(), text(&again, TRACE_LINK).as_deref()),
            (Some("job"), Some("tick"))
        );
        let mut untraced = event(Some("tick"));
        stay_in_trace(&mut untraced, Some(&event(None))).unwrap();
        assert_eq!((text(&untraced, "traceparent").as_deref(), text(&untraced, TRACE_LINK)), (Some("tick"), None));
    }
}
