//! What the latest requests to a service took.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;

use crate::metrics::ServiceMetrics;
use crate::runtime_event::millis;

/// Requests that percentiles are taken of.
const LATENCIES_KEPT: usize = 1000;

#[derive(Debug, Default)]
struct Kept {
    requests: u64,
    failures: u64,
    latencies: VecDeque<Duration>,
}

/// Counts and latencies of one service.
#[derive(Debug)]
pub(crate) struct Recent {
    kept: Mutex<Kept>,
    metrics: ServiceMetrics,
}

/// What they come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Summary {
    pub(crate) requests: u64,
    pub(crate) failures: u64,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
}

impl Recent {
    pub(crate) fn new(metrics: ServiceMetrics) -> Self {
        Self { kept: Mutex::default(), metrics }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an answer and the time to its head.
    pub(crate) fn note(&self, status: StatusCode, latency: Duration) {
        self.metrics.note(status, latency.as_secs_f64());
        let mut kept = self.kept();
        kept.requests += 1;
        kept.failures += u64::from(status.is_server_error());
        if kept.latencies.len() >= LATENCIES_KEPT {
            kept.latencies.pop_front();
        }
        kept.latencies.push_back(latency);
    }

    pub(crate) fn summary(&self) -> Summary {
        let (requests, failures, mut sorted) = {
            let kept = self.kept();
            (kept.requests, kept.failures, kept.latencies.iter().copied().collect::<Vec<_>>())
        };
        sorted.sort_unstable();
        // The nearest rank: the smallest value that is not exceeded by so many percent.
        let rank = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1));
        Summary { requests, failures, p50_ms: rank(50).copied().map(millis), p99_ms: rank(99).copied().map(millis) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn percentiles_are_of_the_latest_requests() {
        let recent = Recent::new(Metrics::new().service("default/hello"));
        assert_eq!(recent.summary(), Summary { requests: 0, failures: 0, p50_ms: None, p99_ms: None });
        for ms in 1..=100 {
            recent.note(StatusCode::OK, Duration::from_millis(ms));
        }
        let summary = recent.summary();
        assert_eq!((summary.p50_ms, summary.p99_ms), (Some(50.0), Some(99.0)));
        for _ in 0..LATENCIES_KEPT {
            recent.note(StatusCode::BAD_GATEWAY, Duration::from_millis(7));
        }
        let summary = recent.summary();
        assert_eq!((summary.p50_ms, summary.p99_ms), (Some(7.0), Some(7.0)));
        assert_eq!((summary.requests, summary.failures), (1100, 1000));
    }
}
