//! Cluster-wide settings that manifests may bring along as `ConfigMap`s of Knative's own namespaces.

use std::collections::BTreeMap;
use std::time::Duration;

use super::fields::Findings;
use crate::autoscaler::AutoscalerDefaults;
use crate::delivery::DeliveryFeatures;
use crate::go_duration::parse_whole_seconds;

/// Longest `max-revision-timeout-seconds` that is read: one day.
const TIMEOUT_SECONDS_MAX: i64 = 86_400;

/// Values of `config-defaults`, with the shipped ones as [`Default`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServingDefaults {
    /// `revision-timeout-seconds`.
    pub timeout: Duration,
    /// `max-revision-timeout-seconds`.
    pub timeout_max: Duration,
    /// `revision-response-start-timeout-seconds`; as long as [`Self::timeout`] unless it is given.
    pub response_start_timeout: Option<Duration>,
    /// `revision-idle-timeout-seconds`.
    pub idle_timeout: Option<Duration>,
    /// `container-concurrency`.
    pub container_concurrency: u32,
    /// `container-concurrency-max-limit`.
    pub container_concurrency_max: u32,
    /// `allow-container-concurrency-zero`.
    pub allow_zero_concurrency: bool,
}

impl Default for ServingDefaults {
    fn default() -> Self {
        Self {
            timeout: Duration::from_mins(5),
            timeout_max: Duration::from_mins(10),
            response_start_timeout: Some(Duration::from_mins(5)),
            idle_timeout: None,
            container_concurrency: 0,
            container_concurrency_max: 1000,
            allow_zero_concurrency: true,
        }
    }
}

/// All cluster-wide settings.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings {
    /// `config-autoscaler`, and the progress deadline of `config-deployment`.
    pub autoscaler: AutoscalerDefaults,
    /// `config-defaults`.
    pub serving: ServingDefaults,
    /// `config-features` of eventing.
    pub delivery: DeliveryFeatures,
}

impl Settings {
    /// Overlays the settings with one `ConfigMap`; others than those of Knative are left alone.
    pub(crate) fn overlay(&mut self, name: &str, data: &BTreeMap<String, String>, findings: &Findings) {
        let faults = match name {
            "config-autoscaler" => self.autoscaler.overlay(data).err().unwrap_or_default(),
            "config-defaults" => self.serving.overlay(data),
            "config-features" => self.overlay_features(data),
            "config-deployment" => self.overlay_deployment(data),
            _ => Vec::new(),
        };
        for (key, reason) in faults {
            findings.error(format!("data[{key}]"), reason);
        }
    }

    fn overlay_features(&mut self, data: &BTreeMap<String, String>) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let slots =
            [("delivery-timeout", &mut self.delivery.timeout), ("delivery-retryafter", &mut self.delivery.retry_after)];
        for (key, slot) in slots {
            match data.get(key).map(|text| text.to_ascii_lowercase()).as_deref() {
                None => {}
                Some("enabled") => *slot = true,
                Some("disabled") => *slot = false,
                Some(other) => {
                    faults.push((key.to_owned(), format!("invalid value: {other}; must be enabled or disabled")));
                }
            }
        }
        faults
    }

    fn overlay_deployment(&mut self, data: &BTreeMap<String, String>) -> Vec<(String, String)> {
        let Some(text) = data.get("progress-deadline") else {
            return Vec::new();
        };
        match parse_whole_seconds(text, Duration::from_secs(1), Duration::from_hours(24)) {
            Ok(deadline) => {
                self.autoscaler.progress_deadline = deadline;
                Vec::new()
            }
            Err(reason) => vec![("progress-deadline".to_owned(), reason)],
        }
    }
}

impl ServingDefaults {
    fn overlay(&mut self, data: &BTreeMap<String, String>) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let mut number = |key: &str, min: i64, max: i64| -> Option<u32> {
            let text = data.get(key)?;
            let value = text.trim().parse::<i64>().ok().filter(|value| (min..=max).contains(value));
            if value.is_none() {
                let reason = format!("invalid value: {text}; must be a whole number from {min} to {max}");
                faults.push((key.to_owned(), reason));
            }
            value.and_then(|value| u32::try_from(value).ok())
        };
        let seconds = |value: u32| Duration::from_secs(u64::from(value));
        if let Some(value) = number("max-revision-timeout-seconds", 1, TIMEOUT_SECONDS_MAX) {
            self.timeout_max = seconds(value);
        }
        let max = i64::try_from(self.timeout_max.as_secs()).unwrap_or(TIMEOUT_SECONDS_MAX);
        if let Some(value) = number("revision-timeout-seconds", 1, max) {
            self.timeout = seconds(value);
            self.response_start_timeout = Some(self.timeout);
        }
        // Neither may be longer than the whole request, as upstream refuses it.
        let max = i64::try_from(self.timeout.as_secs()).unwrap_or(max);
        if let Some(value) = number("revision-response-start-timeout-seconds", 0, max) {
            self.response_start_timeout = Some(seconds(value)).filter(|timeout| !timeout.is_zero());
        }
        if let Some(value) = number("revision-idle-timeout-seconds", 0, max) {
            self.idle_timeout = Some(seconds(value)).filter(|timeout| !timeout.is_zero());
        }
        if let Some(value) = number("container-concurrency-max-limit", 1, i64::from(i32::MAX)) {
            self.container_concurrency_max = value;
        }
        if let Some(value) = number("container-concurrency", 0, i64::from(self.container_concurrency_max)) {
            self.container_concurrency = value;
        }
        if let Some(text) = data.get("allow-container-concurrency-zero") {
            self.allow_zero_concurrency = text.trim().eq_ignore_ascii_case("true");
        }
        faults
    }
}
