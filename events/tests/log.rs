//! The conformance suite itself: it passes a log that is right and finds the fault of each that is not.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use regrove_events::CloudEvent;
use regrove_events::log::conformance::{Subject, all};
use regrove_events::log::{ATTEMPTS_MAX, Entry, Error, EventLog, Position, Version, append_decided};
use tokio::sync::Notify;

/// What a log may get wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    IgnoresVersions,
    ConflictsWithoutVersion,
    AppendsHalfBeforeAConflict,
    ReadsFromTheStart,
    TailOverruns,
    TailForgetsAStream,
    HeadStandsStill,
    StreamsUnordered,
    StreamsOfAllPrefixes,
    SleepsThroughAppends,
    WakesForNothing,
    LosesTheSubject,
}

const FAULTS: [Fault; 12] = [
    Fault::IgnoresVersions,
    Fault::ConflictsWithoutVersion,
    Fault::AppendsHalfBeforeAConflict,
    Fault::ReadsFromTheStart,
    Fault::TailOverruns,
    Fault::TailForgetsAStream,
    Fault::HeadStandsStill,
    Fault::StreamsUnordered,
    Fault::StreamsOfAllPrefixes,
    Fault::SleepsThroughAppends,
    Fault::WakesForNothing,
    Fault::LosesTheSubject,
];

/// A log in memory with a fault.
#[derive(Debug)]
struct MemoryLog {
    fault: Fault,
    entries: Mutex<Vec<Entry>>,
    appended: Notify,
}

impl MemoryLog {
    fn new(fault: Fault) -> Self {
        Self { fault, entries: Mutex::new(Vec::new()), appended: Notify::new() }
    }

    fn with<T>(&self, look: impl FnOnce(&mut Vec<Entry>) -> T) -> T {
        look(&mut self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn push(&self, entries: &mut Vec<Entry>, stream: &str, event: &CloudEvent) {
        let version = entries.iter().filter(|entry| entry.stream == stream).count() as Version + 1;
        let mut event = event.clone();
        if self.has(Fault::LosesTheSubject) {
            let builder = CloudEvent::builder(event.id(), event.source(), event.ty());
            event = builder.build().unwrap_or(event);
        }
        let position = entries.len() as Position + 1;
        entries.push(Entry { position, stream: stream.to_owned(), version, event });
    }
}

#[async_trait]
impl EventLog for MemoryLog {
    async fn append(&self, stream: &str, expected: Version, events: &[CloudEvent]) -> Result<Version, Error> {
        // Others get their turn, as they would while a real store is asked.
        tokio::task::yield_now().await;
        let version = self.with(|entries| {
            let actual = entries.iter().filter(|entry| entry.stream == stream).count() as Version;
            if actual != expected && !self.has(Fault::IgnoresVersions) {
                if let (true, Some(event)) = (self.has(Fault::AppendsHalfBeforeAConflict), events.first()) {
                    self.push(entries, stream, event);
                }
                let actual = if self.has(Fault::ConflictsWithoutVersion) { expected } else { actual };
                return Err(Error::Conflict { stream: stream.to_owned(), expected, actual });
            }
            for event in events {
                self.push(entries, stream, event);
            }
            Ok(actual + events.len() as Version)
        })?;
        self.appended.notify_waiters();
        Ok(version)
    }

    async fn read(&self, stream: &str, after: Version) -> Result<Vec<CloudEvent>, Error> {
        tokio::task::yield_now().await;
        let after = if self.has(Fault::ReadsFromTheStart) { 0 } else { after };
        Ok(self.with(|entries| {
            let own = entries.iter().filter(|entry| entry.stream == stream && entry.version > after);
            own.map(|entry| entry.event.clone()).collect()
        }))
    }

    async fn streams(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let prefix = if self.has(Fault::StreamsOfAllPrefixes) { "" } else { prefix };
        let mut names: Vec<String> = self.with(|entries| {
            let first = entries.iter().filter(|entry| entry.version == 1 && entry.stream.starts_with(prefix));
            first.map(|entry| entry.stream.clone()).collect()
        });
        if !self.has(Fault::StreamsUnordered) {
            names.sort();
        }
        Ok(names)
    }

    async fn tail(&self, after: Position, limit: usize) -> Result<Vec<Entry>, Error> {
        let limit = if self.has(Fault::TailOverruns) { limit + 1 } else { limit };
        let forgotten = |entry: &Entry| self.has(Fault::TailForgetsAStream) && entry.stream.ends_with("-b");
        Ok(self.with(|entries| {
            let rest = entries.iter().filter(|entry| entry.position > after && !forgotten(entry));
            rest.take(limit).cloned().collect()
        }))
    }

    async fn head(&self) -> Result<Position, Error> {
        if self.has(Fault::HeadStandsStill) {
            return Ok(0);
        }
        Ok(self.with(|entries| entries.len() as Position))
    }

    async fn wait(&self, after: Position, timeout: Duration) -> Result<bool, Error> {
        let appended = self.appended.notified();
        tokio::pin!(appended);
        appended.as_mut().enable();
        if self.has(Fault::WakesForNothing) {
            return Ok(true);
        }
        if self.head().await? > after && !self.has(Fault::SleepsThroughAppends) {
            return Ok(true);
        }
        if self.has(Fault::SleepsThroughAppends) {
            return Ok(false);
        }
        // A timeout is an answer too.
        drop(tokio::time::timeout(timeout, appended).await);
        Ok(self.head().await? > after)
    }
}

fn subject(fault: Fault) -> Subject {
    let log: Arc<dyn EventLog> = Arc::new(MemoryLog::new(fault));
    Subject { handles: vec![Arc::clone(&log), log], run: "run".to_owned() }
}

#[tokio::test]
async fn a_right_log_passes() {
    all(&subject(Fault::None)).await.unwrap();
}

#[tokio::test]
async fn no_log_is_no_pass() {
    assert!(all(&Subject { handles: vec![], run: "run".to_owned() }).await.is_err());
}

#[tokio::test]
async fn each_fault_is_found() {
    for fault in FAULTS {
        let found = all(&subject(fault)).await;
        assert!(found.is_err(), "{fault:?} passed");
    }
}

fn event(id: &str) -> CloudEvent {
    CloudEvent::builder(id, "/s", "t").build().unwrap_or_else(|invalid| unreachable!("{invalid}"))
}

#[tokio::test]
async fn a_decision_is_made_again_after_a_conflict() -> Result<(), Error> {
    let log = MemoryLog::new(Fault::None);
    let mut looked = 0;
    let outcome = append_decided(&log, "job/a", |history| {
        looked += 1;
        if looked == 1 {
            // Somebody else appends between the look and the append.
            log.with(|entries| log.push(entries, "job/a", &event("theirs")));
        }
        Ok::<_, Error>((vec![event("ours")], history.len()))
    })
    .await?;
    assert_eq!((looked, outcome), (2, 1));
    let ids: Vec<String> = log.read("job/a", 0).await?.iter().map(|event| event.id().to_owned()).collect();
    assert_eq!(ids, ["theirs", "ours"]);
    Ok(())
}

#[tokio::test]
async fn nothing_to_say_appends_nothing() -> Result<(), Error> {
    let log = MemoryLog::new(Fault::None);
    assert_eq!(append_decided(&log, "job/a", |_| Ok::<_, Error>((vec![], 7))).await?, 7);
    assert_eq!(log.head().await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_stream_that_never_stands_still_is_an_error() {
    let log = MemoryLog::new(Fault::None);
    let mut looked = 0;
    let result = append_decided(&log, "job/a", |_| {
        looked += 1;
        log.with(|entries| log.push(entries, "job/a", &event("theirs")));
        Ok::<_, Error>((vec![event("ours")], ()))
    })
    .await;
    assert!(matches!(result, Err(Error::Contended { attempts: ATTEMPTS_MAX, .. })), "{result:?}");
    assert_eq!(looked, ATTEMPTS_MAX);
}
