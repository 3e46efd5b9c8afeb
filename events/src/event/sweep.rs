//! Many jobs that look for the best settings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::TrainRequested;

/// A job's place in a sweep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepTrial {
    /// The sweep.
    pub id: String,
    /// Which trial, from 1.
    pub trial: u32,
}

/// Data of `sweep-requested`. The subject is the sweep's id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepRequested {
    /// What every trial asks for, and what the best one is registered as.
    pub train: TrainRequested,
    /// The values to try, by parameter.
    pub grid: BTreeMap<String, Vec<Value>>,
    /// What makes a trial the best: a metric's name without `holdout_` or `oob_`, such as `accuracy` or `mean_squared_error`;
    /// [`TrainRequested::usual_metric`] if none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
}

/// What came of a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrialResult {
    /// Its job.
    pub job: String,
    /// The settings that were tried.
    pub params: Map<String, Value>,
    /// Its score, larger is better; none for a trial without a model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
}

/// Data of `sweep-completed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepCompleted {
    /// Every trial, in order.
    pub trials: Vec<TrialResult>,
    /// The job of the best one; none when no trial made a model, or the sweep was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<String>,
    /// Why there is no best one, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
