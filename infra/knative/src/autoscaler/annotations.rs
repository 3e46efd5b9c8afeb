//! Reading the `autoscaling.knative.dev/*` annotations of a revision.

use std::collections::BTreeMap;
use std::time::Duration;

use super::config::{ANNOTATION_PREFIX, Aggregation, BurstCapacity, Metric};
use super::defaults::AutoscalerDefaults;
use crate::go_duration::{parse_duration_within, parse_whole_seconds};

/// Annotation that overrides the progress deadline.
const PROGRESS_DEADLINE: &str = "serving.knative.dev/progress-deadline";

/// Spellings of earlier releases that are still read.
const ALIASES: [(&str, &str); 10] = [
    ("min-scale", "minScale"),
    ("max-scale", "maxScale"),
    ("initial-scale", "initialScale"),
    ("target-utilization-percentage", "targetUtilizationPercentage"),
    ("target-burst-capacity", "targetBurstCapacity"),
    ("panic-window-percentage", "panicWindowPercentage"),
    ("panic-threshold-percentage", "panicThresholdPercentage"),
    ("metric-aggregation-algorithm", "metricAggregationAlgorithm"),
    ("scale-down-delay", "scaleDownDelay"),
    ("scale-to-zero-pod-retention-period", "scaleToZeroPodRetentionPeriod"),
];

/// Keys under `autoscaling.knative.dev/` that have a meaning.
const KNOWN: [&str; 15] = [
    "class",
    "metric",
    "metric-aggregation-algorithm",
    "target",
    "target-utilization-percentage",
    "target-burst-capacity",
    "window",
    "panic-window-percentage",
    "panic-threshold-percentage",
    "min-scale",
    "max-scale",
    "initial-scale",
    "activation-scale",
    "scale-down-delay",
    "scale-to-zero-pod-retention-period",
];

/// The class that is implemented here.
const CLASS: &str = "kpa.autoscaling.knative.dev";

/// The other class that the cluster knows.
const HORIZONTAL_CLASS: &str = "hpa.autoscaling.knative.dev";

/// Annotations that are admitted but probably not what the user meant, as (annotation, doubt).
pub(crate) fn doubts(all: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let mut doubts = Vec::new();
    for (name, value) in all {
        let Some(key) = name.strip_prefix(ANNOTATION_PREFIX) else {
            continue;
        };
        let doubt = match key {
            "class" if value != CLASS => format!("class {value} is not run here; {CLASS} is used"),
            "metric-aggregation-algorithm" if algorithm(value).is_none() => {
                format!("there is no algorithm {value}; `linear` is used")
            }
            _ if KNOWN.contains(&key) || ALIASES.iter().any(|(_, alias)| *alias == key) => continue,
            _ => "the autoscaler knows no such annotation; it is without effect".to_owned(),
        };
        doubts.push((name.clone(), doubt));
    }
    doubts
}

fn algorithm(name: &str) -> Option<Aggregation> {
    match name {
        "" | "linear" => Some(Aggregation::Linear),
        "weighted-exponential" | "weightedExponential" => Some(Aggregation::WeightedExponential),
        _ => None,
    }
}

/// Longest progress deadline that is of any use: one day.
const PROGRESS_DEADLINE_MAX: Duration = Duration::from_hours(24);

/// The annotations of one revision; collects what is wrong with them.
#[derive(Debug)]
pub(super) struct Annotations<'a> {
    all: &'a BTreeMap<String, String>,
    faults: Vec<(String, String)>,
}

impl<'a> Annotations<'a> {
    pub(super) fn new(all: &'a BTreeMap<String, String>) -> Self {
        Self { all, faults: Vec::new() }
    }

    pub(super) fn into_faults(self) -> Vec<(String, String)> {
        self.faults
    }

    /// The full name under which `key` is given, and its value.
    fn get(&self, key: &str) -> Option<(String, &'a str)> {
        let alias = ALIASES.iter().find(|(name, _)| *name == key).map(|(_, alias)| *alias);
        std::iter::once(key).chain(alias).find_map(|spelling| {
            let name = format!("{ANNOTATION_PREFIX}{spelling}");
            self.all.get(&name).map(|value| (name, value.as_str()))
        })
    }

    fn fault(&mut self, name: String, reason: impl Into<String>) {
        self.faults.push((name, reason.into()));
    }

    /// A number inside `min..=max`.
    pub(super) fn number(&mut self, key: &str, min: f64, max: f64) -> Option<f64> {
        let (name, text) = self.get(key)?;
        match text.parse::<f64>() {
            Ok(number) if number >= min && number <= max && number.is_finite() => {
                return Some(number);
            }
            Ok(_) if max.is_infinite() => {
                self.fault(name, format!("expected {min} <= {text}"));
            }
            Ok(_) => self.fault(name, format!("expected {min} <= {text} <= {max}")),
            Err(_) => self.fault(name, format!("invalid value: {text}; must be a number")),
        }
        None
    }

    /// A whole number that is not negative.
    fn count(&mut self, key: &str) -> Option<u32> {
        let (name, text) = self.get(key)?;
        let count = text.parse::<i32>().ok().and_then(|number| u32::try_from(number).ok());
        if count.is_none() {
            self.fault(name, format!("invalid value: {text}; must be a whole number from 0 to {}", i32::MAX));
        }
        count
    }

    pub(super) fn seconds(&mut self, key: &str, min: Duration, max: Duration) -> Option<Duration> {
        self.duration(key, |text| parse_whole_seconds(text, min, max))
    }

    fn duration(&mut self, key: &str, parse: impl Fn(&str) -> Result<Duration, String>) -> Option<Duration> {
        let (name, text) = self.get(key)?;
        parse(text).map_err(|reason| self.fault(name, reason)).ok()
    }

    /// Unlike other durations this one may have fractions of a second.
    pub(super) fn pod_retention(&mut self, max: Duration) -> Option<Duration> {
        self.duration("scale-to-zero-pod-retention-period", |text| parse_duration_within(text, Duration::ZERO, max))
    }

    pub(super) fn progress_deadline(&mut self) -> Option<Duration> {
        let text = self.all.get(PROGRESS_DEADLINE)?;
        match parse_whole_seconds(text, Duration::from_secs(1), PROGRESS_DEADLINE_MAX) {
            Ok(duration) => Some(duration),
            Err(reason) => {
                self.fault(PROGRESS_DEADLINE.to_owned(), reason);
                None
            }
        }
    }

    /// The class as written; absent means [`CLASS`].
    fn class(&mut self) -> Option<&'a str> {
        let (name, class) = self.get("class")?;
        if class.ends_with("autoscaling.knative.dev") && ![CLASS, HORIZONTAL_CLASS].contains(&class) {
            self.fault(name, format!("invalid value: {class}; must be {CLASS} or {HORIZONTAL_CLASS}"));
        }
        Some(class)
    }

    /// The metric; those of other classes are admitted and replaced by concurrency.
    pub(super) fn metric(&mut self) -> Metric {
        let own = self.class().is_none_or(|class| class == CLASS);
        match self.get("metric") {
            None | Some((_, "concurrency")) => Metric::Concurrency,
            Some((_, "rps")) => Metric::RequestsPerSecond,
            Some((name, text)) => {
                if own {
                    self.fault(name, format!("invalid value: {text}; must be `concurrency` or `rps`"));
                }
                Metric::Concurrency
            }
        }
    }

    /// The aggregation; upstream checks its name only beside an explicit class, and else falls back to the linear one.
    pub(super) fn aggregation(&mut self) -> Aggregation {
        let Some((name, text)) = self.get("metric-aggregation-algorithm") else {
            return Aggregation::Linear;
        };
        let known = algorithm(text);
        if known.is_none() && self.get("class").is_some_and(|(_, class)| class == CLASS) {
            self.fault(name, format!("invalid value: {text}; must be `linear` or `weighted-exponential`"));
        }
        known.unwrap_or(Aggregation::Linear)
    }

    pub(super) fn burst_capacity(&mut self) -> Option<BurstCapacity> {
        let (name, text) = self.get("target-burst-capacity")?;
        let parsed = text.parse::<f64>().ok().and_then(BurstCapacity::from_number);
        if parsed.is_none() {
            self.fault(name, format!("invalid value: {text}; must be -1, or a number from 0"));
        }
        parsed
    }

    /// (min-scale, max-scale), with the defaults where an annotation is absent.
    pub(super) fn bounds(&mut self, defaults: &AutoscalerDefaults) -> (u32, u32) {
        let given_min = self.count("min-scale");
        let given_max = self.count("max-scale");
        let min = given_min.unwrap_or(defaults.min_scale);
        let max = given_max.unwrap_or(defaults.max_scale);
        let name = format!("{ANNOTATION_PREFIX}max-scale");
        if max != 0 && max < min {
            self.fault(name.clone(), format!("max-scale={max} is less than min-scale={min}"));
        }
        let limit = defaults.max_scale_limit;
        if limit > 0 && given_max.is_some_and(|max| max == 0 || max > limit) {
            self.fault(name, format!("expected 1 <= {max} <= {limit} (max-scale-limit)"));
        }
        (min, max)
    }

    pub(super) fn initial_scale(&mut self, defaults: &AutoscalerDefaults) -> u32 {
        let Some(scale) = self.count("initial-scale") else {
            return defaults.initial_scale;
        };
        if scale == 0 && !defaults.allow_zero_initial_scale {
            let name = format!("{ANNOTATION_PREFIX}initial-scale");
            self.fault(name, "invalid value: 0; not allowed unless config-autoscaler sets allow-zero-initial-scale");
        }
        scale
    }

    pub(super) fn activation_scale(&mut self, min: u32, max: u32) -> u32 {
        let Some(scale) = self.count("activation-scale") else {
            return 0;
        };
        let name = format!("{ANNOTATION_PREFIX}activation-scale");
        if scale < 2 {
            self.fault(name, format!("invalid value: {scale}; must be at least 2"));
        } else if max > 0 && scale > max {
            self.fault(name, format!("activation-scale={scale} is greater than max-scale={max}"));
        } else if scale < min {
            self.fault(name, format!("activation-scale={scale} is less than min-scale={min}"));
        }
        scale
    }
}
