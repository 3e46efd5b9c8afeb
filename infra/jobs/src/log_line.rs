//! A line that a function wrote while it worked on a job.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How much a line matters, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Every detail.
    Trace,
    /// For those who look for a fault.
    Debug,
    /// What happens.
    Info,
    /// What should not happen, but was dealt with.
    Warn,
    /// What failed.
    Error,
}

impl Level {
    /// The level's name in JSON and on a terminal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// The level of a name, in any case.
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error];
        all.into_iter().find(|level| level.as_str().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Level {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

/// A line that a function wrote, read from the JSON that functions write to standard error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was written.
    pub at: Option<Timestamp>,
    /// How much it matters; `info` for a line that is not JSON.
    pub level: Level,
    /// The function.
    pub function: String,
    /// The process that wrote it.
    pub replica: String,
    /// What it says.
    pub message: String,
    /// What else it says, by name.
    pub fields: Map<String, Value>,
}

impl LogLine {
    /// Reads a line of a function's output. What is not JSON is a message.
    pub fn read(function: &str, replica: &str, at: Option<Timestamp>, text: &str) -> Self {
        let (function, replica) = (function.to_owned(), replica.to_owned());
        let Ok(Value::Object(mut fields)) = serde_json::from_str(text) else {
            return Self { at, level: Level::Info, function, replica, message: text.to_owned(), fields: Map::new() };
        };
        let mut take = |name: &str| fields.remove(name).and_then(|value| value.as_str().map(str::to_owned));
        let own = take("timestamp").and_then(|at| at.parse().ok());
        let level = take("level").and_then(|name| Level::named(&name)).unwrap_or(Level::Info);
        let message = take("message").unwrap_or_default();
        // The request that the line was written for says the trace.
        if let Some(Value::Object(mut span)) = fields.remove("span") {
            fields.extend(span.remove("trace_id").map(|trace| ("trace_id".to_owned(), trace)));
        }
        Self { at: own.or(at), level, function, replica, message, fields }
    }

    /// Whether the line is about a job: it names it as `job` or `job_id`, as `subject`, or in an event's id.
    pub fn is_about(&self, job: &str) -> bool {
        let text = |name: &str| self.fields.get(name).and_then(Value::as_str);
        let named = ["job", "job_id", "subject"].into_iter().any(|name| text(name) == Some(job));
        let event = text("id").and_then(|id| id.strip_prefix(job)).is_some_and(|rest| rest.starts_with('/'));
        named || event
    }
}
