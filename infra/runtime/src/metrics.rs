//! What the runtime counts, for Prometheus and for the history of the last minutes.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use serde::Serialize;

use crate::runtime_event::ColdStart;
use crate::status::ServiceStatus;

/// What all names begin with.
const PREFIX: &str = "regrove_runtime";

/// Bounds of latencies in seconds: from a proxy's hop to the longest that Knative's own histograms tell apart.
const LATENCY_BOUNDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

type Histograms<Labels> = Family<Labels, Histogram, fn() -> Histogram>;

fn latencies() -> Histogram {
    Histogram::new(LATENCY_BOUNDS)
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfBroker {
    broker: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCode {
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTrigger {
    trigger: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfResult {
    trigger: String,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfService {
    service: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfClass {
    service: String,
    class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfReplicas {
    service: String,
    revision: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPart {
    service: String,
    part: &'static str,
}

/// Events since the runtime started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct EventTotals {
    /// Taken by a broker, replies included.
    pub accepted: u64,
    /// Refused by the ingress.
    pub refused: u64,
    /// Taken by a subscriber; one per trigger.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Deliveries given up, in a dead letter sink or not.
    pub dead: u64,
}

#[derive(Debug, Default)]
struct Totals {
    accepted: AtomicU64,
    refused: AtomicU64,
    delivered: AtomicU64,
    failed: AtomicU64,
    dead: AtomicU64,
}

/// All counters of a runtime.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    totals: Totals,
    accepted: Family<OfBroker, Counter>,
    refused: Family<OfCode, Counter>,
    attempts: Family<OfResult, Counter>,
    attempt_seconds: Histograms<OfTrigger>,
    answers: Family<OfClass, Counter>,
    answer_seconds: Histograms<OfService>,
    cold_start_seconds: Histograms<OfPart>,
    crashes: Family<OfService, Counter>,
    replicas: Family<OfReplicas, Gauge>,
    in_flight: Family<OfService, Gauge>,
    waiting: Family<OfService, Gauge>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix(PREFIX),
            totals: Totals::default(),
            accepted: Family::default(),
            refused: Family::default(),
            attempts: Family::default(),
            attempt_seconds: Family::new_with_constructor(latencies),
            answers: Family::default(),
            answer_seconds: Family::new_with_constructor(latencies),
            cold_start_seconds: Family::new_with_constructor(latencies),
            crashes: Family::default(),
            replicas: Family::default(),
            in_flight: Family::default(),
            waiting: Family::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("events_accepted", "Events that a broker has stored", self.accepted.clone());
        registry.register("events_refused", "Requests that the ingress refused", self.refused.clone());
        registry.register("event_attempts", "Attempts to deliver an event", self.attempts.clone());
        let seconds = Unit::Seconds;
        let help = "Time of an attempt to deliver an event";
        registry.register_with_unit("event_attempt", help, seconds.clone(), self.attempt_seconds.clone());
        registry.register("answers", "Answers to requests", self.answers.clone());
        let help = "Time to the first byte of an answer, starts from zero included";
        registry.register_with_unit("answer", help, seconds.clone(), self.answer_seconds.clone());
        let help = "Parts of starts from zero: queue, spawn, ready, first byte";
        registry.register_with_unit("cold_start", help, seconds, self.cold_start_seconds.clone());
        registry.register("replica_crashes", "Processes that ended by themselves", self.crashes.clone());
        registry.register("replicas", "Replicas", self.replicas.clone());
        registry.register("requests_in_flight", "Requests inside replicas", self.in_flight.clone());
        registry.register("requests_waiting", "Requests that wait for a replica", self.waiting.clone());
    }

    /// The counter of a broker, `namespace/name`.
    pub(crate) fn broker(&self, broker: &str) -> Counter {
        self.accepted.get_or_create_owned(&OfBroker { broker: broker.to_owned() })
    }

    /// The counters of a trigger, `namespace/name`.
    pub(crate) fn trigger(&self, trigger: &str) -> TriggerMetrics {
        let of = |result| self.attempts.get_or_create_owned(&OfResult { trigger: trigger.to_owned(), result });
        TriggerMetrics {
            delivered: of("delivered"),
            retried: of("retried"),
            in_sink: of("in-sink"),
            dropped: of("dropped"),
            seconds: self.attempt_seconds.get_or_create_owned(&OfTrigger { trigger: trigger.to_owned() }),
        }
    }

    /// The counters of a service, `namespace/name`.
    pub(crate) fn service(&self, service: &str) -> ServiceMetrics {
        let of = |class| self.answers.get_or_create_owned(&OfClass { service: service.to_owned(), class });
        ServiceMetrics {
            classes: ["1xx", "2xx", "3xx", "4xx", "5xx"].map(of),
            seconds: self.answer_seconds.get_or_create_owned(&OfService { service: service.to_owned() }),
        }
    }

    pub(crate) fn note_accepted(&self, broker: &Counter) {
        self.totals.accepted.fetch_add(1, Ordering::Relaxed);
        broker.inc();
    }

    pub(crate) fn note_refused(&self, status: http::StatusCode) {
        self.totals.refused.fetch_add(1, Ordering::Relaxed);
        self.refused.get_or_create(&OfCode { code: status.as_u16() }).inc();
    }

    pub(crate) fn note_delivered(&self) {
        self.totals.delivered.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_failed(&self) {
        self.totals.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_dead(&self) {
        self.totals.dead.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_cold_start(&self, service: &str, split: &ColdStart) {
        for (part, ms) in split.parts() {
            let labels = OfPart { service: service.to_owned(), part };
            self.cold_start_seconds.get_or_create(&labels).observe(ms / 1e3);
        }
    }

    pub(crate) fn note_crash(&self, service: &str) {
        self.crashes.get_or_create(&OfService { service: service.to_owned() }).inc();
    }

    pub(crate) fn totals(&self) -> EventTotals {
        let of = |total: &AtomicU64| total.load(Ordering::Relaxed);
        EventTotals {
            accepted: of(&self.totals.accepted),
            refused: of(&self.totals.refused),
            delivered: of(&self.totals.delivered),
            failed: of(&self.totals.failed),
            dead: of(&self.totals.dead),
        }
    }

    /// Everything in the text format of `OpenMetrics`, which Prometheus reads.
    pub(crate) fn text(&self, services: &[ServiceStatus]) -> Result<String, std::fmt::Error> {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        // A revision that is gone has no replicas to speak of.
        self.replicas.clear();
        for service in services {
            let of = OfService { service: service.now.service.clone() };
            self.in_flight.get_or_create(&of).set(number(service.now.in_flight));
            self.waiting.get_or_create(&of).set(number(service.now.waiting));
            for revision in &service.revisions {
                let states =
                    [("ready", revision.ready), ("starting", revision.starting), ("draining", revision.draining)];
                for (state, count) in states {
                    let labels = OfReplicas { service: of.service.clone(), revision: revision.revision.clone(), state };
                    self.replicas.get_or_create(&labels).set(number(count));
                }
            }
        }
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

/// Counters of one trigger.
#[derive(Debug)]
pub(crate) struct TriggerMetrics {
    pub(crate) delivered: Counter,
    pub(crate) retried: Counter,
    pub(crate) in_sink: Counter,
    pub(crate) dropped: Counter,
    pub(crate) seconds: Histogram,
}

/// Counters of one service.
#[derive(Debug)]
pub(crate) struct ServiceMetrics {
    classes: [Counter; 5],
    seconds: Histogram,
}

impl ServiceMetrics {
    pub(crate) fn note(&self, status: http::StatusCode, seconds: f64) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(counter) = self.classes.get(class) {
            counter.inc();
        }
        self.seconds.observe(seconds);
    }
}
