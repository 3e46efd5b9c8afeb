//! What a runtime looks like at this moment.

use serde::Serialize;

/// One service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceStatus {
    /// `namespace/service`.
    pub service: String,
    /// The revision that serves, such as `hello-00001`.
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
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The services, ordered by name.
    pub services: Vec<ServiceStatus>,
}
