//! What is counted about models.

use std::sync::Once;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::cache::Slot;
use super::route::Route;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Version {
    model: String,
    version: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Name {
    model: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InService {
    model: String,
    version: String,
    role: &'static str,
    sha256: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NotServed {
    model: String,
    version: String,
    role: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Compared {
    model: String,
    version: String,
    outcome: &'static str,
}

/// A process starts once: with its first model it is ready, later loads are none of its start.
static STARTED: Once = Once::new();

/// What came of asking a shadow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shadowed {
    /// It said the same.
    Equal,
    /// It said something else.
    Different,
    /// It could not answer.
    Failed,
    /// It was not asked: no turn to compute was free, or too many comparisons were under way.
    Skipped,
}

impl Shadowed {
    fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Different => "different",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// Counters of this function, at `/metrics` beside the host's.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: Family<Version, Counter>,
    rows: Family<Version, Counter>,
    in_service: Family<InService, Gauge>,
    not_served: Family<NotServed, Gauge>,
    swaps: Family<Name, Counter>,
    refused: Family<Version, Counter>,
    load_seconds: Gauge<f64, AtomicU64>,
    bytes: Gauge,
    models: Gauge,
    shadow: Family<Compared, Counter>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let metrics = Self {
            requests: Family::default(),
            rows: Family::default(),
            in_service: Family::default(),
            not_served: Family::default(),
            swaps: Family::default(),
            refused: Family::default(),
            load_seconds: Gauge::default(),
            bytes: Gauge::default(),
            models: Gauge::default(),
            shadow: Family::default(),
        };
        let host = regrove_host::metrics::get();
        host.register("predict_requests", "Requests answered, by version", metrics.requests.clone());
        host.register("predict_rows", "Rows answered, by version", metrics.rows.clone());
        let help = "1 for each version in service, by its role: served, canary or shadow";
        host.register("model_in_service", help, metrics.in_service.clone());
        let help = "1 for each version that the serving pointer names and this replica cannot serve, by its role";
        host.register("model_not_served", help, metrics.not_served.clone());
        host.register("model_swaps", "Moves of the serving pointer that this replica followed", metrics.swaps.clone());
        let help = "Times that a version could not be served: fetching, reading or the self-check failed";
        host.register("model_refused", help, metrics.refused.clone());
        host.register("model_load_seconds", "Seconds that the last load of a model took", metrics.load_seconds.clone());
        host.register("models_loaded_bytes", "Bytes of the models in memory", metrics.bytes.clone());
        host.register("models_loaded", "Models in memory", metrics.models.clone());
        host.register("shadow_compared", "Answers compared with the shadow's", metrics.shadow.clone());
        metrics
    }

    pub(crate) fn request(&self, model: &str, version: &str) {
        self.requests.get_or_create(&Version { model: model.to_owned(), version: version.to_owned() }).inc();
    }

    pub(crate) fn rows(&self, model: &str, version: &str, rows: usize) {
        let label = Version { model: model.to_owned(), version: version.to_owned() };
        self.rows.get_or_create(&label).inc_by(rows as u64);
    }

    pub(crate) fn shadowed(&self, model: &str, version: &str, outcome: Shadowed) {
        let label = Compared { model: model.to_owned(), version: version.to_owned(), outcome: outcome.name() };
        self.shadow.get_or_create(&label).inc();
    }

    pub(super) fn refused(&self, model: &str, version: &str) {
        self.refused.get_or_create(&Version { model: model.to_owned(), version: version.to_owned() }).inc();
    }

    pub(super) fn loaded(&self, took: Duration) {
        self.load_seconds.set(took.as_secs_f64());
        STARTED.call_once(|| regrove_host::metrics::get().cold_start("model_loaded", regrove_host::since_start()));
    }

    pub(super) fn memory(&self, (bytes, models): (u64, usize)) {
        self.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.models.set(i64::try_from(models).unwrap_or(i64::MAX));
    }

    /// What stands behind a name now.
    pub(super) fn routed(&self, name: &str, old: Option<&Route>, new: &Route) {
        if let Some(old) = old {
            for (slot, role) in old.roles.slots() {
                self.in_service.remove(&label(name, slot, role));
            }
            for (role, version) in &old.roles.lacks {
                self.not_served.remove(&lack(name, version, role));
            }
            if !std::sync::Arc::ptr_eq(&old.roles.stable, &new.roles.stable) {
                self.swaps.get_or_create(&Name { model: name.to_owned() }).inc();
            }
        }
        for (slot, role) in new.roles.slots() {
            self.in_service.get_or_create(&label(name, slot, role)).set(1);
        }
        for (role, version) in &new.roles.lacks {
            self.not_served.get_or_create(&lack(name, version, role)).set(1);
        }
    }
}

fn label(name: &str, slot: &Slot, role: &'static str) -> InService {
    let version = slot.version();
    InService { model: name.to_owned(), version: version.version.clone(), role, sha256: version.model.sha256.clone() }
}

fn lack(name: &str, version: &str, role: &'static str) -> NotServed {
    NotServed { model: name.to_owned(), version: version.to_owned(), role }
}
