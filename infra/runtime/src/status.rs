//! What a runtime looks like at this moment.

use std::collections::BTreeMap;

use serde::Serialize;

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
    /// `namespace/service`.
    pub service: String,
    /// The revision that gets most requests, such as `hello-00001`.
    pub revision: String,
    /// Public URL; `None` for a service that only others inside reach.
    pub url: Option<String>,
    /// Replicas that serve.
    pub ready: usize,
    /// Replicas on their way.
    pub starting: usize,
    /// Replicas that end their last requests.
    pub draining: usize,
    /// Requests inside replicas.
    pub in_flight: usize,
    /// Requests that wait for a replica.
    pub waiting: usize,
    /// Requests answered since the runtime started, errors included.
    pub requests: u64,
    /// Those of them that were answered with 5xx.
    pub failures: u64,
    /// Median of the time to the first byte of the latest answers, in milliseconds; `None` before the first.
    pub p50_ms: Option<f64>,
    /// The 99th percentile of it, in milliseconds.
    pub p99_ms: Option<f64>,
    /// Starts from zero that a request waited for.
    pub cold_starts: usize,
    /// The revisions at work, those without traffic included.
    pub revisions: Vec<RevisionStatus>,
    /// URLs of tags, by tag; empty for a service that only others inside reach.
    pub tags: BTreeMap<String, String>,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// The services, ordered by name.
    pub services: Vec<ServiceStatus>,
}

/// What taking changed manifests led to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reloaded {
    /// The new revisions.
    pub revisions: Vec<String>,
    /// Kinds of objects that differ but stay as they were until the runtime is started anew.
    pub kept: Vec<&'static str>,
    /// What is not wrong, but may not be meant.
    pub warnings: Vec<String>,
}
