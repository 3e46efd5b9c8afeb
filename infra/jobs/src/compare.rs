//! Two jobs side by side.

use std::collections::{BTreeMap, BTreeSet};

use regrove_events::Job;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::Summary;

/// A setting of two jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Its name: a parameter under scikit-learn's name, or a field of the request such as `test_size`.
    pub name: String,
    /// The first job's value; null when it left the default.
    pub left: Value,
    /// The second job's value.
    pub right: Value,
    /// Whether they differ.
    pub differs: bool,
}

/// A metric of two jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricDifference {
    /// MLflow's key.
    pub name: String,
    /// The first job's value.
    pub left: Option<f64>,
    /// The second job's value.
    pub right: Option<f64>,
    /// The second minus the first.
    pub change: Option<f64>,
}

/// Two jobs side by side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The first job.
    pub left: Summary,
    /// The second job.
    pub right: Summary,
    /// Every setting that either job has.
    pub settings: Vec<Difference>,
    /// Every metric that either job has.
    pub metrics: Vec<MetricDifference>,
    /// Whether both learned from the same bytes; null while either has not read its data.
    pub same_data: Option<bool>,
    /// Whether both made the same model, byte for byte; null while either has none.
    pub same_model: Option<bool>,
}

/// Compares two jobs.
pub fn compare(left: (&str, &Job), right: (&str, &Job)) -> Comparison {
    let (one, other) = (settings(left.1), settings(right.1));
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let value = |of: &Map<String, Value>, name: &str| of.get(name).cloned().unwrap_or_default();
    let settings = names
        .into_iter()
        .map(|name| {
            let (left, right) = (value(&one, name), value(&other, name));
            Difference { name: name.clone(), differs: left != right, left, right }
        })
        .collect();
    let both = |of: fn(&Job) -> Option<String>| Some(of(left.1)? == of(right.1)?);
    Comparison {
        left: Summary::of(left.0, left.1),
        right: Summary::of(right.0, right.1),
        settings,
        metrics: metrics(left.1, right.1),
        same_data: both(|job| Some(job.dataset.as_ref()?.frame.sha256.clone())),
        same_model: both(|job| Some(job.model.as_ref()?.model.sha256.clone())),
    }
}

/// What a job was asked for, flat: parameters by their names, the rest by the request's.
fn settings(job: &Job) -> Map<String, Value> {
    let Some(request) = &job.request else { return Map::new() };
    let mut all = request.params.clone();
    all.extend([
        ("dataset".to_owned(), json!(request.dataset.uri)),
        ("target".to_owned(), json!(request.dataset.target)),
        ("shards".to_owned(), json!(request.shards)),
        ("test_size".to_owned(), json!(request.test_size)),
        ("model".to_owned(), json!(request.model_name())),
        ("experiment".to_owned(), json!(request.experiment)),
    ]);
    all
}

fn metrics(left: &Job, right: &Job) -> Vec<MetricDifference> {
    let none = BTreeMap::new();
    let of = |job: &Job| job.model.as_ref().map_or_else(|| none.clone(), |model| model.metrics.clone());
    let (one, other) = (of(left), of(right));
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    names
        .into_iter()
        .map(|name| {
            let (left, right) = (one.get(name).copied(), other.get(name).copied());
            MetricDifference { name: name.clone(), left, right, change: left.zip(right).map(|(l, r)| r - l) }
        })
        .collect()
}
