//! The autoscaler against recordings of Knative's own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a recording that cannot be read fails the test")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use regrove_knative::autoscaler::{
    Activity, Aggregation, Autoscaler, AutoscalerDefaults, AutoscalingConfig, BurstCapacity, Decision, Metric,
};
use serde_json::Value;

/// Recorded averages have passed through an incrementally kept sum and six decimals.
const AVERAGE_TOLERANCE: f64 = 1.1e-6;

fn traces() -> Vec<(String, Value)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/kpa");
    let mut traces: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap())
        })
        .collect();
    traces.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(traces.len(), 42);
    traces
}

fn strings(value: &Value) -> BTreeMap<String, String> {
    let empty = serde_json::Map::new();
    let map = value.as_object().unwrap_or(&empty);
    map.iter().map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned())).collect()
}

fn config_of(trace: &Value) -> AutoscalingConfig {
    let config = &trace["config"];
    let mut defaults = AutoscalerDefaults::default();
    defaults.overlay(&strings(&config["config_autoscaler"])).unwrap();
    let annotations = strings(&config["annotations"])
        .into_iter()
        .map(|(key, value)| {
            let full = if key.contains('/') { key } else { format!("autoscaling.knative.dev/{key}") };
            (full, value)
        })
        .collect();
    let concurrency = u32::try_from(config["container_concurrency"].as_u64().unwrap()).unwrap();
    AutoscalingConfig::resolve(&annotations, concurrency, &defaults).unwrap()
}

#[test]
fn annotations_and_config_map_resolve_to_the_recorded_numbers() {
    for (name, trace) in traces() {
        let resolved = &trace["config"]["resolved"];
        let config = config_of(&trace);
        let number = |key: &str| resolved[key].as_f64().unwrap();
        let same = |key: &str, ours: f64| {
            assert!((number(key) - ours).abs() < 1e-9, "{name}: {key}: {} != {ours}", number(key));
        };
        same("activation_scale", f64::from(config.activation_scale));
        same("activator_capacity", config.activator_capacity);
        same("initial_scale", f64::from(config.initial_scale));
        same("max_scale", f64::from(config.max_scale));
        // The recording has what is in force, and unreachable revisions have neither lower bound nor retention.
        let reachable = trace["config"]["reachable"].as_bool().unwrap();
        same("min_scale", if reachable { f64::from(config.min_scale) } else { 0.0 });
        same("max_scale_down_rate", config.max_scale_down_rate);
        same("max_scale_up_rate", config.max_scale_up_rate);
        same("panic_threshold", config.panic_threshold);
        same("panic_window_s", config.panic_window.as_secs_f64());
        same("stable_window_s", config.stable_window.as_secs_f64());
        same("progress_deadline_s", config.progress_deadline.as_secs_f64());
        same("scale_down_delay_s", config.scale_down_delay.as_secs_f64());
        same("scale_to_zero_grace_period_s", config.grace_period.as_secs_f64());
        let retention = if reachable { config.pod_retention.as_secs_f64() } else { 0.0 };
        same("scale_to_zero_pod_retention_s", retention);
        same("target_value", config.target);
        same("total_value", config.total);
        let burst = match config.burst_capacity {
            BurstCapacity::None => 0.0,
            BurstCapacity::Unlimited => -1.0,
            BurstCapacity::Requests(wanted) => wanted,
        };
        same("target_burst_capacity", burst);
        assert_eq!(resolved["enable_scale_to_zero"], config.scale_to_zero, "{name}");
        let metric = match config.metric {
            Metric::Concurrency => "concurrency",
            Metric::RequestsPerSecond => "rps",
        };
        assert_eq!(resolved["metric"], metric, "{name}");
        let aggregation = match config.aggregation {
            Aggregation::Linear => "linear",
            Aggregation::WeightedExponential => "weighted-exponential",
        };
        assert_eq!(resolved["aggregation"], aggregation, "{name}");
    }
}

/// Replicas that follow the autoscaler's answer: not by themselves, but at the half seconds of the recording.
struct Pods {
    lag: u64,
    ready: u32,
    /// Half-second moments at which one starting replica becomes ready, oldest first.
    starting: Vec<u64>,
    /// The last number asked for.
    wanted: u32,
}

impl Pods {
    fn ask(&mut self, replicas: u32, second: u64) {
        let present = self.ready + u32::try_from(self.starting.len()).unwrap();
        for _ in present..replicas {
            self.starting.push(second + self.lag);
        }
        self.wanted = replicas;
    }

    /// What happens at half past `second`; true if the number of ready replicas changed.
    fn step(&mut self, second: u64) -> bool {
        let before = self.ready;
        while self.ready + u32::try_from(self.starting.len()).unwrap() > self.wanted {
            if self.starting.pop().is_none() {
                self.ready -= 1;
            }
        }
        let due = self.starting.iter().filter(|at| **at <= second).count();
        self.starting.drain(..due);
        self.ready += u32::try_from(due).unwrap();
        self.ready != before
    }
}

/// Where the number of ready replicas comes from.
enum Ready {
    Recorded,
    Simulated(Pods),
}

struct Replay<'a> {
    name: &'a str,
    trace: &'a Value,
    autoscaler: Autoscaler,
    ready: u32,
    source: Ready,
}

fn seconds(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

impl Replay<'_> {
    fn run(&mut self) {
        let duration = self.trace["duration_s"].as_f64().unwrap();
        let mut second = 0_u64;
        while Duration::from_secs(second).as_secs_f64() <= duration {
            let last = Duration::from_secs(second + 1).as_secs_f64() > duration;
            self.second(second, last);
            second += 1;
        }
    }

    fn rows(&self, list: &str, at: impl Fn(f64) -> bool) -> Vec<&Value> {
        self.trace[list].as_array().unwrap().iter().filter(|row| at(seconds(&row["t"]))).collect()
    }

    fn second(&mut self, second: u64, last: bool) {
        let now = Duration::from_secs(second);
        let start = now.as_secs_f64();
        let evals: Vec<Value> = self.rows("evals", |t| (t - start).abs() < 1e-9).into_iter().cloned().collect();
        if second > 0 {
            self.sample(second, &evals);
        }
        if self.autoscaler.decision().observe_at.is_some_and(|at| at <= now) {
            self.autoscaler.observe(now, self.ready);
        }
        if second > 0 && second.is_multiple_of(2) {
            let decision = self.autoscaler.tick(now, self.ready);
            let row =
                evals.iter().find(|row| row["kind"] == "tick").unwrap_or_else(|| panic!("{} {second}", self.name));
            self.compare_evaluation(row, &decision);
        }
        if let Some(row) = evals.last() {
            self.compare_snapshot(&row["kpa"], second, &self.autoscaler.decision());
        }
        if last {
            return;
        }
        self.half_past(second);
        let events = self.rows("kpa_events", |t| t >= start && t < start + 1.0);
        if let Some(last) = events.last() {
            self.compare_snapshot(last, second, &self.autoscaler.decision());
        }
    }

    fn sample(&mut self, second: u64, evals: &[Value]) {
        let now = Duration::from_secs(second);
        let start = now.as_secs_f64();
        let samples = self.trace["samples"].as_array().unwrap();
        let Some(sample) = samples.iter().find(|row| (seconds(&row[0]) - start).abs() < 1e-9) else {
            return;
        };
        if let (Some(concurrency), Some(rps)) = (sample[1].as_f64(), sample[2].as_f64()) {
            self.autoscaler.record(now, concurrency, rps);
            let row = evals.iter().find(|row| row["kind"] == "poke");
            if sample[3] == "activator" && concurrency > 0.0 {
                let poked = self.autoscaler.poke(now, self.ready);
                assert_eq!(poked.is_some(), row.is_some(), "{} {second}: poke", self.name);
                if let (Some(row), Some(decision)) = (row, poked) {
                    self.compare_evaluation(row, &decision);
                }
            } else {
                assert!(row.is_none(), "{} {second}: unexpected poke", self.name);
            }
        }
    }

    fn half_past(&mut self, second: u64) {
        let now = Duration::from_millis(second * 1000 + 500);
        let recorded = self
            .rows("ready_changes", |t| (t - now.as_secs_f64()).abs() < 1e-9)
            .last()
            .map(|row| u32::try_from(row["ready"].as_u64().unwrap()).unwrap());
        let changed = match &mut self.source {
            Ready::Recorded => recorded,
            Ready::Simulated(pods) => {
                pods.ask(self.autoscaler.decision().replicas, second);
                let changed = pods.step(second).then_some(pods.ready);
                assert_eq!(changed, recorded, "{} {second}.5: ready replicas", self.name);
                changed
            }
        };
        if let Some(ready) = changed {
            self.ready = ready;
            self.autoscaler.observe(now, ready);
            if let Ready::Simulated(pods) = &mut self.source {
                pods.ask(self.autoscaler.decision().replicas, second);
            }
        }
    }

    fn compare_evaluation(&self, row: &Value, decision: &Decision) {
        let at = format!("{} at {} ({})", self.name, row["t"], row["kind"]);
        assert_eq!(row["ready"].as_u64().unwrap(), u64::from(self.ready), "{at}: ready");
        assert_eq!(row["valid"], decision.has_data, "{at}: valid");
        assert_eq!(row["panic_mode"], decision.panic, "{at}: panic mode");
        assert_eq!(row["max_panic_pods"], decision.panic_replicas, "{at}: max panic pods");
        assert_eq!(row["decider_desired"], decision.desired, "{at}: desired");
        if decision.has_data {
            assert_eq!(row["desired"], decision.desired, "{at}: desired");
            assert_eq!(row["ebc"], decision.excess_burst_capacity, "{at}: excess burst capacity");
            let averages = [("stable", decision.stable_average), ("panic", decision.panic_average)];
            for (key, ours) in averages {
                let theirs = row[key].as_f64().unwrap();
                assert!((theirs - ours).abs() <= AVERAGE_TOLERANCE, "{at}: {key}: {theirs} != {ours}");
            }
        }
    }

    fn compare_snapshot(&self, row: &Value, second: u64, decision: &Decision) {
        let at = format!("{} at {second}", self.name);
        assert_eq!(row["want"], decision.want, "{at}: want");
        assert_eq!(row["replicas"], decision.replicas, "{at}: replicas");
        let active = match decision.activity {
            Activity::Activating => "Unknown",
            Activity::Active => "True",
            Activity::Idle | Activity::TimedOut => "False",
        };
        assert_eq!(row["active"], active, "{at}: active");
        assert_eq!(row["num_activators"], decision.activators, "{at}: activators");
        let proxy = row["sks_mode"] == "Proxy";
        assert_eq!(proxy, decision.proxy_mode, "{at}: mode");
        assert_eq!(proxy || self.ready == 0, decision.activator_in_path, "{at}: activator in path");
    }
}

fn replay(name: &str, trace: &Value, simulate: bool) {
    let ready = u32::try_from(trace["config"]["initial_ready"].as_u64().unwrap()).unwrap();
    let reachable = trace["config"]["reachable"].as_bool().unwrap();
    let autoscaler = Autoscaler::new(config_of(trace), reachable, ready, Duration::ZERO);
    let source = if simulate {
        let lag = trace["config"]["pod_ready_lag_s"].as_u64().unwrap();
        let mut pods = Pods { lag, ready, starting: Vec::new(), wanted: ready };
        pods.ask(autoscaler.decision().replicas, 0);
        Ready::Simulated(pods)
    } else {
        Ready::Recorded
    };
    Replay { name, trace, autoscaler, ready, source }.run();
}

#[test]
fn every_trace_replays_with_recorded_replicas() {
    for (name, trace) in traces() {
        replay(&name, &trace, false);
    }
}

#[test]
fn every_trace_replays_with_replicas_that_follow_the_decisions() {
    for (name, trace) in traces() {
        assert_eq!(trace["config"]["ready_source"], "follows_replicas", "{name}");
        replay(&name, &trace, true);
    }
}

fn annotated(annotations: &[(&str, &str)]) -> AutoscalingConfig {
    let full = |(key, value): &(&str, &str)| (format!("autoscaling.knative.dev/{key}"), (*value).to_owned());
    let annotations = annotations.iter().map(full).collect();
    AutoscalingConfig::resolve(&annotations, 0, &AutoscalerDefaults::default()).unwrap()
}

#[test]
fn an_activation_that_takes_too_long_ends_at_zero() {
    let mut autoscaler = Autoscaler::new(annotated(&[]), true, 0, Duration::ZERO);
    let deadline = autoscaler.config().progress_deadline + Duration::from_secs(30);
    for second in (2..=700).step_by(2) {
        let now = Duration::from_secs(second);
        autoscaler.record(now, 0.0, 0.0);
        let decision = autoscaler.tick(now, 0);
        let expected = if now > deadline { (0, Activity::TimedOut) } else { (1, Activity::Activating) };
        assert_eq!((decision.replicas, decision.activity), expected, "{second}");
    }
}

#[test]
fn hastened_windows_bring_zero_sooner() {
    let zero_after = |config: AutoscalingConfig| {
        let mut autoscaler = Autoscaler::new(config, true, 0, Duration::ZERO);
        autoscaler.record(Duration::from_secs(1), 1.0, 1.0);
        autoscaler.observe(Duration::from_secs(1), 1);
        (2_u64..1000).find(|second| {
            let now = Duration::from_secs(*second);
            autoscaler.record(now, 0.0, 0.0);
            autoscaler.tick(now, 1).replicas == 0
        })
    };
    let config = annotated(&[("target-burst-capacity", "0")]);
    assert_eq!(zero_after(config.clone()), Some(91), "60 s of window and 30 s of grace after the last request");
    assert_eq!(zero_after(config.hastened(10.0)), Some(10));
    assert_eq!(config.hastened(0.5), config);
}

proptest! {
    #[test]
    fn any_load_keeps_replicas_within_bounds(
        samples in prop::collection::vec((0..4_u64, any::<f64>(), 0..40_u32), 1..200),
        burst in prop::sample::select(vec!["-1", "0", "211"]),
        reachable in any::<bool>(),
    ) {
        let config = annotated(&[("min-scale", "2"), ("max-scale", "5"), ("target-burst-capacity", burst)]);
        let mut autoscaler = Autoscaler::new(config, reachable, 0, Duration::ZERO);
        let mut now = Duration::ZERO;
        for (pause, load, ready) in samples {
            now += Duration::from_secs(pause);
            autoscaler.record(now, load, load);
            autoscaler.poke(now, ready);
            let decision = autoscaler.tick(now, ready);
            let lowest = if reachable { 2 } else { 0 };
            prop_assert!((lowest..=5).contains(&decision.replicas), "{:?}", decision);
            prop_assert!(ready > 0 || decision.activator_in_path);
        }
    }
}
