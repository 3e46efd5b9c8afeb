//! The last lines of every service's processes, in the order in which they were written.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::now_ms;
use crate::events_out::EventsOut;
use crate::runtime_event::{Level, LogLine, RuntimeEvent, Stream};

/// Lines kept per service.
pub(crate) const LINES_KEPT: usize = 5_000;

#[derive(Debug, Default)]
struct Kept {
    last: u64,
    /// By `namespace/service`.
    lines: BTreeMap<String, VecDeque<LogLine>>,
}

/// All kept lines of a runtime.
#[derive(Debug)]
pub(crate) struct LogBook {
    kept: Mutex<Kept>,
    events: EventsOut,
}

/// Who writes.
#[derive(Debug, Clone)]
pub(crate) struct Label {
    pub(crate) service: String,
    pub(crate) replica: String,
    pub(crate) stream: Stream,
}

impl LogBook {
    pub(crate) fn new(events: EventsOut) -> Self {
        Self { kept: Mutex::default(), events }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a line and tells of it.
    pub(crate) fn write(&self, label: &Label, text: String) {
        let mut kept = self.kept();
        kept.last += 1;
        let line = LogLine {
            number: kept.last,
            at_ms: now_ms(),
            level: Level::of(&text),
            service: label.service.clone(),
            replica: label.replica.clone(),
            stream: label.stream,
            text,
        };
        let lines = kept.lines.entry(label.service.clone()).or_default();
        if lines.len() == LINES_KEPT {
            lines.pop_front();
        }
        lines.push_back(line.clone());
        // Under the lock, so that those who watch get lines in order.
        self.events.send(|| RuntimeEvent::Log(line));
    }

    /// Kept lines after a number, oldest first: the last `limit` of those that are `wanted`.
    pub(crate) fn lines(&self, after: u64, limit: usize, wanted: impl Fn(&LogLine) -> bool) -> Vec<LogLine> {
        let kept = self.kept();
        let wanted = |line: &&LogLine| line.number > after && wanted(line);
        let mut lines: Vec<LogLine> =
            kept.lines.values().flat_map(|lines| lines.iter().rev().filter(wanted).take(limit).cloned()).collect();
        drop(kept);
        lines.sort_unstable_by_key(|line| line.number);
        lines.split_off(lines.len().saturating_sub(limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(service: &str) -> Label {
        Label { service: service.to_owned(), replica: format!("{service}-1"), stream: Stream::Stderr }
    }

    #[test]
    fn lines_of_all_services_are_in_order_and_each_service_keeps_its_own() {
        let book = LogBook::new(EventsOut::new());
        book.write(&label("quiet"), "first".to_owned());
        for number in 0..LINES_KEPT + 10 {
            book.write(&label("loud"), number.to_string());
        }
        book.write(&label("quiet"), "last".to_owned());
        let texts = |after, limit| -> Vec<String> {
            book.lines(after, limit, |_| true).into_iter().map(|line| line.text).collect()
        };
        let all = texts(0, usize::MAX);
        assert_eq!((all.len(), all[0].as_str(), all[1].as_str()), (LINES_KEPT + 2, "first", "10"));
        assert_eq!(texts(0, 2), [(LINES_KEPT + 9).to_string(), "last".to_owned()]);
        let newest = book.lines(0, 1, |_| true)[0].number;
        assert_eq!(texts(newest - 1, 10), ["last"]);
        assert_eq!(book.lines(0, 10, |line| line.service == "quiet").len(), 2);
    }
}
