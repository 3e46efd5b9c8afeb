//! From averages to a wanted number of replicas: `Scale()` of Knative's autoscaler.

use std::collections::VecDeque;
use std::time::Duration;

use super::config::{AutoscalingConfig, BurstCapacity};
use super::window::Window;
use super::{EVALUATION_INTERVAL, round_to_i64, whole_seconds};

/// What the decider last concluded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Conclusion {
    /// Replicas wanted, before bounds; -1 before the first conclusion.
    pub(super) desired: i64,
    /// Requests that still fit at a burst; negative puts the activator into the path.
    pub(super) excess_burst_capacity: i64,
    /// Averages of the stable and the panic window.
    pub(super) stable: f64,
    pub(super) panic: f64,
}

/// Panic mode: since when, and the most replicas wanted during it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Panic {
    since: Duration,
    replicas: i64,
}

#[derive(Debug, Clone)]
pub(super) struct Decider {
    stable: Window,
    panic_window: Window,
    panicking: Option<Panic>,
    delayed: Option<DelayWindow>,
    last: Conclusion,
}

/// The most wanted within the scale-down delay, one value per evaluation interval.
#[derive(Debug, Clone)]
struct DelayWindow {
    length: u64,
    /// (interval, value), values falling, so that the front is the maximum.
    values: VecDeque<(u64, i64)>,
}

impl DelayWindow {
    fn new(delay: Duration) -> Option<Self> {
        let length = whole_seconds(delay).div_ceil(EVALUATION_INTERVAL.as_secs());
        (length > 0).then(|| Self { length, values: VecDeque::new() })
    }

    /// Notes a value and answers with the maximum.
    fn note(&mut self, now: Duration, value: i64) -> i64 {
        let interval = whole_seconds(now) / EVALUATION_INTERVAL.as_secs();
        while self.values.back().is_some_and(|(_, older)| *older <= value) {
            self.values.pop_back();
        }
        self.values.push_back((interval, value));
        while self.values.front().is_some_and(|(noted, _)| noted + self.length <= interval) {
            self.values.pop_front();
        }
        self.values.front().map_or(value, |(_, most)| *most)
    }
}

impl Decider {
    /// A decider that finds `ready` replicas at work. With more than one it starts in panic mode, which keeps them
    /// until there is a history to judge by.
    pub(super) fn new(config: &AutoscalingConfig, ready: u32, now: Duration) -> Self {
        let aggregation = config.aggregation;
        let excess_burst_capacity = match config.burst_capacity {
            BurstCapacity::None => 0,
            BurstCapacity::Unlimited => -1,
            BurstCapacity::Requests(wanted) => {
                round_to_i64((f64::from(config.initial_scale) * config.total - wanted).trunc())
            }
        };
        Self {
            stable: Window::new(config.stable_window.as_secs(), aggregation),
            panic_window: Window::new(config.panic_window.as_secs(), aggregation),
            panicking: (ready > 1).then(|| Panic { since: now, replicas: i64::from(ready) }),
            delayed: DelayWindow::new(config.scale_down_delay),
            last: Conclusion { desired: -1, excess_burst_capacity, stable: 0.0, panic: 0.0 },
        }
    }

    /// Goes on with another configuration; what was measured stays.
    pub(super) fn reconfigure(&mut self, config: &AutoscalingConfig) {
        self.stable.resize(config.stable_window.as_secs(), config.aggregation);
        self.panic_window.resize(config.panic_window.as_secs(), config.aggregation);
        let before = self.delayed.take();
        self.delayed = DelayWindow::new(config.scale_down_delay);
        if let (Some(delayed), Some(before)) = (&mut self.delayed, before) {
            // The next note drops what is too old for the new length.
            delayed.values = before.values;
        }
    }

    pub(super) fn last(&self) -> Conclusion {
        self.last
    }

    pub(super) fn is_panicking(&self) -> bool {
        self.panicking.is_some()
    }

    /// The most replicas wanted in this panic; 0 outside one.
    pub(super) fn panic_replicas(&self) -> i64 {
        self.panicking.map_or(0, |panic| panic.replicas)
    }

    pub(super) fn record(&mut self, now: Duration, value: f64) {
        self.stable.record(whole_seconds(now), value);
        self.panic_window.record(whole_seconds(now), value);
    }

    /// Decides; without data the last conclusion stands and `false` is returned.
    pub(super) fn scale(&mut self, config: &AutoscalingConfig, reachable: bool, now: Duration, ready: u32) -> bool {
        let second = whole_seconds(now);
        // With an activator that is always in the path nothing is scraped, and silence means no load.
        let scraped = config.burst_capacity != BurstCapacity::Unlimited;
        if scraped && self.stable.is_empty(second) {
            return false;
        }
        let stable = self.stable.average(second);
        let panic = self.panic_window.average(second);
        let pods = f64::from(ready.max(1));
        let most = (config.max_scale_up_rate * pods).ceil();
        let least = if reachable { (pods / config.max_scale_down_rate).floor() } else { 0.0 };
        let bounded = |raw: f64| {
            let clamped = round_to_i64(raw.max(least).min(most));
            let activation = i64::from(config.activation_scale);
            if activation > 1 && raw > 0.0 { clamped.max(activation) } else { clamped }
        };
        let raw_stable = (stable / config.target).ceil();
        let raw_panic = (panic / config.target).ceil();
        let (wanted_stable, wanted_panic) = (bounded(raw_stable), bounded(raw_panic));
        self.update_panic(config, now, raw_panic / pods >= config.panic_threshold);
        let mut desired = wanted_stable;
        if let Some(panic) = &mut self.panicking {
            panic.replicas = panic.replicas.max(wanted_stable).max(wanted_panic);
            desired = panic.replicas;
        }
        if let (true, Some(delayed)) = (reachable, &mut self.delayed) {
            desired = delayed.note(now, desired);
        }
        let excess_burst_capacity = match config.burst_capacity {
            BurstCapacity::None => 0,
            BurstCapacity::Unlimited => -1,
            BurstCapacity::Requests(wanted) => round_to_i64((f64::from(ready) * config.total - wanted - panic).floor()),
        };
        self.last = Conclusion { desired, excess_burst_capacity, stable, panic };
        true
    }

    fn update_panic(&mut self, config: &AutoscalingConfig, now: Duration, over: bool) {
        if over {
            let replicas = self.panic_replicas();
            self.panicking = Some(Panic { since: now, replicas });
        } else if self.panicking.is_some_and(|panic| panic.since + config.stable_window < now) {
            self.panicking = None;
        }
    }
}
