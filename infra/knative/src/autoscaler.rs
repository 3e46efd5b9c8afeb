//! The Knative pod autoscaler: from measured load to a number of replicas.
//!
//! An [`Autoscaler`] belongs to one revision. The caller records load every second, calls [`Autoscaler::tick`] every
//! [`EVALUATION_INTERVAL`], and carries out what the [`Decision`] says. Time is a [`Duration`] since any moment of the
//! caller's choice that does not change, such as the start of the process.
//!
//! The algorithm is that of knative/serving (`pkg/autoscaler`, `pkg/reconciler/autoscaling/kpa`), checked against
//! recordings of it in `testdata/kpa`.

use std::time::Duration;

mod annotations;
mod config;
mod decider;
mod defaults;
mod reconciler;
mod window;

pub(crate) use annotations::doubts;
pub use config::{ANNOTATION_PREFIX, Aggregation, AutoscalingConfig, BurstCapacity, Metric, TARGET_MIN};
pub use defaults::AutoscalerDefaults;
pub use reconciler::Activity;

use decider::Decider;
use reconciler::{Reconciler, Sight};

/// Time between two evaluations.
pub const EVALUATION_INTERVAL: Duration = Duration::from_secs(2);

/// Longest window, in seconds.
pub(crate) const WINDOW_SECONDS_MAX: usize = 3600;

fn whole_seconds(time: Duration) -> u64 {
    time.as_secs()
}

/// A whole number that came out of `f64` arithmetic.
#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is what an absurd load should do")]
fn round_to_i64(whole: f64) -> i64 {
    whole as i64
}

/// The autoscaler of one revision.
#[derive(Debug, Clone)]
pub struct Autoscaler {
    config: AutoscalingConfig,
    reachable: bool,
    decider: Decider,
    reconciler: Reconciler,
    ready: u32,
}

/// What the autoscaler decided, and the numbers behind it.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each with a name of its own")]
pub struct Decision {
    /// Replicas that there should be.
    pub replicas: u32,
    /// Replicas wanted: 0 with `replicas` above it means that the last ones go once the grace period is over, and -1
    /// that nothing is known yet.
    pub want: i64,
    /// Whether requests go through the activator's buffer. It is true whenever no replica is ready.
    pub activator_in_path: bool,
    /// Whether the activator is in the path by decision, and not only because no replica is ready.
    pub proxy_mode: bool,
    /// State of the revision.
    pub activity: Activity,
    /// Whether panic mode is on.
    pub panic: bool,
    /// Most replicas wanted in this panic; 0 outside one.
    pub panic_replicas: i64,
    /// Replicas desired by load alone, before bounds; -1 before the first evaluation with data.
    pub desired: i64,
    /// Requests that still fit at a burst; negative puts the activator into the path.
    pub excess_burst_capacity: i64,
    /// Average of the metric over the stable window.
    pub stable_average: f64,
    /// Average of the metric over the panic window.
    pub panic_average: f64,
    /// Activators that the revision would be spread over in a cluster.
    pub activators: u32,
    /// Whether this evaluation had data to decide on; otherwise the last conclusion stands.
    pub has_data: bool,
    /// When [`Autoscaler::observe`] should be called although nothing else happens.
    pub observe_at: Option<Duration>,
}

impl Autoscaler {
    /// The autoscaler of a revision that is made now, with `ready` replicas already at work (0 for a new one).
    ///
    /// `config` already holds what the container concurrency means for the target; `reachable` says whether a route
    /// points at the revision, as for [`Autoscaler::set_reachable`].
    pub fn new(config: AutoscalingConfig, reachable: bool, ready: u32, now: Duration) -> Self {
        let decider = Decider::new(&config, ready, now);
        let reconciler = Reconciler::new(&config, now);
        let mut autoscaler = Self { config, reachable, decider, reconciler, ready };
        autoscaler.reconcile(now);
        autoscaler
    }

    /// Says whether a route points at the revision. Unreachable ones have no lower bound and fall at once.
    pub fn set_reachable(&mut self, now: Duration, reachable: bool) {
        if self.reachable != reachable {
            self.reachable = reachable;
            self.reconcile(now);
        }
    }

    /// Goes on with another configuration, as Knative does when `config-autoscaler` changes: bounds hold at once,
    /// targets and windows from the next tick on, and what was measured stays. Unlike in Knative a changed
    /// scale-down delay holds for revisions at work, too.
    pub fn reconfigure(&mut self, now: Duration, config: AutoscalingConfig) {
        if self.config != config {
            self.decider.reconfigure(&config);
            self.config = config;
            if self.reachable {
                // Also where nothing has been measured yet, which a reconciliation would wait for.
                self.reconciler.replicas = self.reconciler.replicas.max(self.config.min_scale);
            }
            self.reconcile(now);
        }
    }

    /// The configuration it works with.
    pub fn config(&self) -> &AutoscalingConfig {
        &self.config
    }

    /// Adds the load of one second, over all replicas and the activator: average requests in flight, and requests that
    /// came. Several calls for one second add up. Not calling means that nobody measured.
    pub fn record(&mut self, now: Duration, concurrency: f64, requests_per_second: f64) {
        let value = match self.config.metric {
            Metric::Concurrency => concurrency,
            Metric::RequestsPerSecond => requests_per_second,
        };
        if value.is_finite() {
            self.decider.record(now, value);
        }
    }

    /// A request came to an activator. While nothing is wanted this evaluates at once, so that the first request does
    /// not wait for the next tick; record its load before. `None` when there is no need.
    pub fn poke(&mut self, now: Duration, ready: u32) -> Option<Decision> {
        (self.decider.last().desired == 0).then(|| self.tick(now, ready))
    }

    /// Evaluates the load and decides, with `ready` replicas ready.
    pub fn tick(&mut self, now: Duration, ready: u32) -> Decision {
        let before = self.decider.last();
        let has_data = self.decider.scale(&self.config, self.reachable, now, ready);
        let after = self.decider.last();
        let changed =
            before.desired != after.desired || (before.excess_burst_capacity < 0) != (after.excess_burst_capacity < 0);
        let due = self.reconciler.again_at.is_some_and(|at| at <= now);
        if changed || due || ready != self.ready {
            self.ready = ready;
            self.reconcile(now);
        }
        Decision { has_data, ..self.decision() }
    }

    /// Looks again without evaluating: after the number of ready replicas changed, and at [`Decision::observe_at`].
    pub fn observe(&mut self, now: Duration, ready: u32) -> Decision {
        self.ready = ready;
        self.reconcile(now);
        self.decision()
    }

    /// The decision in force.
    pub fn decision(&self) -> Decision {
        let conclusion = self.decider.last();
        Decision {
            replicas: self.reconciler.replicas,
            want: self.reconciler.want,
            activator_in_path: self.reconciler.proxy_mode || self.ready == 0,
            proxy_mode: self.reconciler.proxy_mode,
            activity: self.reconciler.activity,
            panic: self.decider.is_panicking(),
            panic_replicas: self.decider.panic_replicas(),
            desired: conclusion.desired,
            excess_burst_capacity: conclusion.excess_burst_capacity,
            stable_average: conclusion.stable,
            panic_average: conclusion.panic,
            activators: self.reconciler.activators,
            has_data: true,
            observe_at: self.reconciler.again_at,
        }
    }

    fn reconcile(&mut self, now: Duration) {
        self.reconciler.reconcile(&Sight {
            config: &self.config,
            conclusion: self.decider.last(),
            reachable: self.reachable,
            ready: self.ready,
            now,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn config(adjust: impl FnOnce(&mut AutoscalerDefaults)) -> AutoscalingConfig {
        let mut defaults = AutoscalerDefaults::default();
        adjust(&mut defaults);
        AutoscalingConfig::without_annotations(0, &defaults)
    }

    /// An autoscaler that has had 70 requests in flight for 20 seconds, which one replica is to have.
    fn at_work() -> Autoscaler {
        let mut autoscaler = Autoscaler::new(config(|_| {}), true, 1, at(0));
        for second in 1..=20 {
            autoscaler.record(at(second), 70.0, 0.0);
            if second % 2 == 0 {
                autoscaler.tick(at(second), 1);
            }
        }
        assert_eq!(autoscaler.decision().replicas, 1);
        autoscaler
    }

    #[test]
    fn another_target_holds_from_the_next_tick_and_what_was_measured_stays() {
        let mut autoscaler = at_work();
        autoscaler.reconfigure(at(20), config(|defaults| defaults.concurrency_target = 40.0));
        assert_eq!(autoscaler.decision().replicas, 1);
        autoscaler.record(at(22), 70.0, 0.0);
        let decision = autoscaler.tick(at(22), 1);
        assert_eq!(decision.replicas, 3, "70 requests, 28 per replica: {decision:?}");
    }

    #[test]
    fn other_bounds_hold_at_once() {
        let mut autoscaler = at_work();
        autoscaler.reconfigure(at(20), config(|defaults| defaults.min_scale = 4));
        assert_eq!(autoscaler.decision().replicas, 4);
        autoscaler.reconfigure(at(21), config(|_| {}));
        assert_eq!(autoscaler.decision().replicas, 1);
        autoscaler.reconfigure(at(21), config(|defaults| defaults.max_scale = 2));
        autoscaler.record(at(22), 1000.0, 0.0);
        assert_eq!(autoscaler.tick(at(22), 1).replicas, 2);
    }

    #[test]
    fn a_lower_bound_holds_where_there_was_never_a_request() {
        let at_zero = config(|defaults| (defaults.allow_zero_initial_scale, defaults.initial_scale) = (true, 0));
        let mut autoscaler = Autoscaler::new(at_zero.clone(), true, 0, at(0));
        assert_eq!(autoscaler.tick(at(2), 0).replicas, 0);
        autoscaler.reconfigure(at(3), AutoscalingConfig { min_scale: 2, ..at_zero });
        assert_eq!(autoscaler.decision().replicas, 2);
        assert_eq!(autoscaler.tick(at(4), 2).replicas, 2);
    }

    #[test]
    fn a_shorter_window_ends_sooner() {
        let quiet_after = |window: u64| {
            let mut autoscaler = at_work();
            autoscaler.reconfigure(at(20), config(|defaults| defaults.stable_window = at(window)));
            (21..200).find(|&second| {
                autoscaler.record(at(second), 0.0, 0.0);
                second % 2 == 0 && autoscaler.tick(at(second), 1).desired == 0
            })
        };
        assert!(quiet_after(6) < quiet_after(60), "{:?} {:?}", quiet_after(6), quiet_after(60));
    }
}
