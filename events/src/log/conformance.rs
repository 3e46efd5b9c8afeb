//! What an event log must do, as checks that any implementation can be put through.
//!
//! The checks take several handles of one log, as several processes would have them, and names that begin with `run`,
//! so that they can be repeated on the same log. Nobody else may append meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::{join, try_join_all};

use super::{Entry, Error, EventLog, JOB_PREFIX, Position, Version, append_once, job_stream};
use crate::{AttributeValue, CloudEvent, SpecVersion};

/// Longest time that a wait may take to notice an append, on a busy machine: less than the ten seconds after which a log that
/// nobody tells looks by itself.
const NOTICED_WITHIN: Duration = Duration::from_secs(9);
/// Events in one large batch.
const LARGE_BATCH: usize = 700;
/// Bytes of data in each of them.
const LARGE_DATA: usize = 2_000;
/// How many append at the same time, and how much each.
const WRITERS: usize = 6;
const EVENTS_PER_WRITER: usize = 25;

/// What a log did that it must not do.
#[derive(Debug, thiserror::Error)]
#[error("event log, {check}: {detail}")]
pub struct Violation {
    /// The check that it failed.
    pub check: &'static str,
    /// What it did.
    pub detail: String,
}

/// The handles of one log, and what the names of the run's streams begin with.
#[derive(Debug, Clone)]
pub struct Subject {
    /// At least one; more than one stand for several processes.
    pub handles: Vec<Arc<dyn EventLog>>,
    /// Unlike that of any earlier run on this log.
    pub run: String,
}

/// One check in progress.
struct Check<'a> {
    name: &'static str,
    subject: &'a Subject,
}

impl Check<'_> {
    fn stream(&self, suffix: &str) -> String {
        job_stream(&format!("{}-{}{suffix}", self.subject.run, self.name.replace(' ', "-")))
    }

    /// The `index`th handle, counted round.
    fn log(&self, index: usize) -> Result<&dyn EventLog, Violation> {
        let handles = &self.subject.handles;
        handles.iter().cycle().nth(index).map(AsRef::as_ref).ok_or_else(|| self.violated("there is no handle"))
    }

    fn violated(&self, detail: impl Into<String>) -> Violation {
        Violation { check: self.name, detail: detail.into() }
    }

    fn ensure(&self, holds: bool, detail: impl FnOnce() -> String) -> Result<(), Violation> {
        if holds { Ok(()) } else { Err(self.violated(detail())) }
    }

    fn equal<T: PartialEq + std::fmt::Debug>(&self, what: &str, found: &T, expected: &T) -> Result<(), Violation> {
        self.ensure(found == expected, || format!("{what}: {found:?}, expected {expected:?}"))
    }

    fn done<T>(&self, what: &str, result: Result<T, Error>) -> Result<T, Violation> {
        result.map_err(|error| self.violated(format!("{what}: {error}")))
    }

    fn event(&self, id: &str) -> Result<CloudEvent, Violation> {
        CloudEvent::builder(id, "/conformance", "io.regrove.test")
            .subject(self.subject.run.clone())
            .data("application/json", Bytes::from(format!("{{\"id\":\"{id}\"}}")))
            .build()
            .map_err(|invalid| self.violated(invalid.to_string()))
    }

    fn events(&self, prefix: &str, count: usize) -> Result<Vec<CloudEvent>, Violation> {
        (0..count).map(|number| self.event(&format!("{prefix}{number}"))).collect()
    }
}

/// Every check, one after the other.
///
/// # Errors
/// The first [`Violation`].
pub async fn all(subject: &Subject) -> Result<(), Violation> {
    appends_and_reads(subject).await?;
    refuses_other_versions(subject).await?;
    batches_are_whole(subject).await?;
    tail_follows_all_streams(subject).await?;
    lists_streams_by_prefix(subject).await?;
    wait_wakes_up(subject).await?;
    keeps_events_exactly(subject).await?;
    large_batches(subject).await?;
    concurrent_writers(subject).await?;
    append_once_is_once(subject).await
}

/// What was appended is read in order, from any version on; an unknown stream is empty.
///
/// # Errors
/// [`Violation`].
pub async fn appends_and_reads(subject: &Subject) -> Result<(), Violation> {
    let check = Check { name: "appends and reads", subject };
    let (log, stream) = (check.log(0)?, check.stream(""));
    let events = check.events("e", 5)?;
    check.equal("an unknown stream", &check.done("read", log.read(&stream, 0).await)?, &vec![])?;
    let (first, rest) = events.split_at(2);
    check.equal("first version", &check.done("append", log.append(&stream, 0, first).await)?, &2)?;
    check.equal("second version", &check.done("append", log.append(&stream, 2, rest).await)?, &5)?;
    for after in 0..=6 {
        let found = check.done("read", check.log(1)?.read(&stream, after as Version).await)?;
        let expected = events.get(after..).unwrap_or_default().to_vec();
        check.equal(&format!("events after {after}"), &found, &expected)?;
    }
    check.equal("far after", &check.done("read", log.read(&stream, Version::MAX).await)?, &vec![])
}

/// An append at another version than the stream's changes nothing and says which version it has.
///
/// # Errors
/// [`Violation`].
pub async fn refuses_other_versions(subject: &Subject) -> Result<(), Violation> {
    let check = Check { name: "refuses other versions", subject };
    let stream = check.stream("");
    check.done("append", check.log(0)?.append(&stream, 0, &check.events("e", 3)?).await)?;
    let head = check.done("head", check.log(0)?.head().await)?;
    for wrong in [0, 2, 4, 1_000_000] {
        let late = check.events("late", 2)?;
        match check.log(1)?.append(&stream, wrong, &late).await {
            Err(Error::Conflict { stream: named, expected, actual }) => {
                check.equal("the conflict", &(named, expected, actual), &(stream.clone(), wrong, 3))?;
            }
            other => return Err(check.violated(format!("append at {wrong} of 3: {other:?}"))),
        }
    }
    let empty = check.log(0)?.append(&stream, 2, &[]).await;
    check.ensure(matches!(empty, Err(Error::Conflict { actual: 3, .. })), || format!("nothing at 2: {empty:?}"))?;
    check.equal("nothing at 3", &check.done("append", check.log(0)?.append(&stream, 3, &[]).await)?, &3)?;
    check.equal("events", &check.done("read", check.log(0)?.read(&stream, 0).await)?.len(), &3)?;
    check.equal("head", &check.done("head", check.log(0)?.head().await)?, &head)
}

/// Nobody ever reads a part of a batch.
///
/// # Errors
/// [`Violation`].
pub async fn batches_are_whole(subject: &Subject) -> Result<(), Violation> {
    const BATCH: usize = 7;
    const BATCHES: usize = 30;
    let check = Check { name: "batches are whole", subject };
    let stream = check.stream("");
    let write = async {
        for batch in 0..BATCHES {
            let events = check.events(&format!("{batch}-"), BATCH)?;
            check.done("append", check.log(0)?.append(&stream, (batch * BATCH) as Version, &events).await)?;
        }
        Ok(())
    };
    let read = async {
        loop {
            let seen = check.done("read", check.log(1)?.read(&stream, 0).await)?.len();
            check.ensure(seen % BATCH == 0, || format!("{seen} events were seen of batches of {BATCH}"))?;
            if seen == BATCH * BATCHES {
                return Ok(());
            }
        }
    };
    let (written, read) = join(write, read).await;
    written.and(read)
}

/// The order of all streams holds every event once, in the order of its own stream, in pages of any size.
///
/// # Errors
/// [`Violation`].
pub async fn tail_follows_all_streams(subject: &Subject) -> Result<(), Violation> {
    let check = Check { name: "tail follows all streams", subject };
    let before = check.done("head", check.log(0)?.head().await)?;
    let mut expected = Vec::new();
    for round in 0..4_usize {
        for name in ["-a", "-b", "-c"] {
            let (stream, events) = (check.stream(name), check.events(&format!("{round}-"), 2)?);
            check.done("append", check.log(round)?.append(&stream, (round * 2) as Version, &events).await)?;
            let versions = (round * 2 + 1) as Version..;
            expected.extend(versions.zip(events).map(|(version, event)| (stream.clone(), version, event)));
        }
    }
    for limit in [1, 5, 1000] {
        let found = tail_in_pages(&check, before, limit).await?;
        let ordered = found.iter().zip(found.iter().skip(1)).all(|(entry, next)| entry.position < next.position);
        check.ensure(ordered, || "positions do not grow".to_owned())?;
        check.ensure(found.first().is_none_or(|entry| entry.position > before), || "an old entry came".to_owned())?;
        let head = check.done("head", check.log(1)?.head().await)?;
        check.equal("the last position", &found.last().map(|entry| entry.position), &Some(head))?;
        let found: Vec<_> = found.into_iter().map(|entry| (entry.stream, entry.version, entry.event)).collect();
        check.equal("entries", &found, &expected)?;
    }
    check.equal("no entries", &check.done("tail", check.log(0)?.tail(before, 0).await)?, &vec![])?;
    check.equal("after the end", &check.done("tail", check.log(0)?.tail(Position::MAX, 9).await)?, &vec![])
}

async fn tail_in_pages(check: &Check<'_>, mut after: Position, limit: usize) -> Result<Vec<Entry>, Violation> {
    let mut entries = Vec::new();
    loop {
        let page = check.done("tail", check.log(1)?.tail(after, limit).await)?;
        check.ensure(page.len() <= limit, || format!("{} entries, limit {limit}", page.len()))?;
        let Some(last) = page.last() else { return Ok(entries) };
        after = last.position;
        entries.extend(page);
    }
}

/// Streams are listed by the beginning of their names, ordered by name.
///
/// # Errors
/// [`Violation`].
pub async fn lists_streams_by_prefix(subject: &Subject) -> Result<(), Violation> {
    let check = Check { name: "lists streams by prefix", subject };
    let log = check.log(0)?;
    let names = ["-é", "-a", "-a.b", "-B", "-aa", "_", "-a*", "-\u{10ffff}", "-["].map(|suffix| check.stream(suffix));
    for name in &names {
        check.done("append", log.append(name, 0, &check.events("e", 2)?).await)?;
    }
    let prefixes = ["", "-", "-a", "-a*", "-\u{10ffff}", "-nothing"].map(|suffix| check.stream(suffix));
    for prefix in prefixes {
        let mut expected: Vec<String> = names.iter().filter(|name| name.starts_with(&prefix)).cloned().collect();
        expected.sort();
        let found = check.done("streams", check.log(1)?.streams(&prefix).await)?;
        check.equal(&format!("streams that start with `{prefix}`"), &found, &expected)?;
    }
    let jobs = check.done("streams", log.streams(JOB_PREFIX).await)?;
    check.ensure(names.iter().all(|name| jobs.contains(name)), || "a job is not listed".to_owned())?;
    let all = check.done("streams", log.streams("").await)?;
    check.ensure(all.is_sorted() && all.len() >= jobs.len(), || "all streams are not in order".to_owned())
}

/// A wait ends at once when there is news, soon after an append through any handle, and otherwise when its time is up.
///
/// # Errors
/// [`Violation`].
pub async fn wait_wakes_up(subject: &Subject) -> Result<(), Violation> {
    const QUIET: Duration = Duration::from_millis(60);
    let check = Check { name: "wait wakes up", subject };
    for waiter in 0..subject.handles.len() {
        let (stream, log) = (check.stream(&format!("-{waiter}")), check.log(waiter)?);
        let head = check.done("head", log.head().await)?;
        let since = Instant::now();
        check.equal("news", &check.done("wait", log.wait(head, QUIET).await)?, &false)?;
        check.ensure(since.elapsed() >= QUIET, || format!("gave up after {:?}", since.elapsed()))?;

        let since = Instant::now();
        let event = [check.event("e")?];
        let append = async { check.done("append", check.log(waiter + 1)?.append(&stream, 0, &event).await) };
        let wait = async { check.done("wait", log.wait(head, NOTICED_WITHIN * 2).await) };
        let (woken, appended) = join(wait, append).await;
        appended?;
        check.equal("news", &woken?, &true)?;
        check.ensure(since.elapsed() < NOTICED_WITHIN, || format!("noticed after {:?}", since.elapsed()))?;
        check.equal("old news", &check.done("wait", log.wait(head, Duration::ZERO).await)?, &true)?;
        let head = check.done("head", log.head().await)?;
        check.equal("no time", &check.done("wait", log.wait(head, Duration::ZERO).await)?, &false)?;
    }
    Ok(())
}

/// Events come back as they were appended, whatever bytes they hold.
///
/// # Errors
/// [`Violation`].
pub async fn keeps_events_exactly(subject: &Subject) -> Result<(), Violation> {
    let check = Check { name: "keeps events exactly", subject };
    let data: [(&str, &[u8]); 10] = [
        ("application/octet-stream", b"\x00\xff\xfe\x80binary\r\n"),
        ("application/octet-stream", b""),
        ("application/json", b" {\"z\": 1,\n \"a\": 1.0e5, \"z\": null}\r\n"),
        ("application/json", b"null"),
        ("application/json", b"\"text\""),
        ("application/json", b"not json"),
        ("application/json; charset=utf-8", "{\"grüße\":\"€ 😀\"}".as_bytes()),
        ("text/plain", "\"quoted\" \u{0} ü \u{2028}".as_bytes()),
        ("text/plain; charset=latin1", b"\xe4\xf6\xfc"),
        ("application/vnd.x+json", b"[1e400, 0.1000000000000000055511151231257827]"),
    ];
    let mut events = Vec::new();
    for (number, (media_type, data)) in data.into_iter().enumerate() {
        let event = CloudEvent::builder(format!("id ü {number}"), "/a/b?c#d", "com.example.größe")
            .subject("ß \u{1f600} \"\\")
            .time_text("1996-12-19T16:39:57.123456789-08:00")
            .data_schema("https://example.com/schema#1")
            .extension("number", -7)
            .extension("truth", true)
            .extension("text", "7")
            .extension("blank", AttributeValue::from(" é "))
            .data(media_type, data)
            .build();
        events.push(event.map_err(|invalid| check.violated(invalid.to_string()))?);
    }
    let bare = CloudEvent::builder("bare", "s", "t").spec_version(SpecVersion::V0_3).build();
    events.push(bare.map_err(|invalid| check.violated(invalid.to_string()))?);
    let stream = check.stream("-größe 😀");
    let before = check.done("head", check.log(0)?.head().await)?;
    check.done("append", check.log(0)?.append(&stream, 0, &events).await)?;
    check.equal("events", &check.done("read", check.log(1)?.read(&stream, 0).await)?, &events)?;
    let tailed = check.done("tail", check.log(1)?.tail(before, 100).await)?;
    check.ensure(tailed.iter().all(|entry| entry.stream == stream), || "another stream's name came".to_owned())?;
    check.equal("tail", &tailed.into_iter().map(|entry| entry.event).collect(), &events)
}

/// A batch of many events is appended and read like a small one.
///
/// # Errors
/// [`Violation`].
pub async fn large_batches(subject: &Subject) -> Result<(), Violation> {
    let check = Check { name: "large batches", subject };
    let stream = check.stream("");
    let mut events = Vec::new();
    for number in 0..LARGE_BATCH {
        let event = CloudEvent::builder(format!("e{number}"), "/conformance", "io.regrove.test")
            .data("application/octet-stream", vec![u8::try_from(number % 256).unwrap_or(0); LARGE_DATA])
            .build();
        events.push(event.map_err(|invalid| check.violated(invalid.to_string()))?);
    }
    let before = check.done("head", check.log(0)?.head().await)?;
    let version = check.done("append", check.log(0)?.append(&stream, 0, &events).await)?;
    check.equal("version", &version, &(LARGE_BATCH as Version))?;
    let found = check.done("read", check.log(1)?.read(&stream, 0).await)?;
    check.ensure(found == events, || format!("{} events came back, not the same", found.len()))?;
    let tailed = check.done("tail", check.log(1)?.tail(before, LARGE_BATCH * 2).await)?;
    let same = tailed.iter().map(|entry| &entry.event).eq(events.iter());
    check.ensure(same, || format!("{} entries were tailed, not the same", tailed.len()))
}

/// Writers who race lose nothing and double nothing: versions have no gaps and each event is there once.
///
/// # Errors
/// [`Violation`].
pub async fn concurrent_writers(subject: &Subject) -> Result<(), Violation> {
    let check = Check { name: "concurrent writers", subject };
    let (check, stream) = (&check, &check.stream(""));
    let before = check.done("head", check.log(0)?.head().await)?;
    let write = |writer: usize| async move {
        let (log, mut version) = (check.log(writer)?, 0);
        for event in check.events(&format!("{writer}-"), EVENTS_PER_WRITER)? {
            loop {
                match log.append(stream, version, std::slice::from_ref(&event)).await {
                    Ok(now) => {
                        check.equal("version after an append", &now, &(version + 1))?;
                        version = now;
                        break;
                    }
                    Err(Error::Conflict { actual, .. }) => {
                        check.ensure(actual > version, || format!("conflict at {version} with {actual}"))?;
                        version = actual;
                    }
                    Err(error) => return Err(check.violated(format!("append: {error}"))),
                }
            }
        }
        Ok(())
    };
    try_join_all((0..WRITERS).map(write)).await?;

    let found = check.done("read", check.log(0)?.read(stream, 0).await)?;
    let ids: BTreeSet<&str> = found.iter().map(CloudEvent::id).collect();
    check.equal("events", &found.len(), &(WRITERS * EVENTS_PER_WRITER))?;
    check.equal("different events", &ids.len(), &(WRITERS * EVENTS_PER_WRITER))?;
    for writer in 0..WRITERS {
        let own: Vec<&str> =
            found.iter().map(CloudEvent::id).filter(|id| id.starts_with(&format!("{writer}-"))).collect();
        let sent: Vec<String> = (0..EVENTS_PER_WRITER).map(|number| format!("{writer}-{number}")).collect();
        check.ensure(own == sent, || format!("writer {writer} is out of order: {own:?}"))?;
    }
    let tailed = tail_in_pages(check, before, 64).await?;
    let versions: Vec<Version> = tailed.iter().map(|entry| entry.version).collect();
    check.equal("versions in the order of all", &versions, &(1..=found.len() as Version).collect())
}

/// Those who race to record one fact all get the one that was first.
///
/// # Errors
/// [`Violation`].
pub async fn append_once_is_once(subject: &Subject) -> Result<(), Violation> {
    let check = Check { name: "append once is once", subject };
    let (check, stream) = (&check, &check.stream(""));
    let say = |writer: usize| async move {
        let event = CloudEvent::builder("the-fact", format!("/writer/{writer}"), "io.regrove.test").build();
        let event = event.map_err(|invalid| check.violated(invalid.to_string()))?;
        check.done("append once", append_once(check.log(writer)?, stream, event).await)
    };
    let said = try_join_all((0..WRITERS).map(say)).await?;
    let held = check.done("read", check.log(0)?.read(stream, 0).await)?;
    check.equal("events", &held.len(), &1)?;
    check.ensure(said.iter().all(|event| Some(event) == held.first()), || format!("{said:?} for {held:?}"))
}
