//! What would be slow to read from the log each time, beside jobs: kept in memory, brought up to date before each answer, and
//! made anew by every replica.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use regrove_events::log::{self, Entry, EventLog, Position, SERVING_PREFIX};
use regrove_events::{Serving, TYPE_PREFIX, serving};
use tokio::sync::{Mutex, MutexGuard};

/// Entries of the log read at once.
const BATCH: usize = 1000;
/// How many minutes of event counts are kept.
pub(crate) const MINUTES_KEPT: usize = 60;

/// Serving pointers and counts of events, as of one position.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    /// Everything up to here is in.
    pub(crate) position: Position,
    /// Serving pointers by model name.
    pub(crate) serving: BTreeMap<String, Serving>,
    /// Events by type, without the common prefix.
    pub(crate) types: BTreeMap<String, u64>,
    /// Events per minute, for the last [`MINUTES_KEPT`] minutes in which there were any: minutes since 1970, and how many.
    pub(crate) minutes: VecDeque<(i64, u64)>,
}

impl Lists {
    fn count(&mut self, entry: &Entry) {
        let ty = entry.event.ty();
        *self.types.entry(ty.strip_prefix(TYPE_PREFIX).unwrap_or(ty).to_owned()).or_default() += 1;
        let Some(minute) = entry.event.time().map(|time| time.as_second().div_euclid(60)) else { return };
        if let Some((_, count)) = self.minutes.iter_mut().rev().find(|(known, _)| *known == minute) {
            *count += 1;
        } else if self.minutes.back().is_none_or(|(last, _)| *last < minute) {
            self.minutes.push_back((minute, 1));
            while self.minutes.len() > MINUTES_KEPT {
                self.minutes.pop_front();
            }
        }
        // What is left comes from a clock that is behind: too late to be shown.
    }

    /// Events in each of the last [`MINUTES_KEPT`] minutes, the current one last.
    pub(crate) fn per_minute(&self, now: Timestamp) -> Vec<u64> {
        let last = now.as_second().div_euclid(60);
        let kept = i64::try_from(MINUTES_KEPT).unwrap_or(i64::MAX);
        let counts: BTreeMap<i64, u64> = self.minutes.iter().copied().collect();
        (last - kept + 1..=last).map(|minute| counts.get(&minute).copied().unwrap_or(0)).collect()
    }
}

/// The lists and the log that they come from.
#[derive(Debug)]
pub(crate) struct Index {
    log: Arc<dyn EventLog>,
    lists: Mutex<Lists>,
}

impl Index {
    pub(crate) fn new(log: Arc<dyn EventLog>) -> Self {
        Self { log, lists: Mutex::default() }
    }

    /// The lists as of now.
    ///
    /// # Errors
    /// Those of the log.
    pub(crate) async fn lists(&self) -> Result<MutexGuard<'_, Lists>, log::Error> {
        let mut lists = self.lists.lock().await;
        if self.log.head().await? < lists.position {
            // Another log stands where the old one was.
            *lists = Lists::default();
        }
        loop {
            let entries = self.log.tail(lists.position, BATCH).await?;
            let Some(last) = entries.last().map(|entry| entry.position) else { break };
            let changed: BTreeSet<&str> =
                entries.iter().filter_map(|entry| entry.stream.strip_prefix(SERVING_PREFIX)).collect();
            let mut read = Vec::new();
            for name in changed {
                read.push((name, self.log.read(&log::serving_stream(name), 0).await?));
            }
            // Nothing is counted before all of it was read: an error leaves the lists as they were.
            for (name, history) in read {
                lists.serving.insert(name.to_owned(), serving::replay(&history));
            }
            for entry in &entries {
                lists.count(entry);
            }
            lists.position = last;
            if entries.len() < BATCH {
                break;
            }
        }
        Ok(lists)
    }
}
