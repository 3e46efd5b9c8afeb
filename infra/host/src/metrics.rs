//! What a function counts, at `GET /metrics` in the OpenMetrics text format that Prometheus reads.

use std::fmt::Debug;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use http::header::CONTENT_TYPE;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry};

/// Path of the metrics.
pub const PATH: &str = "/metrics";

/// The content type of the text format, version 1.0.0.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A request's outcome.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    method: &'static str,
    path: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    path: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Part {
    part: &'static str,
}

/// The metrics of this process.
pub struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<Outcome, Counter>,
    seconds: Family<Route, Histogram>,
    cold_start: Family<Part, Gauge<f64, std::sync::atomic::AtomicU64>>,
    /// Requests under way.
    pub in_flight: Gauge,
    /// Requests that wait for their turn to compute.
    pub queue_length: Gauge,
    /// Spans that were not exported.
    pub(crate) spans_dropped: Counter,
}

impl Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// The metrics of this process.
pub fn get() -> &'static Metrics {
    static METRICS: OnceLock<Metrics> = OnceLock::new();
    METRICS.get_or_init(Metrics::new)
}

impl Metrics {
    fn new() -> Self {
        let mut registry = Registry::with_prefix("regrove");
        // 50 µs to 26 s, each twice the one before.
        let seconds =
            Family::<Route, Histogram>::new_with_constructor(|| Histogram::new(exponential_buckets(5e-5, 2.0, 20)));
        let requests = Family::default();
        let (in_flight, queue_length) = (Gauge::default(), Gauge::default());
        let (cold_start, spans_dropped) = (Family::default(), Counter::default());
        registry.register("http_requests", "Requests answered", requests.clone());
        registry.register("http_request_seconds", "Seconds from a request's head to its answer's", seconds.clone());
        registry.register("http_requests_in_flight", "Requests under way", in_flight.clone());
        registry.register("queue_length", "Requests that wait for their turn to compute", queue_length.clone());
        let help = "Seconds from the start of main until each part of a cold start was done";
        registry.register("cold_start_seconds", help, cold_start.clone());
        registry.register("spans_dropped", "Spans that were not exported", spans_dropped.clone());
        Self { registry: Mutex::new(registry), requests, seconds, cold_start, in_flight, queue_length, spans_dropped }
    }

    /// Adds a metric of the function's own; its name gets the prefix `regrove_`.
    pub fn register(&self, name: &str, help: &str, metric: impl Metric) {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner).register(name, help, metric);
    }

    /// Notes that a part of the cold start is done.
    pub fn cold_start(&self, part: &'static str, since_main: Duration) {
        self.cold_start.get_or_create(&Part { part }).set(since_main.as_secs_f64());
    }

    pub(crate) fn answered(&self, method: &http::Method, path: &str, status: u16, took: Duration) {
        let path = path.to_owned();
        self.seconds.get_or_create(&Route { path: path.clone() }).observe(took.as_secs_f64());
        self.requests.get_or_create(&Outcome { method: known(method), path, status }).inc();
    }

    fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(text)
    }
}

/// A method as a label: clients choose theirs, and each label costs memory.
fn known(method: &http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// A gauge that is one higher as long as this lives.
#[derive(Debug)]
pub struct Up<'a>(&'a Gauge);

impl<'a> Up<'a> {
    /// Raises the gauge.
    pub fn new(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Up<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

pub(crate) async fn show() -> Result<([(http::HeaderName, &'static str); 1], String), crate::Problem> {
    let text = get().text().map_err(|error| crate::Problem::internal(&error))?;
    Ok(([(CONTENT_TYPE, OPENMETRICS)], text))
}
