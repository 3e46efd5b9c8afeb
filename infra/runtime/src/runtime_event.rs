//! What happens inside a runtime, for whoever watches it.

use std::time::Duration;

use serde::Serialize;

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

/// One line that a replica wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogLine {
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

/// Milliseconds with a fraction.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
