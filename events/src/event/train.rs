//! What a job is asked for, and how it ends without a model.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::score::{metrics_of, metrics_of_training, usual_metric};

use super::SweepTrial;

/// The data set that a job asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetRequest {
    /// CSV or Parquet at `file:///…`, `https://…`, `s3://…`, `gs://…` or `az://…`, or
    /// `synthetic:make_classification?n_samples=2500&…` with scikit-learn's parameters.
    pub uri: String,
    /// Name of the column to predict. Synthetic sets call theirs `target`.
    #[serde(default = "default_target")]
    pub target: String,
    /// What MLflow and people call it; the URI's last part when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How a CSV file is written, when it is not as usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csv: Option<CsvFormat>,
    /// Columns that are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drop: Vec<String>,
    /// Columns of numbers or truth values that stand for categories; columns of texts are taken for categories anyway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categorical: Vec<String>,
    /// Column of what each row weighs when trees grow, finite numbers of 0 or more: scikit-learn's `sample_weight`. It is no
    /// feature; scores count each row once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_weight: Option<String>,
}

impl DatasetRequest {
    /// The data set at a URI, read as usual, under its own name.
    pub fn new(uri: impl Into<String>, target: impl Into<String>) -> Self {
        Self {
            uri: uri.into(),
            target: target.into(),
            name: None,
            csv: None,
            drop: Vec::new(),
            categorical: Vec::new(),
            sample_weight: None,
        }
    }
}

/// How a CSV file is written. What is left out is as RFC 4180 has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CsvFormat {
    /// What stands between cells: one ASCII character.
    pub delimiter: char,
    /// What stands around a cell that holds delimiters: one ASCII character.
    pub quote: char,
    /// Whether the first line names the columns; without it they are `column_0`, `column_1`, …
    pub header: bool,
    /// Cells that stand for a missing value, beside the empty one; the usual ones when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<Vec<String>>,
}

impl Default for CsvFormat {
    fn default() -> Self {
        Self { delimiter: ',', quote: '"', header: true, missing: None }
    }
}

fn default_target() -> String {
    "target".to_owned()
}

/// The registered model that a job makes a version of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelRequest {
    /// Registered model name: no `/` and no `:`. That of the estimator when absent, see [`TrainRequested::model_name`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Alias to set on the new version, such as `champion`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Description of the version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl ModelRequest {
    /// A name, without alias and description.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..Self::default() }
    }
}

/// The reference stack's tuning objective, logged beside the forest's own metrics.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objective {
    /// Forest width, the number of trees.
    pub width: f64,
    /// Forest height, the depth limit.
    pub height: f64,
    /// Steps of the objective, at least 1.
    pub steps: u32,
}

impl Objective {
    /// `1 / (0.1 + width × (steps − 1) / 100) + height × 0.1`.
    pub fn final_loss(&self) -> f64 {
        1.0 / (0.1 + self.width * (f64::from(self.steps) - 1.0) / 100.0) + self.height * 0.1
    }
}

/// Data of `train-requested`. The subject is the job id that the sender chose: it makes sending it again harmless.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainRequested {
    /// What to learn from.
    pub dataset: DatasetRequest,
    /// Parameters of the forest under scikit-learn's names; absent ones have scikit-learn's defaults.
    #[serde(default)]
    pub params: Map<String, Value>,
    /// How many shards to grow the forest in: 1 to 1024. Never changes the model, unless they divide the rows.
    #[serde(default = "default_shards")]
    pub shards: u32,
    /// What the shards divide.
    #[serde(default, skip_serializing_if = "ShardBy::is_trees")]
    pub shard_by: ShardBy,
    /// Share of rows, 0 ≤ share < 1, that a second forest with the same parameters does not see and is scored on.
    /// The registered model always learns from every row.
    #[serde(default = "default_test_size")]
    pub test_size: f64,
    /// The registered model to make a version of.
    #[serde(default)]
    pub model: ModelRequest,
    /// MLflow experiment.
    #[serde(default = "default_experiment")]
    pub experiment: String,
    /// The reference stack's objective, if it is to be logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<Objective>,
    /// When the forest is to stop growing before it has `n_estimators` trees; it grows all of them without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_stop: Option<EarlyStop>,
    /// The sweep that this job is a trial of. A trial is evaluated and recorded; only the best one becomes a version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep: Option<SweepTrial>,
}

/// What the shards of a job divide among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShardBy {
    /// The trees: each shard reads the whole data set, and their number never changes the model.
    #[default]
    Trees,
    /// The rows: each shard holds a part of the data set only, and grows its trees on that. Another model than
    /// scikit-learn's, which depends on the number of shards.
    Rows,
}

impl ShardBy {
    /// The name in JSON and on a terminal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trees => "trees",
            Self::Rows => "rows",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
    fn is_trees(&self) -> bool {
        *self == Self::Trees
    }
}

/// When a forest stops growing: it is grown in rounds of trees and scored after each. What it comes to depends on the
/// scores only, and these on data, parameters and seed: never on shards or machines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EarlyStop {
    /// Trees of a round, at least 1.
    pub trees: u32,
    /// So many rounds in a row without a gain end the growing, at least 1. The forest keeps the trees up to the last gain.
    pub rounds: u32,
    /// A score is a gain if it is better than the best one so far by more than this, at least 0.
    pub min_gain: f64,
    /// What is scored on held-out rows, one of [`crate::score::metrics_of`]; [`TrainRequested::usual_metric`] if none is named,
    /// which is all there is where no rows are held out, out of bag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
}

impl Default for EarlyStop {
    fn default() -> Self {
        Self { trees: 50, rounds: 2, min_gain: 0.0, metric: None }
    }
}

impl TrainRequested {
    /// A model of a data set, everything else as it is when nothing is said.
    pub fn new(dataset: DatasetRequest) -> Self {
        Self {
            dataset,
            params: Map::new(),
            shards: default_shards(),
            shard_by: ShardBy::Trees,
            test_size: default_test_size(),
            model: ModelRequest::default(),
            experiment: default_experiment(),
            objective: None,
            early_stop: None,
            sweep: None,
        }
    }

    /// The parameters that the trees are grown with. Where shards divide the rows, the number of parts is one of them.
    pub fn forest_params(&self) -> Map<String, Value> {
        let mut params = self.params.clone();
        if self.shard_by == ShardBy::Rows {
            params.insert(ROW_PARTS.to_owned(), self.shards.into());
        }
        params
    }

    /// What a job is scored by where no metric is named: that of a regressor if the estimator is one, else of a classifier.
    pub fn usual_metric(&self) -> &'static str {
        usual_metric(self.is_regressor())
    }

    /// What a job can be scored by.
    pub fn metrics(&self) -> &'static [&'static str] {
        if self.test_size > 0.0 { metrics_of(self.is_regressor()) } else { metrics_of_training(self.is_regressor()) }
    }

    /// The registered model that the job makes a version of: the one that is named, else the estimator's own, such as
    /// `RandomForestClassifierModel` or `ExtraTreesRegressorModel`.
    pub fn model_name(&self) -> String {
        self.model.name.clone().unwrap_or_else(|| format!("{}Model", self.estimator()))
    }

    fn estimator(&self) -> &str {
        self.params.get("estimator").and_then(Value::as_str).unwrap_or("RandomForestClassifier")
    }

    fn is_regressor(&self) -> bool {
        self.estimator().ends_with("Regressor")
    }
}

/// The parameter that says into how many parts the rows are cut.
pub const ROW_PARTS: &str = "row_parts";

fn default_shards() -> u32 {
    2
}

fn default_test_size() -> f64 {
    0.2
}

fn default_experiment() -> String {
    "regrove".to_owned()
}

/// Data of `train-cancelled`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainCancelled {
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Data of `delivery-failed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliveryFailed {
    /// Id of the event that was not taken.
    pub event: String,
    /// Which step it was for: a function's name.
    pub step: String,
    /// What the last attempt was answered; absent when there was no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// What went wrong, for people.
    pub reason: String,
}

/// Data of `job-failed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobFailed {
    /// Which step failed: a function's name.
    pub step: String,
    /// What went wrong and how to mend it, for people.
    pub reason: String,
    /// The kind of problem: the last part of the problem's type URI.
    pub problem: String,
}

/// Data of `job-cancelled`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobCancelled {
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
