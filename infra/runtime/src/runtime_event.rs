//! What happens inside a runtime, for whoever watches it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How many events a slow watcher may lag behind before it loses the oldest.
pub const WATCHER_LAG_MAX: usize = 4096;

/// Which stream of a process a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Every step.
    Trace,
    /// For who looks for a fault.
    Debug,
    /// Ordinary.
    Info,
    /// May be wrong.
    Warn,
    /// Is wrong.
    Error,
}

/// One line that a replica wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogLine {
    /// Counted over all services since the runtime started.
    pub number: u64,
    /// When it was read, in milliseconds since 1970.
    pub at_ms: i64,
    /// What the line says of itself: `level` of a JSON object, or a word such as `WARN` near its beginning.
    pub level: Option<Level>,
    /// `namespace/service`.
    pub service: String,
    /// The replica, such as `hello-00001-1`.
    pub replica: String,
    /// Where it was written to.
    pub stream: Stream,
    /// The line without its end; bytes that are no UTF-8 are replaced.
    pub text: String,
}

/// Where the time of one start from zero went, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ColdStart {
    /// From the arrival of the request to the decision to start a process.
    pub queue_ms: f64,
    /// Fork and exec.
    pub spawn_ms: f64,
    /// From exec to the first answer, be it to a probe or to a request.
    pub ready_ms: f64,
    /// From there to the first byte of the answer to the request that was waiting; its own work is part of that.
    pub first_byte_ms: f64,
}

impl ColdStart {
    /// Its parts by name, in milliseconds.
    pub(crate) fn parts(&self) -> [(&'static str, f64); 4] {
        [
            ("queue", self.queue_ms),
            ("spawn", self.spawn_ms),
            ("ready", self.ready_ms),
            ("first_byte", self.first_byte_ms),
        ]
    }

    /// What the start alone cost the request: everything but its own work.
    pub fn start_ms(&self) -> f64 {
        self.queue_ms + self.spawn_ms + self.ready_ms
    }
}

/// Why a replica is no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// The autoscaler wants fewer replicas, or the runtime shuts down.
    ScaledDown,
    /// It did not get ready in time.
    NeverReady,
}

/// What one revision gets of a service's requests.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RevisionShare {
    /// The revision, such as `hello-00001`.
    pub revision: String,
    /// Its share, above 0 and up to 100.
    pub percent: f64,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
#[non_exhaustive]
pub enum RuntimeEvent {
    /// A process is about to be started.
    ReplicaStarting {
        /// `namespace/service`.
        service: String,
        /// The replica.
        replica: String,
    },
    /// A replica takes requests.
    ReplicaReady {
        /// `namespace/service`.
        service: String,
        /// The replica.
        replica: String,
    },
    /// The first request after a start from zero got its first byte.
    ColdStart {
        /// `namespace/service`.
        service: String,
        /// The replica.
        replica: String,
        /// Where the time went.
        #[serde(flatten)]
        split: ColdStart,
    },
    /// A process ended by itself, or could not be started; the replica tries again.
    ReplicaCrashed {
        /// `namespace/service`.
        service: String,
        /// The replica.
        replica: String,
        /// How it ended, such as `exit status: 1`, or why it could not be started.
        status: String,
        /// Wait before the next start, in milliseconds.
        backoff_ms: u64,
    },
    /// A replica is gone.
    ReplicaStopped {
        /// `namespace/service`.
        service: String,
        /// The replica.
        replica: String,
        /// Why.
        reason: StopReason,
    },
    /// Requests to a service go to these revisions from now on.
    TrafficAssigned {
        /// `namespace/service`.
        service: String,
        /// Who gets what; the shares add up to 100.
        shares: Vec<RevisionShare>,
    },
    /// The broker stored an event.
    EventAccepted {
        /// `namespace/broker`.
        broker: String,
        /// The event's `type`.
        ty: String,
        /// The event's `id`.
        id: String,
        /// How many triggers want it.
        triggers: usize,
    },
    /// A subscriber took an event.
    EventDelivered {
        /// `namespace/trigger`.
        trigger: String,
        /// The event's `type`.
        ty: String,
        /// The event's `id`.
        id: String,
        /// Attempts that it took.
        attempts: u32,
        /// Time of the last attempt, in milliseconds.
        latency_ms: f64,
    },
    /// An attempt failed and another will follow.
    EventRetried {
        /// `namespace/trigger`.
        trigger: String,
        /// The event's `type`.
        ty: String,
        /// The event's `id`.
        id: String,
        /// Attempts so far.
        attempts: u32,
        /// Status code, if there was an answer.
        code: Option<u16>,
        /// What went wrong.
        error: String,
        /// Wait before the next attempt, in milliseconds.
        wait_ms: u64,
    },
    /// An event could not be delivered and is in the dead letter sink, or is dropped because there is none.
    EventDead {
        /// `namespace/trigger`.
        trigger: String,
        /// The event's `type`.
        ty: String,
        /// The event's `id`.
        id: String,
        /// Whether a dead letter sink took it.
        in_sink: bool,
        /// What went wrong last.
        error: String,
    },
    /// A replica wrote a line.
    Log(LogLine),
}

/// Words near the beginning of a plain line that may be its level.
const LEVEL_WORDS: usize = 6;

impl Level {
    /// What a line says of itself.
    pub(crate) fn of(line: &str) -> Option<Self> {
        let line = line.trim_start();
        if line.starts_with('{') {
            let object: Value = serde_json::from_str(line).ok()?;
            let level = ["level", "severity", "levelname"].iter().find_map(|name| object.get(*name))?;
            // Node's pino counts in tens.
            return match level.as_u64() {
                Some(10..20) => Some(Self::Trace),
                Some(20..30) => Some(Self::Debug),
                Some(30..40) => Some(Self::Info),
                Some(40..50) => Some(Self::Warn),
                Some(50..) => Some(Self::Error),
                _ => Self::named(level.as_str()?),
            };
        }
        let words = line.split(|letter: char| letter.is_whitespace() || letter == ':').filter(|word| !word.is_empty());
        words.take(LEVEL_WORDS).find_map(|word| {
            let word = word.trim_matches(|letter: char| !letter.is_ascii_alphabetic());
            // Prose speaks of errors in small letters.
            if word.bytes().all(|byte| byte.is_ascii_uppercase()) { Self::named(word) } else { None }
        })
    }

    fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "trace" => Some(Self::Trace),
            "debug" => Some(Self::Debug),
            "info" | "notice" => Some(Self::Info),
            "warn" | "warning" => Some(Self::Warn),
            "error" | "critical" | "fatal" | "alert" | "emergency" => Some(Self::Error),
            _ => None,
        }
    }
}

/// Milliseconds with a fraction.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_their_level() {
        for (line, level) in [
            (r#"{"timestamp":"2026-11-27T04:00:00Z","level":"WARN","message":"m"}"#, Some(Level::Warn)),
            (r#"{"severity":"CRITICAL"}"#, Some(Level::Error)),
            (r#"{"level":30,"msg":"pino"}"#, Some(Level::Info)),
            (r#"{"message":"no level"}"#, None),
            ("{ERROR", None),
            ("2026-11-27T04:00:00Z  INFO started", Some(Level::Info)),
            ("[2026-11-27 04:00:00,001] [WARNING] m", Some(Level::Warn)),
            ("ERROR:root:said by Python", Some(Level::Error)),
            ("an error in prose", None),
            ("listening on 8080", None),
        ] {
            assert_eq!(Level::of(line), level, "{line}");
        }
    }
}
