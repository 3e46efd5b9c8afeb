//! Cluster-wide defaults: the `ConfigMap` `config-autoscaler`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::config::BurstCapacity;
use crate::go_duration::{parse_go_duration, parse_whole_seconds};

/// The values of `config-autoscaler`, with the shipped ones as [`Default`].
#[derive(Debug, Clone, PartialEq)]
pub struct AutoscalerDefaults {
    /// `container-concurrency-target-default`: requests in flight per replica without a concurrency limit.
    pub concurrency_target: f64,
    /// `requests-per-second-target-default`.
    pub requests_per_second_target: f64,
    /// `container-concurrency-target-percentage`, 1–100.
    pub target_percentage: f64,
    /// `target-burst-capacity`.
    pub burst_capacity: BurstCapacity,
    /// `stable-window`.
    pub stable_window: Duration,
    /// `panic-window-percentage`, 1–100.
    pub panic_window_percentage: f64,
    /// `panic-threshold-percentage`, 110–1000.
    pub panic_threshold_percentage: f64,
    /// `max-scale-up-rate`.
    pub max_scale_up_rate: f64,
    /// `max-scale-down-rate`.
    pub max_scale_down_rate: f64,
    /// `enable-scale-to-zero`.
    pub scale_to_zero: bool,
    /// `scale-to-zero-grace-period`.
    pub grace_period: Duration,
    /// `scale-to-zero-pod-retention-period`.
    pub pod_retention: Duration,
    /// `scale-down-delay`.
    pub scale_down_delay: Duration,
    /// `initial-scale`.
    pub initial_scale: u32,
    /// `allow-zero-initial-scale`.
    pub allow_zero_initial_scale: bool,
    /// `min-scale`.
    pub min_scale: u32,
    /// `max-scale`; 0 for none.
    pub max_scale: u32,
    /// `max-scale-limit`: bound of the annotation `max-scale`; 0 for none.
    pub max_scale_limit: u32,
    /// `activator-capacity`.
    pub activator_capacity: f64,
    /// `progress-deadline` of `config-deployment`.
    pub progress_deadline: Duration,
}

impl Default for AutoscalerDefaults {
    fn default() -> Self {
        Self {
            concurrency_target: 100.0,
            requests_per_second_target: 200.0,
            target_percentage: 70.0,
            burst_capacity: BurstCapacity::Requests(211.0),
            stable_window: Duration::from_mins(1),
            panic_window_percentage: 10.0,
            panic_threshold_percentage: 200.0,
            max_scale_up_rate: 1000.0,
            max_scale_down_rate: 2.0,
            scale_to_zero: true,
            grace_period: Duration::from_secs(30),
            pod_retention: Duration::ZERO,
            scale_down_delay: Duration::ZERO,
            initial_scale: 1,
            allow_zero_initial_scale: false,
            min_scale: 0,
            max_scale: 0,
            max_scale_limit: 0,
            activator_capacity: 100.0,
            progress_deadline: Duration::from_mins(10),
        }
    }
}

impl BurstCapacity {
    /// -1, 0, or a positive number; `None` for any other.
    pub(super) fn from_number(number: f64) -> Option<Self> {
        if !number.is_finite() {
            None
        } else if number > 0.0 {
            Some(Self::Requests(number))
        } else if number.abs() < f64::EPSILON {
            Some(Self::None)
        } else if (number + 1.0).abs() < f64::EPSILON {
            Some(Self::Unlimited)
        } else {
            None
        }
    }
}

/// One `ConfigMap`'s data under reading; a wrong value leaves the default and is noted.
struct Data<'a> {
    map: &'a BTreeMap<String, String>,
    faults: Vec<(String, String)>,
}

impl Data<'_> {
    fn read<T>(&mut self, key: &str, slot: &mut T, parse: impl Fn(&str) -> Result<T, String>) {
        if let Some(text) = self.map.get(key) {
            match parse(text.trim()) {
                Ok(value) => *slot = value,
                Err(reason) => self.faults.push((key.to_owned(), reason)),
            }
        }
    }
}

fn number(min: f64, max: f64) -> impl Fn(&str) -> Result<f64, String> {
    move |text| match text.parse::<f64>() {
        Ok(number) if number >= min && number <= max && number.is_finite() => Ok(number),
        _ => Err(format!("invalid value: {text}; must be a number from {min} to {max}")),
    }
}

/// A percentage; values up to 1 are fractions.
fn percentage(text: &str) -> Result<f64, String> {
    let given = number(f64::MIN_POSITIVE, 100.0)(text)?;
    Ok(if given <= 1.0 { given * 100.0 } else { given })
}

fn count(text: &str) -> Result<u32, String> {
    let parsed = text.parse::<i32>().ok().and_then(|number| u32::try_from(number).ok());
    parsed.ok_or_else(|| format!("invalid value: {text}; must be a whole number from 0"))
}

/// `true` and `false` in any case of letters.
fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("invalid value: {text}; must be true or false")),
    }
}

fn burst(text: &str) -> Result<BurstCapacity, String> {
    let parsed = text.parse::<f64>().ok().and_then(BurstCapacity::from_number);
    parsed.ok_or_else(|| format!("invalid value: {text}; must be -1, or a number from 0"))
}

fn seconds(min: u64, max: u64) -> impl Fn(&str) -> Result<Duration, String> {
    move |text| parse_whole_seconds(text, Duration::from_secs(min), Duration::from_secs(max))
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_go_duration(text).ok_or_else(|| format!("invalid value: {text}; must be a Go duration such as 30s"))
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    let parsed = parse_go_duration(text).filter(|duration| !duration.is_zero());
    parsed.ok_or_else(|| format!("invalid value: {text}; must be a Go duration above zero, such as 30s"))
}

impl AutoscalerDefaults {
    /// Overlays these defaults with the data of a `config-autoscaler`.
    ///
    /// # Errors
    ///
    /// Every key that is wrong, as (key, reason). Unknown keys are left alone, as upstream does.
    pub fn overlay(&mut self, map: &BTreeMap<String, String>) -> Result<(), Vec<(String, String)>> {
        let mut data = Data { map, faults: Vec::new() };
        let any = || number(0.01, f64::MAX);
        let rate = || number(1.0 + f64::EPSILON, f64::MAX);
        data.read("container-concurrency-target-default", &mut self.concurrency_target, any());
        data.read("requests-per-second-target-default", &mut self.requests_per_second_target, any());
        data.read("container-concurrency-target-percentage", &mut self.target_percentage, percentage);
        data.read("target-burst-capacity", &mut self.burst_capacity, burst);
        data.read("stable-window", &mut self.stable_window, seconds(6, 3600));
        data.read("panic-window-percentage", &mut self.panic_window_percentage, number(1.0, 100.0));
        data.read("panic-threshold-percentage", &mut self.panic_threshold_percentage, number(110.0, 1000.0));
        data.read("max-scale-up-rate", &mut self.max_scale_up_rate, rate());
        data.read("max-scale-down-rate", &mut self.max_scale_down_rate, rate());
        data.read("enable-scale-to-zero", &mut self.scale_to_zero, boolean);
        data.read("scale-to-zero-grace-period", &mut self.grace_period, positive_duration);
        data.read("scale-to-zero-pod-retention-period", &mut self.pod_retention, duration);
        data.read("scale-down-delay", &mut self.scale_down_delay, seconds(0, 3600));
        data.read("allow-zero-initial-scale", &mut self.allow_zero_initial_scale, boolean);
        data.read("initial-scale", &mut self.initial_scale, count);
        data.read("min-scale", &mut self.min_scale, count);
        data.read("max-scale", &mut self.max_scale, count);
        data.read("max-scale-limit", &mut self.max_scale_limit, count);
        data.read("activator-capacity", &mut self.activator_capacity, number(1.0, f64::MAX));
        if self.initial_scale == 0 && !self.allow_zero_initial_scale {
            let reason = "invalid value: 0; set allow-zero-initial-scale to true as well";
            data.faults.push(("initial-scale".to_owned(), reason.to_owned()));
            self.initial_scale = 1;
        }
        if self.max_scale != 0 && self.max_scale < self.min_scale {
            let reason = format!("max-scale={} is less than min-scale={}", self.max_scale, self.min_scale);
            data.faults.push(("max-scale".to_owned(), reason));
        }
        if data.faults.is_empty() { Ok(()) } else { Err(data.faults) }
    }
}
