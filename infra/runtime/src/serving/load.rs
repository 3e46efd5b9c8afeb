//! The load on a revision: concurrency as an integral over time, and arrivals.

use std::time::Instant;

/// What has come in since the last report.
#[derive(Debug)]
pub(crate) struct Load {
    present: u32,
    arrived: u32,
    /// Request-seconds up to `changed`.
    area: f64,
    changed: Instant,
}

impl Load {
    pub(crate) fn new(now: Instant) -> Self {
        Self { present: 0, arrived: 0, area: 0.0, changed: now }
    }

    fn advance(&mut self, now: Instant) {
        self.area += f64::from(self.present) * now.saturating_duration_since(self.changed).as_secs_f64();
        self.changed = now;
    }

    pub(crate) fn arrive(&mut self, now: Instant) {
        self.advance(now);
        self.present += 1;
        self.arrived += 1;
    }

    pub(crate) fn leave(&mut self, now: Instant) {
        self.advance(now);
        self.present = self.present.saturating_sub(1);
    }

    /// Requests present now.
    pub(crate) fn present(&self) -> u32 {
        self.present
    }

    /// Request-seconds and arrivals since the last call.
    pub(crate) fn take(&mut self, now: Instant) -> Taken {
        self.advance(now);
        let taken = Taken { request_seconds: self.area, arrivals: f64::from(self.arrived) };
        self.area = 0.0;
        self.arrived = 0;
        taken
    }
}

/// One report.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Taken {
    /// Requests present, summed up over time.
    pub(crate) request_seconds: f64,
    /// Requests that came.
    pub(crate) arrivals: f64,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn concurrency_is_weighted_by_time() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut load = Load::new(start);
        load.arrive(at(0));
        load.arrive(at(500));
        load.leave(at(750));
        let taken = load.take(at(1000));
        assert!((taken.request_seconds - 1.25).abs() < 1e-9, "{taken:?}");
        assert!((taken.arrivals - 2.0).abs() < 1e-9, "{taken:?}");
        let taken = load.take(at(3000));
        assert!((taken.request_seconds - 2.0).abs() < 1e-9, "one is still there: {taken:?}");
        assert!(taken.arrivals.abs() < 1e-9, "{taken:?}");
    }
}
