//! How the last minutes went: replicas, requests and events, second by second.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::clock::now_ms;
use crate::metrics::EventTotals;
use crate::view::View;

/// Time between two samples.
const INTERVAL: Duration = Duration::from_secs(1);
/// Samples kept. A second in which nothing changed takes none, so they may reach back further than an hour.
pub(crate) const SAMPLES_KEPT: usize = 3_600;

/// One service at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServiceSample {
    /// `namespace/service`.
    pub service: String,
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
}

/// The runtime at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// When, in milliseconds since 1970. Until the next sample nothing changed.
    pub at_ms: i64,
    /// The services, ordered by name.
    pub services: Vec<ServiceSample>,
    /// Events since the runtime started.
    pub events: EventTotals,
}

/// The samples.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    kept: Mutex<VecDeque<Sample>>,
}

impl Samples {
    fn push(&self, sample: Sample) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.back().is_some_and(|last| last.services == sample.services && last.events == sample.events) {
            return;
        }
        if kept.len() == SAMPLES_KEPT {
            kept.pop_front();
        }
        kept.push_back(sample);
    }

    /// Those from `since_ms` on, oldest first, and the one that held then.
    pub(crate) fn since(&self, since_ms: i64) -> Vec<Sample> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let first = kept.partition_point(|sample| sample.at_ms < since_ms).saturating_sub(1);
        kept.iter().skip(first).cloned().collect()
    }
}

/// Takes a sample every second until `stop`.
pub(crate) async fn take(view: Arc<View>, stop: CancellationToken) {
    let mut seconds = interval(INTERVAL);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = seconds.tick() => {}
            () = stop.cancelled() => return,
        }
        let services = view.services().into_iter().map(|service| service.now).collect();
        view.samples.push(Sample { at_ms: now_ms(), services, events: view.metrics.totals() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_change_is_kept_once() {
        let samples = Samples::default();
        let at = |at_ms, accepted| Sample {
            at_ms,
            services: Vec::new(),
            events: EventTotals { accepted, ..EventTotals::default() },
        };
        for (at_ms, accepted) in [(1, 0), (2, 0), (3, 1), (4, 1), (5, 1), (6, 2)] {
            samples.push(at(at_ms, accepted));
        }
        let times = |since| samples.since(since).iter().map(|sample| sample.at_ms).collect::<Vec<_>>();
        assert_eq!(times(0), [1, 3, 6]);
        assert_eq!(times(5), [3, 6], "the one that held at 5 began at 3");
        assert_eq!(times(6), [3, 6]);
        assert_eq!(times(100), [6]);
    }
}
