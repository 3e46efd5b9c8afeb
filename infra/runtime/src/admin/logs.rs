//! Lines of functions, and everything that happens.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;

use super::Desk;
use super::problem::Query;
use super::stream::{self, Lines};
use crate::clock::now_ms;
use crate::runtime_event::{Level, LogLine, RuntimeEvent};

/// Lines in an answer when nothing else is asked for.
fn thousand() -> usize {
    1_000
}

/// Which lines are wanted.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogQuery {
    /// `namespace/service`, or the service alone.
    service: Option<String>,
    replica: Option<String>,
    /// At least this level; lines that say none count as `info`.
    level: Option<Level>,
    /// A part of the line.
    text: Option<String>,
    /// A job's id, as a whole word.
    job: Option<String>,
    /// Not before this time, in milliseconds since 1970.
    #[serde(default)]
    since_ms: i64,
    /// After the line of this number.
    #[serde(default)]
    after: u64,
    #[serde(default = "thousand")]
    limit: usize,
    /// Go on with new lines.
    #[serde(default)]
    follow: bool,
}

impl LogQuery {
    fn wants(&self, line: &LogLine) -> bool {
        let service = |wanted: &String| {
            line.service == *wanted || line.service.split_once('/').is_some_and(|(_, name)| name == wanted)
        };
        self.service.as_ref().is_none_or(service)
            && self.replica.as_ref().is_none_or(|replica| line.replica == *replica)
            && self.level.is_none_or(|level| line.level.unwrap_or(Level::Info) >= level)
            && self.text.as_ref().is_none_or(|text| line.text.contains(text.as_str()))
            && self.job.as_ref().is_none_or(|job| has_word(&line.text, job))
            && line.at_ms >= self.since_ms
    }
}

/// Whether a text has a word that is no part of a longer id.
fn has_word(text: &str, word: &str) -> bool {
    let in_id = |letter: char| letter.is_alphanumeric() || letter == '-' || letter == '_';
    text.match_indices(word).any(|(at, found)| {
        let (before, after) = (text.get(..at).unwrap_or_default(), text.get(at + found.len()..).unwrap_or_default());
        !before.ends_with(in_id) && !after.starts_with(in_id)
    })
}

pub(super) async fn list(State(desk): State<Desk>, Query(query): Query<LogQuery>) -> Response {
    let find = |after: u64| desk.view.logs.lines(after, query.limit, |line| query.wants(line));
    if !query.follow {
        return Json(find(query.after)).into_response();
    }
    // Before the kept lines are read, so that none is missed in between.
    let mut news = desk.view.events.subscribe();
    let mut lines = Lines::new();
    let mut last = query.after;
    for line in find(last) {
        last = line.number;
        lines.add(&line);
    }
    let view = desk.view.clone();
    stream::answer(lines, desk.stop, async move |reader| {
        loop {
            let found = match news.recv().await {
                Ok(RuntimeEvent::Log(line)) if line.number > last && query.wants(&line) => vec![line],
                Ok(_) => continue,
                // The book has what was missed.
                Err(RecvError::Lagged(_)) => view.logs.lines(last, usize::MAX, |line| query.wants(line)),
                Err(RecvError::Closed) => return,
            };
            let mut lines = Lines::new();
            for line in found {
                last = line.number;
                lines.add(&line);
            }
            reader.send(lines).await;
        }
    })
}

pub(super) async fn watch(State(desk): State<Desk>) -> Response {
    let mut news = desk.view.events.subscribe();
    stream::answer(Lines::new(), desk.stop, async move |reader| {
        loop {
            let mut lines = Lines::new();
            match news.recv().await {
                Ok(event) => lines.add(&Timed { at_ms: now_ms(), event }),
                Err(RecvError::Lagged(missed)) => lines.add(&json!({ "event": "missed", "events": missed })),
                Err(RecvError::Closed) => return,
            }
            reader.send(lines).await;
        }
    })
}

#[derive(Debug, serde::Serialize)]
struct Timed {
    at_ms: i64,
    #[serde(flatten)]
    event: RuntimeEvent,
}

#[cfg(test)]
mod tests {
    use super::has_word;

    #[test]
    fn words_are_not_parts_of_ids() {
        for text in ["job-1", "\"job-1\"", "job-1/shard/3 done", "a job-1: b", "job-10 and job-1"] {
            assert!(has_word(text, "job-1"), "{text}");
        }
        for text in ["job-10", "my-job-1", "job-1-b", "job-", ""] {
            assert!(!has_word(text, "job-1"), "{text}");
        }
    }
}
