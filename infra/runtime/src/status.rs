//! What a runtime looks like at this moment.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::metrics::EventTotals;
use crate::runtime_event::ColdStart;
use crate::samples::ServiceSample;

/// One revision.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RevisionStatus {
    /// Its name, such as `hello-00001`.
    pub revision: String,
    /// Its share of the requests to the service's own host, 0–100.
    pub percent: f64,
    /// Whether a replica of it ever became ready while this runtime ran.
    pub proven: bool,
    /// Replicas that serve.
    pub ready: usize,
    /// Replicas on their way.
    pub starting: usize,
    /// Replicas that end their last requests.
    pub draining: usize,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServiceStatus {
    /// Its replicas and requests.
    #[serde(flatten)]
    pub now: ServiceSample,
    /// The revision that gets most requests, such as `hello-00001`.
    pub revision: String,
    /// Public URL; `None` for a service that only others inside reach.
    pub url: Option<String>,
    /// Starts from zero that a request waited for.
    pub cold_starts: usize,
    /// The latest of them.
    pub last_cold_start: Option<ColdStartRecord>,
    /// The revisions at work, those without traffic included.
    pub revisions: Vec<RevisionStatus>,
    /// URLs of tags, by tag; empty for a service that only others inside reach.
    pub tags: BTreeMap<String, String>,
}

/// One start from zero.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ColdStartRecord {
    /// When the request that caused it got its first byte, in milliseconds since 1970.
    pub at_ms: i64,
    /// `namespace/service`.
    pub service: String,
    /// The revision.
    pub revision: String,
    /// The replica.
    pub replica: String,
    /// Where the time went.
    #[serde(flatten)]
    pub split: ColdStart,
}

/// One trigger, or one subscription of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TriggerStatus {
    /// `namespace/trigger`.
    pub trigger: String,
    /// `namespace/broker` that its events come from.
    pub broker: String,
    /// Whether it gets events.
    pub ready: bool,
    /// Why it is not ready.
    pub reason: Option<String>,
    /// URL of the subscriber; `None` while the trigger is not ready.
    pub subscriber_uri: Option<String>,
    /// URL of the dead letter sink, its own or its broker's.
    pub dead_letter_sink_uri: Option<String>,
    /// Whether its deliveries are made in order.
    pub ordered: bool,
    /// Deliveries in memory: under way, due, or waiting for a retry. More may wait in the journal.
    pub in_memory: usize,
}

/// One ping source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PingSourceStatus {
    /// `namespace/source`.
    pub source: String,
    /// URL of its sink.
    pub sink: String,
    /// When it sends next, in milliseconds since 1970; `None` when it never will.
    pub next_at_ms: Option<i64>,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Status {
    /// When this was, in milliseconds since 1970.
    pub at_ms: i64,
    /// When the runtime was started, in milliseconds since 1970.
    pub started_at_ms: i64,
    /// The services, ordered by name.
    pub services: Vec<ServiceStatus>,
    /// The brokers and channels, as `namespace/name`.
    pub brokers: Vec<String>,
    /// The triggers, in the order of the manifests.
    pub triggers: Vec<TriggerStatus>,
    /// The ping sources, in the order of the manifests.
    pub ping_sources: Vec<PingSourceStatus>,
    /// Events since the runtime started.
    pub events: EventTotals,
}

/// What taking changed manifests led to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reloaded {
    /// The new revisions.
    pub revisions: Vec<String>,
    /// Objects other than Services that were added, changed or removed, such as `Trigger default/t`.
    pub objects: Vec<String>,
    /// What is not wrong, but may not be meant.
    pub warnings: Vec<String>,
}
