//! Averages over the last seconds.

use super::config::Aggregation;

/// Share of the whole weight that an exponential window gives to its length.
const EXPONENTIAL_COVERAGE: f64 = 0.9999;

/// Smallest smoothing coefficient of an exponential window.
const COEFFICIENT_MIN: f64 = 0.2;

/// Linear averages are rounded to this many parts of one, so that sums of fractions do not tip a decision.
const LINEAR_PRECISION: f64 = 1e6;

/// A ring of one-second buckets, into which samples are added.
#[derive(Debug, Clone)]
pub(super) struct Window {
    aggregation: Aggregation,
    buckets: Vec<f64>,
    /// First and last second written to, since the last time that the whole window ran dry.
    written: Option<(u64, u64)>,
}

impl Window {
    /// A window of `seconds` buckets, at least one.
    pub(super) fn new(seconds: u64, aggregation: Aggregation) -> Self {
        let length = usize::try_from(seconds).unwrap_or(usize::MAX).clamp(1, super::WINDOW_SECONDS_MAX);
        Self { aggregation, buckets: vec![0.0; length], written: None }
    }

    fn length(&self) -> u64 {
        self.buckets.len() as u64
    }

    /// Gives the window another length and another way to average. What it holds stays as far as it fits, as in
    /// `ResizeWindow` of Knative's collector.
    pub(super) fn resize(&mut self, seconds: u64, aggregation: Aggregation) {
        let mut resized = Self::new(seconds, aggregation);
        if let Some((first, last)) = self.written {
            let kept = self.length().min(resized.length()).min(last + 1);
            for second in last + 1 - kept..=last {
                let (value, index) = (self.bucket(second), resized.index(second));
                if let Some(bucket) = resized.buckets.get_mut(index) {
                    *bucket = value;
                }
            }
            resized.written = Some((first.max(last + 1 - kept), last));
        }
        *self = resized;
    }

    fn index(&self, second: u64) -> usize {
        usize::try_from(second % self.length()).unwrap_or(0)
    }

    fn bucket(&self, second: u64) -> f64 {
        self.buckets.get(self.index(second)).copied().unwrap_or(0.0)
    }

    /// Adds a sample to its second; one older than the window is dropped.
    pub(super) fn record(&mut self, second: u64, value: f64) {
        match self.written {
            None => self.restart(second),
            Some((_, last)) if second >= last.saturating_add(self.length()) => self.restart(second),
            Some((first, last)) if second > last => {
                for passed in last + 1..=second {
                    let index = self.index(passed);
                    if let Some(bucket) = self.buckets.get_mut(index) {
                        *bucket = 0.0;
                    }
                }
                self.written = Some((first, second));
            }
            Some((_, last)) if second.saturating_add(self.length()) <= last => return,
            Some((first, last)) => self.written = Some((first.min(second), last)),
        }
        let index = self.index(second);
        if let Some(bucket) = self.buckets.get_mut(index) {
            *bucket += value;
        }
    }

    fn restart(&mut self, second: u64) {
        self.buckets.fill(0.0);
        self.written = Some((second, second));
    }

    /// Whether nothing was written within the window before `second`.
    pub(super) fn is_empty(&self, second: u64) -> bool {
        self.written.is_none_or(|(_, last)| second.saturating_sub(last) > self.length())
    }

    /// The average as of `second`; 0 without data.
    pub(super) fn average(&self, second: u64) -> f64 {
        let Some((first, last)) = self.written else {
            return 0.0;
        };
        let silent = second.saturating_sub(last);
        match self.aggregation {
            Aggregation::Linear => self.linear(first, last, silent),
            Aggregation::WeightedExponential => self.exponential(last, silent),
        }
    }

    /// The mean over the seconds since the first sample, at most the window; a silent end is left out.
    fn linear(&self, first: u64, last: u64, silent: u64) -> f64 {
        if silent >= self.length() {
            return 0.0;
        }
        let kept = self.length() - silent;
        let count = kept.min(last - first + 1);
        // Buckets before the first sample are zero, so that summing the kept ones is enough.
        let sum: f64 = (0..kept.min(last + 1)).map(|age| self.bucket(last - age)).sum();
        #[expect(clippy::cast_precision_loss, reason = "at most WINDOW_SECONDS_MAX")]
        let mean = sum / count as f64;
        (mean * LINEAR_PRECISION).round() / LINEAR_PRECISION
    }

    /// The sum of buckets weighted by c(1 − c)^age, not divided by the sum of weights.
    fn exponential(&self, last: u64, silent: u64) -> f64 {
        if silent > self.length() {
            return 0.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "at most WINDOW_SECONDS_MAX")]
        let length = self.length() as f64;
        let coefficient = (1.0 - (1.0 - EXPONENTIAL_COVERAGE).powf(1.0 / length)).max(COEFFICIENT_MIN);
        let kept = (self.length() - silent).min(last + 1);
        let age_first = i32::try_from(silent).unwrap_or(i32::MAX);
        let mut weight = coefficient * (1.0 - coefficient).powi(age_first);
        let mut sum = 0.0;
        for age in 0..kept {
            sum += self.bucket(last - age) * weight;
            weight *= 1.0 - coefficient;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "whole numbers")]
    fn a_resized_window_keeps_what_fits() {
        let mut window = Window::new(4, Aggregation::Linear);
        for (second, value) in [(1, 8.0), (2, 8.0), (3, 2.0), (4, 4.0)] {
            window.record(second, value);
        }
        let mut longer = window.clone();
        longer.resize(10, Aggregation::Linear);
        assert_eq!(longer.average(4), 5.5, "four seconds are known, not ten");
        longer.record(5, 0.5);
        assert_eq!(longer.average(5), 4.5);
        window.resize(2, Aggregation::Linear);
        assert_eq!(window.average(4), 3.0, "the last two");
        window.record(5, 0.0);
        assert_eq!(window.average(5), 2.0);
        let mut empty = Window::new(4, Aggregation::Linear);
        empty.resize(6, Aggregation::Linear);
        assert!(empty.is_empty(0));
    }
}
