//! The numbers that the autoscaler works with: cluster defaults (`config-autoscaler`) overlaid by annotations.

use std::collections::BTreeMap;
use std::time::Duration;

use super::annotations::Annotations;
use super::defaults::AutoscalerDefaults;

/// Prefix of the annotations that steer the autoscaler.
pub const ANNOTATION_PREFIX: &str = "autoscaling.knative.dev/";

/// Smallest target that the algorithm divides by.
pub const TARGET_MIN: f64 = 0.01;

/// What the autoscaler measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Average number of requests in flight.
    Concurrency,
    /// Requests per second.
    RequestsPerSecond,
}

/// How samples inside a window become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregation {
    /// The mean.
    Linear,
    /// Newer samples weigh more.
    WeightedExponential,
}

/// When spare capacity is too small for the activator to leave the path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum BurstCapacity {
    /// `-1`: the activator is always in the path.
    Unlimited,
    /// `0`: the activator is in the path only at zero replicas.
    None,
    /// Requests that must fit on top of the load.
    Requests(f64),
}

/// Everything the algorithm needs to know about one revision.
#[derive(Debug, Clone, PartialEq)]
pub struct AutoscalingConfig {
    /// What is measured.
    pub metric: Metric,
    /// How it is averaged.
    pub aggregation: Aggregation,
    /// Load that one replica takes, in units of the metric.
    pub total: f64,
    /// Load that one replica should have: `total` times the target utilisation, at least [`TARGET_MIN`].
    pub target: f64,
    /// Spare capacity wanted.
    pub burst_capacity: BurstCapacity,
    /// Length of the stable window, whole seconds.
    pub stable_window: Duration,
    /// Length of the panic window, whole seconds, at least one.
    pub panic_window: Duration,
    /// Panic begins when the panic window wants this many times the ready replicas.
    pub panic_threshold: f64,
    /// Lower bound of replicas while a route points at the revision.
    pub min_scale: u32,
    /// Upper bound of replicas; 0 for none.
    pub max_scale: u32,
    /// Replicas to reach once before the revision counts as initialised.
    pub initial_scale: u32,
    /// Replicas to start with when scaling up from none; 0 or 1 for no such bound.
    pub activation_scale: u32,
    /// How long a higher decision holds.
    pub scale_down_delay: Duration,
    /// Shortest stay of the last replica after the traffic ended.
    pub pod_retention: Duration,
    /// Time for the activator to be in the path before the last replica goes.
    pub grace_period: Duration,
    /// Whether zero replicas are allowed.
    pub scale_to_zero: bool,
    /// Largest factor of growth per tick, above 1.
    pub max_scale_up_rate: f64,
    /// Largest factor of shrinking per tick, above 1.
    pub max_scale_down_rate: f64,
    /// Requests in flight that one activator is meant for.
    pub activator_capacity: f64,
    /// How long a revision may take to become ready.
    pub progress_deadline: Duration,
}

impl AutoscalingConfig {
    /// The configuration of a revision with these annotations (full names) and container concurrency (0 = unlimited).
    ///
    /// # Errors
    ///
    /// Every annotation that is wrong, as (annotation, reason).
    pub fn resolve(
        annotations: &BTreeMap<String, String>,
        container_concurrency: u32,
        defaults: &AutoscalerDefaults,
    ) -> Result<Self, Vec<(String, String)>> {
        let mut reader = Annotations::new(annotations);
        let config = read(&mut reader, container_concurrency, defaults);
        let faults = reader.into_faults();
        if faults.is_empty() { Ok(config) } else { Err(faults) }
    }

    /// The same with all windows and waits `factor` times shorter, for people who try scale to zero by hand.
    /// Windows stay whole seconds of at least one; a factor below 1 changes nothing.
    #[must_use]
    pub fn hastened(&self, factor: f64) -> Self {
        let factor = if factor.is_finite() { factor.max(1.0) } else { 1.0 };
        let window = |time: Duration| Duration::from_secs_f64((time.as_secs_f64() / factor).round().max(1.0));
        Self {
            stable_window: window(self.stable_window),
            panic_window: window(self.panic_window),
            scale_down_delay: self.scale_down_delay.div_f64(factor),
            pod_retention: self.pod_retention.div_f64(factor),
            grace_period: self.grace_period.div_f64(factor),
            ..self.clone()
        }
    }

    /// The configuration of a revision without annotations.
    pub fn without_annotations(container_concurrency: u32, defaults: &AutoscalerDefaults) -> Self {
        read(&mut Annotations::new(&BTreeMap::new()), container_concurrency, defaults)
    }
}

fn read(reader: &mut Annotations<'_>, container_concurrency: u32, defaults: &AutoscalerDefaults) -> AutoscalingConfig {
    let metric = reader.metric();
    let (total, utilisation) = read_load(reader, metric, container_concurrency, defaults);
    let stable_window =
        reader.seconds("window", Duration::from_secs(6), Duration::from_hours(1)).unwrap_or(defaults.stable_window);
    let panic_percentage =
        reader.number("panic-window-percentage", 1.0, 100.0).unwrap_or(defaults.panic_window_percentage);
    let panic_seconds = (stable_window.as_secs_f64() * panic_percentage / 100.0).round().max(1.0);
    let (min_scale, max_scale) = reader.bounds(defaults);
    let hour = Duration::from_hours(1);
    AutoscalingConfig {
        metric,
        aggregation: reader.aggregation(),
        total,
        target: (total * utilisation).max(TARGET_MIN),
        burst_capacity: reader.burst_capacity().unwrap_or(defaults.burst_capacity),
        stable_window,
        panic_window: Duration::from_secs_f64(panic_seconds),
        panic_threshold: reader
            .number("panic-threshold-percentage", 110.0, 1000.0)
            .unwrap_or(defaults.panic_threshold_percentage)
            / 100.0,
        min_scale,
        max_scale,
        initial_scale: reader.initial_scale(defaults),
        activation_scale: reader.activation_scale(min_scale, max_scale),
        scale_down_delay: reader.seconds("scale-down-delay", Duration::ZERO, hour).unwrap_or(defaults.scale_down_delay),
        pod_retention: reader.pod_retention(hour).unwrap_or(defaults.pod_retention),
        grace_period: defaults.grace_period,
        scale_to_zero: defaults.scale_to_zero,
        max_scale_up_rate: defaults.max_scale_up_rate,
        max_scale_down_rate: defaults.max_scale_down_rate,
        activator_capacity: defaults.activator_capacity,
        progress_deadline: reader.progress_deadline().unwrap_or(defaults.progress_deadline),
    }
}

/// The load that one replica takes, and the share of it that is aimed at.
fn read_load(
    reader: &mut Annotations<'_>,
    metric: Metric,
    container_concurrency: u32,
    defaults: &AutoscalerDefaults,
) -> (f64, f64) {
    let limit = (container_concurrency > 0).then(|| f64::from(container_concurrency));
    let given = reader.number("target", TARGET_MIN, f64::INFINITY);
    let total = match metric {
        Metric::RequestsPerSecond => given.unwrap_or(defaults.requests_per_second_target),
        Metric::Concurrency => match (given, limit) {
            (Some(given), Some(limit)) => given.min(limit),
            (Some(given), None) => given,
            (None, Some(limit)) => limit,
            (None, None) => defaults.concurrency_target,
        },
    };
    let percentage = reader.number("target-utilization-percentage", 1.0, 100.0).unwrap_or(defaults.target_percentage);
    (total, percentage / 100.0)
}
