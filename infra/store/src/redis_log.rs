//! The event log in Redis Streams.
//!
//! | key | holds |
//! |---|---|
//! | `regrove:stream:<name>` | a stream; entry `0-<version>`, field `e`: the event in the JSON format |
//! | `regrove:all` | the order of all streams; entry `0-<position>`, fields `s`: stream name, `v`: version |
//! | `regrove:streams` | a sorted set of all stream names, in order of their names |
//!
//! One script appends to all three at once, so that no reader sees one without the others.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use redis::Script;
use regrove_events::log::{Entry, Error, EventLog, Position, Version};
use regrove_events::{CloudEvent, json_format};
use tokio::time::Instant;

use crate::redis_link::{Failure, Link, is_passing};

const STREAM: &str = "regrove:stream:";
const ALL: &str = "regrove:all";
const STREAMS: &str = "regrove:streams";

/// Entries per answer, so that no answer grows without limit.
const PAGE: usize = 256;
/// Longest block of one command: a dead server is noticed at its end.
const BLOCK_MAX: Duration = Duration::from_secs(10);
/// Pause before a broken wait is taken up again.
const PAUSE: Duration = Duration::from_millis(100);

/// Keys: the stream, [`ALL`], [`STREAMS`]. Arguments: expected version, `1` if this is asked again, the stream's name,
/// the events. Answers `{1, new version}` or `{0, version that it has}`.
///
/// Asked again because an answer was lost, it finds its own events in their place and says so.
static APPEND: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local function newest(key)
    local last = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)
    if #last == 0 then return 0 end
    return tonumber(string.match(last[1][1], '%-(%d+)$'))
end
local expected = tonumber(ARGV[1])
local count = #ARGV - 3
local version = newest(KEYS[1])
if version ~= expected then
    if ARGV[2] == '1' and count > 0 and version >= expected + count then
        local first, last = '0-' .. (expected + 1), '0-' .. (expected + count)
        local held = redis.call('XRANGE', KEYS[1], first, last)
        local ours = #held == count
        for i = 1, count do
            ours = ours and held[i][2][2] == ARGV[3 + i]
        end
        if ours then return {1, expected + count} end
    end
    return {0, version}
end
local position = newest(KEYS[2])
for i = 1, count do
    redis.call('XADD', KEYS[1], '0-' .. (version + i), 'e', ARGV[3 + i])
    redis.call('XADD', KEYS[2], '0-' .. (position + i), 's', ARGV[3], 'v', version + i)
end
if count > 0 and version == 0 then
    redis.call('ZADD', KEYS[3], 0, ARGV[3])
end
return {1, version + count}
",
    )
});

/// An entry of a stream: its id and its one field.
type StreamEntry = (String, (String, Vec<u8>));
/// An entry of [`ALL`]: its id and its two fields.
type AllEntry = (String, (String, String, String, Version));

/// The log of many machines.
#[derive(Debug)]
pub(crate) struct RedisLog {
    link: Arc<Link>,
}

impl RedisLog {
    pub(crate) fn new(link: Arc<Link>) -> Self {
        Self { link }
    }

    /// A page of [`ALL`].
    async fn page(&self, after: Position, limit: usize) -> Result<Vec<Entry>, Error> {
        let (link, from) = (&self.link, format!("0-{}", after.saturating_add(1)));
        let places: Vec<AllEntry> = link
            .ask(|mut connection, _| {
                let mut command = redis::cmd("XRANGE");
                command.arg(ALL).arg(&from).arg("+").arg("COUNT").arg(limit);
                async move { command.query_async(&mut connection).await }
            })
            .await
            .map_err(store_error)?;
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let mut events = redis::pipe();
        for (_, (_, stream, _, version)) in &places {
            let id = format!("0-{version}");
            events.cmd("XRANGE").arg(key(stream)).arg(&id).arg(&id);
        }
        let events = Arc::new(events);
        let found: Vec<Vec<StreamEntry>> = link
            .ask(|mut connection, _| {
                let events = Arc::clone(&events);
                async move { events.query_async(&mut connection).await }
            })
            .await
            .map_err(store_error)?;
        places
            .into_iter()
            .zip(found)
            .map(|((id, (_, stream, _, version)), found)| {
                let position = number(&id).ok_or_else(|| corrupt(&stream, version, "its position is no number"))?;
                let (_, (_, json)) = found.first().ok_or_else(|| corrupt(&stream, version, "it is gone"))?;
                let event = decode(&stream, version, json)?;
                Ok(Entry { position, stream, version, event })
            })
            .collect()
    }
}

fn key(stream: &str) -> String {
    format!("{STREAM}{stream}")
}

fn store_error(failure: Failure) -> Error {
    Error::Store { store: "redis", message: failure.to_string(), source: Some(Box::new(failure)) }
}

fn corrupt(stream: &str, version: Version, reason: &str) -> Error {
    Error::Corrupt { stream: stream.to_owned(), version, reason: reason.to_owned() }
}

/// The number in an entry's id `0-<number>`.
fn number(id: &str) -> Option<u64> {
    id.strip_prefix("0-")?.parse().ok()
}

fn decode(stream: &str, version: Version, json: &[u8]) -> Result<CloudEvent, Error> {
    json_format::from_slice(json).map_err(|invalid| corrupt(stream, version, &invalid.to_string()))
}

#[async_trait]
impl EventLog for RedisLog {
    async fn append(&self, stream: &str, expected: Version, events: &[CloudEvent]) -> Result<Version, Error> {
        let events: Arc<Vec<Vec<u8>>> = Arc::new(events.iter().map(json_format::to_exact_vec).collect());
        let (appended, version): (u8, Version) = self
            .link
            .ask(|mut connection, attempts| {
                let (events, stream) = (Arc::clone(&events), stream.to_owned());
                async move {
                    let mut append = APPEND.key(key(&stream));
                    append.key(ALL).key(STREAMS).arg(expected).arg(u8::from(attempts > 0)).arg(stream);
                    for event in &*events {
                        append.arg(event.as_slice());
                    }
                    append.invoke_async(&mut connection).await
                }
            })
            .await
            .map_err(store_error)?;
        if appended == 1 {
            return Ok(version);
        }
        Err(Error::Conflict { stream: stream.to_owned(), expected, actual: version })
    }

    async fn read(&self, stream: &str, after: Version) -> Result<Vec<CloudEvent>, Error> {
        let mut events = Vec::new();
        let mut seen = after;
        loop {
            let from = format!("0-{}", seen.saturating_add(1));
            let page: Vec<StreamEntry> = self
                .link
                .ask(|mut connection, _| {
                    let mut command = redis::cmd("XRANGE");
                    command.arg(key(stream)).arg(&from).arg("+").arg("COUNT").arg(PAGE);
                    async move { command.query_async(&mut connection).await }
                })
                .await
                .map_err(store_error)?;
            let full = page.len() == PAGE;
            for (id, (_, json)) in page {
                let version = number(&id).ok_or_else(|| corrupt(stream, seen + 1, "its id is not one of ours"))?;
                if version != seen + 1 && seen != after {
                    return Err(corrupt(stream, seen + 1, "it is gone"));
                }
                events.push(decode(stream, version, &json)?);
                seen = version;
            }
            if !full {
                return Ok(events);
            }
        }
    }

    async fn streams(&self, prefix: &str) -> Result<Vec<String>, Error> {
        // No UTF-8 text holds the byte 0xff: it is after everything that starts with the prefix.
        let (from, to) = ([b"[", prefix.as_bytes()].concat(), [b"(", prefix.as_bytes(), b"\xff"].concat());
        self.link
            .ask(|mut connection, _| {
                let mut command = redis::cmd("ZRANGEBYLEX");
                command.arg(STREAMS).arg(from.as_slice()).arg(to.as_slice());
                async move { command.query_async(&mut connection).await }
            })
            .await
            .map_err(store_error)
    }

    async fn tail(&self, after: Position, limit: usize) -> Result<Vec<Entry>, Error> {
        let mut entries: Vec<Entry> = Vec::new();
        while entries.len() < limit {
            let seen = entries.last().map_or(after, |entry| entry.position);
            let asked = PAGE.min(limit - entries.len());
            let page = self.page(seen, asked).await?;
            let last = page.len() < asked;
            entries.extend(page);
            if last {
                break;
            }
        }
        Ok(entries)
    }

    async fn head(&self) -> Result<Position, Error> {
        let newest: Vec<AllEntry> = self
            .link
            .ask(|mut connection, _| {
                let mut command = redis::cmd("XREVRANGE");
                command.arg(ALL).arg("+").arg("-").arg("COUNT").arg(1);
                async move { command.query_async(&mut connection).await }
            })
            .await
            .map_err(store_error)?;
        Ok(newest.first().and_then(|(id, _)| number(id)).unwrap_or(0))
    }

    async fn wait(&self, after: Position, timeout: Duration) -> Result<bool, Error> {
        let since = Instant::now();
        if self.head().await? > after {
            return Ok(true);
        }
        loop {
            let left = timeout.saturating_sub(since.elapsed());
            if left.is_zero() {
                return Ok(false);
            }
            // 0 would mean for ever.
            let block = left.min(BLOCK_MAX).max(Duration::from_millis(1));
            let mut command = redis::cmd("XREAD");
            command.arg("COUNT").arg(1).arg("BLOCK").arg(u64::try_from(block.as_millis()).unwrap_or(1));
            command.arg("STREAMS").arg(ALL).arg(format!("0-{after}"));
            match self.link.block::<redis::Value>(&command, block).await {
                Ok(redis::Value::Nil) => {}
                Ok(_) => return Ok(true),
                Err(error) if is_passing(&error) => {
                    // Whether the server is only away for a while is for the patient connection to say.
                    tokio::time::sleep(PAUSE).await;
                    if self.head().await? > after {
                        return Ok(true);
                    }
                }
                Err(error) => return Err(store_error(self.link.failure(error))),
            }
        }
    }
}
