//! What the data of Regrove's events means. JSON Schemas of the same shapes lie in `events/schemas/`.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{CloudEvent, Invalid};

/// What every type of ours starts with.
pub const TYPE_PREFIX: &str = "io.regrove.";

/// Event types, without [`TYPE_PREFIX`].
pub mod names {
    #![expect(missing_docs, reason = "the names are the documentation: docs/events.md has a section for each")]
    pub const TRAIN_REQUESTED: &str = "train-requested";
    pub const TRAIN_CANCELLED: &str = "train-cancelled";
    pub const SHARD_REQUESTED: &str = "shard-requested";
    pub const SHARD_TRAINED: &str = "shard-trained";
    pub const ROUND_EVALUATED: &str = "round-evaluated";
    pub const MODEL_AGGREGATED: &str = "model-aggregated";
    pub const MODEL_REGISTERED: &str = "model-registered";
    pub const MODEL_LOADED: &str = "model-loaded";
    pub const TRAFFIC_CHANGED: &str = "traffic-changed";
    pub const PREDICT_REQUESTED: &str = "predict-requested";
    pub const PREDICT_COMPLETED: &str = "predict-completed";
    pub const PREDICTION_LOGGED: &str = "prediction-logged";
    pub const JOB_FAILED: &str = "job-failed";
    pub const JOB_CANCELLED: &str = "job-cancelled";
    pub const SWEEP_REQUESTED: &str = "sweep-requested";
    pub const SWEEP_COMPLETED: &str = "sweep-completed";
}

/// The JSON Schema of each event type's data, by name.
pub const SCHEMAS: [(&str, &str); 16] = [
    (names::TRAIN_REQUESTED, include_str!("../schemas/train-requested.v1.json")),
    (names::TRAIN_CANCELLED, include_str!("../schemas/train-cancelled.v1.json")),
    (names::SHARD_REQUESTED, include_str!("../schemas/shard-requested.v1.json")),
    (names::SHARD_TRAINED, include_str!("../schemas/shard-trained.v1.json")),
    (names::ROUND_EVALUATED, include_str!("../schemas/round-evaluated.v1.json")),
    (names::MODEL_AGGREGATED, include_str!("../schemas/model-aggregated.v1.json")),
    (names::MODEL_REGISTERED, include_str!("../schemas/model-registered.v1.json")),
    (names::MODEL_LOADED, include_str!("../schemas/model-loaded.v1.json")),
    (names::TRAFFIC_CHANGED, include_str!("../schemas/traffic-changed.v1.json")),
    (names::PREDICT_REQUESTED, include_str!("../schemas/predict-requested.v1.json")),
    (names::PREDICT_COMPLETED, include_str!("../schemas/predict-completed.v1.json")),
    (names::PREDICTION_LOGGED, include_str!("../schemas/prediction-logged.v1.json")),
    (names::JOB_FAILED, include_str!("../schemas/job-failed.v1.json")),
    (names::JOB_CANCELLED, include_str!("../schemas/job-cancelled.v1.json")),
    (names::SWEEP_REQUESTED, include_str!("../schemas/sweep-requested.v1.json")),
    (names::SWEEP_COMPLETED, include_str!("../schemas/sweep-completed.v1.json")),
];

/// Everything that can happen to a job or a served model.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Somebody asks for a model. Starts a job.
    TrainRequested(TrainRequested),
    /// Somebody asks for a job to stop.
    TrainCancelled(TrainCancelled),
    /// A part of the forest is to be grown.
    ShardRequested(ShardRequested),
    /// A part of the forest has been grown.
    ShardTrained(ShardTrained),
    /// The forest has been scored between two rounds of growing.
    RoundEvaluated(RoundEvaluated),
    /// The forest is whole and evaluated.
    ModelAggregated(ModelAggregated),
    /// MLflow has the model as a version.
    ModelRegistered(ModelRegistered),
    /// The serving pointer of a model name has moved.
    ModelLoaded(ModelLoaded),
    /// The share of a canary or the shadow of a model name has changed.
    TrafficChanged(TrafficChanged),
    /// Somebody asks for predictions.
    PredictRequested(PredictRequested),
    /// They are there.
    PredictCompleted(PredictCompleted),
    /// A prediction that was drawn for the prediction log.
    PredictionLogged(PredictionLogged),
    /// The job ended without a model.
    JobFailed(JobFailed),
    /// The job was stopped on request.
    JobCancelled(JobCancelled),
    /// Somebody asks for the best of many settings. Starts a sweep.
    SweepRequested(SweepRequested),
    /// All of them have been tried.
    SweepCompleted(SweepCompleted),
}

/// A contiguous range of tree indexes, `from..to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeRange {
    /// First tree.
    pub from: u32,
    /// One past the last tree.
    pub to: u32,
}

/// Bytes in the artifact store, named by what they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// SHA-256 of the bytes, 64 lower-case hex digits: also their address.
    pub sha256: String,
    /// How many bytes.
    pub bytes: u64,
}

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelRequest {
    /// Registered model name: no `/` and no `:`.
    pub name: String,
    /// Alias to set on the new version, such as `champion`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Description of the version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl Default for ModelRequest {
    fn default() -> Self {
        Self { name: "RandomForestClassifierModel".to_owned(), alias: None, description: None }
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
    /// What is scored: `accuracy`, `balanced_accuracy`, `f1_macro`, `roc_auc` or `log_loss` on held-out rows; `accuracy` out of
    /// bag where none are held out.
    pub metric: String,
}

impl Default for EarlyStop {
    fn default() -> Self {
        Self { trees: 50, rounds: 2, min_gain: 0.0, metric: default_metric() }
    }
}

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
    /// What makes a trial the best: a metric's name without `holdout_` or `oob_`, such as `accuracy` or `log_loss`.
    #[serde(default = "default_metric")]
    pub metric: String,
}

fn default_metric() -> String {
    "accuracy".to_owned()
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
}

/// The parameter that says into how many parts the rows are cut.
pub const ROW_PARTS: &str = "row_parts";

fn default_shards() -> u32 {
    2
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_zero(number: &u32) -> bool {
    *number == 0
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

/// A data set after it was read and hashed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dataset {
    /// Its name.
    pub name: String,
    /// Where it came from.
    pub uri: String,
    /// Column that is predicted.
    pub target: String,
    /// The canonical frame: its SHA-256 is the data set's hash.
    pub frame: Artifact,
    /// Rows.
    pub n_samples: u64,
    /// Names of the feature columns, in order.
    pub feature_names: Vec<String>,
    /// Class labels in order, each a string, a number or a truth value; none for a regressor.
    pub classes: Vec<Value>,
    /// The texts of the feature columns that hold codes, by name: value k stands for the k-th text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub categories: BTreeMap<String, Vec<String>>,
}

/// Data of `shard-requested`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardRequested {
    /// Which shard: `0..of`.
    pub shard: u32,
    /// How many shards there are.
    pub of: u32,
    /// Trees to grow.
    pub trees: TreeRange,
    /// What to learn from.
    pub dataset: Dataset,
    /// Parameters of the forest.
    pub params: Map<String, Value>,
    /// Share of rows held out for the second, scored forest; 0 for none.
    pub test_size: f64,
    /// 1 for the first request, one more each time that it was overdue.
    pub attempt: u32,
    /// The rows that the trees learn from, where shards divide the rows; all rows of the data set otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<RowPart>,
}

/// A part of a data set's rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowPart {
    /// Which part: `0..shards`.
    pub index: u32,
    /// Its rows as a canonical frame.
    pub frame: Artifact,
    /// How many rows.
    pub n_samples: u64,
    /// Classes of the data set that have no row here: these trees never vote for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes_missing: Vec<Value>,
}

/// Data of `shard-trained`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardTrained {
    /// Which shard.
    pub shard: u32,
    /// How many shards there are.
    pub of: u32,
    /// Trees grown.
    pub trees: TreeRange,
    /// The trees, in the native model form.
    pub model: Artifact,
    /// The same trees grown without the held-out rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holdout: Option<Artifact>,
    /// Nodes of `model`.
    pub n_nodes: u64,
    /// Wall seconds that growing took.
    pub seconds: f64,
    /// The replica that grew them, as its platform names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// How many of the trees an earlier job had grown.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub trees_reused: u32,
}

/// Data of `round-evaluated`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundEvaluated {
    /// Trees grown so far.
    pub trees: u32,
    /// What was scored, by MLflow's key: `holdout_accuracy`, `oob_accuracy`, …
    pub metric: String,
    /// The score, larger is better: a loss counts negatively.
    pub score: f64,
}

/// Data of `model-aggregated`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelAggregated {
    /// What it learned from.
    pub dataset: Dataset,
    /// Parameters of the forest.
    pub params: Map<String, Value>,
    /// Number of trees.
    pub n_estimators: u32,
    /// The whole forest in the native form: its SHA-256 is the model's hash.
    pub model: Artifact,
    /// The whole forest as ONNX.
    pub onnx: Artifact,
    /// One row of the data without missing values, `(n_features,)`.
    pub input_example: Vec<f64>,
    /// What the whole forest says of `input_example`: class probabilities, or a value. Checked before it is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_example: Option<Vec<f64>>,
    /// Metrics by MLflow's key: `accuracy`, `oob_accuracy`, `holdout_accuracy`, …
    pub metrics: BTreeMap<String, f64>,
    /// Mean decrease in impurity per feature, `(n_features,)`, sums to 1.
    pub feature_importances: Vec<f64>,
    /// Which classes were taken for which; none for numbers, or for more than [`CONFUSION_CLASSES_MAX`] classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confusion_matrix: Option<ConfusionMatrix>,
}

/// Most classes of a recorded confusion matrix.
pub const CONFUSION_CLASSES_MAX: usize = 100;

/// What a confusion matrix was measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MeasuredOn {
    /// Rows that a forest of the same parameters did not see.
    Holdout,
    /// Each row by the trees that did not see it.
    Oob,
    /// The training rows.
    Training,
}

impl MeasuredOn {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Holdout => "held-out rows",
            Self::Oob => "training rows, each by the trees that did not see it",
            Self::Training => "training rows",
        }
    }
}

/// How often rows of each class were taken for each class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfusionMatrix {
    /// Which rows.
    pub of: MeasuredOn,
    /// Rows of class i taken for class j: `[i][j]`, classes in the order of the data set's.
    pub counts: Vec<Vec<u64>>,
}

/// Data of `model-registered`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRegistered {
    /// The job that made it.
    pub job: String,
    /// Registered model name.
    pub name: String,
    /// Version, as MLflow writes it.
    pub version: String,
    /// `models:/NAME/VERSION`.
    pub uri: String,
    /// MLflow run.
    pub run_id: String,
    /// The native form.
    pub model: Artifact,
    /// Alias that was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
}

/// Who moved a serving pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SwitchedBy {
    /// A `model-registered` event: only ever forward.
    Event,
    /// A person or a program, through `POST /model/load`: anywhere.
    Request,
    /// A person or a program, through `POST /model/rollback`: to the version served before.
    Rollback,
    /// The alias that the pointer follows has moved in MLflow: wherever it went.
    Alias,
}

/// A row and what the model made of it when it was trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// The row, `(n_features,)`.
    pub input: Vec<f64>,
    /// Its probabilities, `(n_classes,)`, or its value, `(1,)`.
    pub output: Vec<f64>,
}

/// Data of `model-loaded`. The subject is the model's name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelLoaded {
    /// Registered model name.
    pub name: String,
    /// Version now served.
    pub version: String,
    /// `models:/NAME/VERSION`.
    pub uri: String,
    /// The native form, in the artifact store.
    pub model: Artifact,
    /// Version served before, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// Who moved the pointer.
    pub by: SwitchedBy,
    /// Alias that the pointer follows until somebody asks for a version or for another alias.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Stage, as MLflow writes it: `None` for a version without one.
    pub stage: String,
    /// Description of the version.
    pub description: String,
    /// When MLflow made the version, milliseconds since 1970.
    pub creation_timestamp: i64,
    /// Names of the columns as MLflow's signature has them, where the model itself has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// What the model must still say before it is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<Example>,
    /// Who asked, as they call themselves; for an event, its source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A version that can be served.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServedVersion {
    /// Version, as MLflow writes it.
    pub version: String,
    /// `models:/NAME/VERSION`.
    pub uri: String,
    /// The model, in the artifact store.
    pub model: Artifact,
    /// Stage, as MLflow writes it.
    pub stage: String,
    /// Description of the version.
    pub description: String,
    /// When MLflow made the version, milliseconds since 1970.
    pub creation_timestamp: i64,
    /// Names of the columns as MLflow's signature has them, where the model itself has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// What the model must still say before it is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<Example>,
}

impl From<&ModelLoaded> for ServedVersion {
    fn from(loaded: &ModelLoaded) -> Self {
        Self {
            version: loaded.version.clone(),
            uri: loaded.uri.clone(),
            model: loaded.model.clone(),
            stage: loaded.stage.clone(),
            description: loaded.description.clone(),
            creation_timestamp: loaded.creation_timestamp,
            columns: loaded.columns.clone(),
            example: loaded.example.clone(),
        }
    }
}

/// A version that a share of the requests is answered from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// The version.
    pub version: ServedVersion,
    /// Share of the requests in percent, 1 to 100.
    pub percent: u8,
}

/// Data of `traffic-changed`: what stands beside the served version from now on. The subject is the model's name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrafficChanged {
    /// Registered model name.
    pub name: String,
    /// Version that answers a share of the requests; none without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// Version that is asked too and whose answers are only compared; none without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ServedVersion>,
    /// Who asked, as they call themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Where rows are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowsAt {
    /// `file:///…/rows.predictions-….csv`.
    pub uri: String,
}

/// Where rows are read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowsFrom {
    /// `file:///…/rows.csv`, `s3://…/rows.parquet`, …
    pub uri: String,
    /// How a CSV file is written; as usual without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csv: Option<CsvFormat>,
}

/// Data of `predict-requested`. The subject is the model's name. Rows are inline or in a data set, not both.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PredictRequested {
    /// Rows, `(n_rows, n_features)`; `null` for a missing value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Vec<Vec<Option<f64>>>>,
    /// Names of the columns of `features`; the model's own order without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// A data set with the rows; its columns are found by name. What does not fit into an event is written next to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<RowsFrom>,
    /// Version to ask; the one in service without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// Data of `predict-completed`. The subject is the model's name. Answers are inline, or in the file `output`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PredictCompleted {
    /// Version that answered.
    pub version: String,
    /// How many rows were answered.
    pub n_rows: u64,
    /// Per row the label, a string or a whole number, or the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predictions: Option<Vec<Value>>,
    /// Per row the probability of each class; none for a regressor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probabilities: Option<Vec<Vec<f64>>>,
    /// The file that holds the answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<RowsAt>,
}

/// Data of `prediction-logged`. The subject is the model's name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PredictionLogged {
    /// Version that answered.
    pub version: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The row; `null` for a missing value.
    pub features: Vec<Option<f64>>,
    /// The label, a string or a whole number, or the value.
    pub prediction: Value,
    /// The probability of each class; none for a regressor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probabilities: Option<Vec<f64>>,
}

impl ModelLoaded {
    /// What the reference stack's API calls `model_info`.
    pub fn info(&self) -> Value {
        serde_json::json!({
            "name": self.name,
            "version": self.version,
            "stage": self.stage,
            "description": self.description,
            "creation_timestamp": self.creation_timestamp,
        })
    }
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

/// Why a CloudEvent is none of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// The type is not one of [`names`].
    #[error("event type `{0}` is unknown here")]
    UnknownType(String),
    /// The event has no subject.
    #[error("event `{ty}` has no `subject`, which names the job (or the model, for serving events)")]
    NoSubject {
        /// The event's type.
        ty: String,
    },
    /// The subject cannot name a job or a model.
    #[error("subject `{0}` is invalid: 1 to 128 letters, digits, `.`, `_` and `-`, starting with a letter or digit")]
    Subject(String),
    /// The data does not have the type's shape.
    #[error("data of `{ty}` is invalid: {reason}")]
    Data {
        /// The event's type.
        ty: String,
        /// The field and what it should be.
        reason: String,
    },
}

/// What a derived event is made of besides its meaning: all of it comes from its cause and from the caller's clock.
#[derive(Debug, Clone)]
pub struct Cause<'a> {
    /// The function that speaks, such as `aggregate`.
    pub function: &'a str,
    /// The event that caused this one.
    pub event: &'a CloudEvent,
    /// Now.
    pub at: Timestamp,
}

macro_rules! each_event {
    ($( $variant:ident = $name:ident ),* $(,)?) => {
        impl Event {
            /// The event type without [`TYPE_PREFIX`].
            pub fn name(&self) -> &'static str {
                match self { $( Self::$variant(_) => names::$name, )* }
            }

            fn to_json(&self) -> Vec<u8> {
                // Plain structs with string keys: serialisation has no way to fail.
                match self { $( Self::$variant(data) => serde_json::to_vec(data), )* }.unwrap_or_default()
            }

            /// Reads the data of one of our events.
            ///
            /// # Errors
            /// [`Unreadable::UnknownType`]; [`Unreadable::Data`] with the path of the field that does not fit.
            pub fn read(event: &CloudEvent) -> Result<Self, Unreadable> {
                let name = event.ty().strip_prefix(TYPE_PREFIX).unwrap_or_default();
                match name {
                    $( names::$name => data(event).map(Self::$variant), )*
                    _ => Err(Unreadable::UnknownType(event.ty().to_owned())),
                }
            }
        }
    };
}

each_event! {
    TrainRequested = TRAIN_REQUESTED,
    TrainCancelled = TRAIN_CANCELLED,
    ShardRequested = SHARD_REQUESTED,
    ShardTrained = SHARD_TRAINED,
    RoundEvaluated = ROUND_EVALUATED,
    ModelAggregated = MODEL_AGGREGATED,
    ModelRegistered = MODEL_REGISTERED,
    ModelLoaded = MODEL_LOADED,
    TrafficChanged = TRAFFIC_CHANGED,
    PredictRequested = PREDICT_REQUESTED,
    PredictCompleted = PREDICT_COMPLETED,
    PredictionLogged = PREDICTION_LOGGED,
    JobFailed = JOB_FAILED,
    JobCancelled = JOB_CANCELLED,
    SweepRequested = SWEEP_REQUESTED,
    SweepCompleted = SWEEP_COMPLETED,
}

fn data<T: DeserializeOwned>(event: &CloudEvent) -> Result<T, Unreadable> {
    let wrong = |reason: String| Unreadable::Data { ty: event.ty().to_owned(), reason };
    if !event.has_json_data() {
        return Err(wrong("datacontenttype must be application/json".to_owned()));
    }
    let bytes = event.data().ok_or_else(|| wrong("there is none".to_owned()))?;
    let json = &mut serde_json::Deserializer::from_slice(bytes);
    let data = serde_path_to_error::deserialize(&mut *json).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        wrong(if path == "." { inner.to_string() } else { format!("`{path}`: {inner}") })
    })?;
    json.end().map_err(|error| wrong(error.to_string()))?;
    Ok(data)
}

impl Event {
    /// The CloudEvent that says this because of `cause`.
    ///
    /// The same id always stands for the same work, so the caller derives it from the cause: `{job}/shard/3`.
    ///
    /// # Errors
    /// [`Invalid`] when the id or subject is empty.
    pub fn caused_by(&self, cause: &Cause<'_>, id: &str, subject: &str) -> Result<CloudEvent, Invalid> {
        let mut builder = self.builder(id, &format!("/regrove/{}", cause.function), subject, cause.at);
        builder = builder.extension("causationid", cause.event.id());
        for name in ["traceparent", "tracestate"] {
            if let Some(value) = cause.event.extension(name) {
                builder = builder.extension(name, value.clone());
            }
        }
        builder.build()
    }

    /// The CloudEvent that starts something: nothing of ours caused it.
    ///
    /// # Errors
    /// [`Invalid`] when an attribute is empty or the source is not a URI reference.
    pub fn first(&self, id: &str, source: &str, subject: &str, at: Timestamp) -> Result<CloudEvent, Invalid> {
        self.builder(id, source, subject, at).build()
    }

    fn builder(&self, id: &str, source: &str, subject: &str, at: Timestamp) -> crate::CloudEventBuilder {
        CloudEvent::builder(id, source, format!("{TYPE_PREFIX}{}", self.name()))
            .subject(subject)
            .time(at)
            .data_schema(format!("urn:regrove:schema:{}:v1", self.name()))
            .data("application/json", Bytes::from(self.to_json()))
    }
}

/// Longest subject in characters.
const SUBJECT_CHARS_MAX: usize = 128;

/// The job id or model name that an event is about.
///
/// # Errors
/// [`Unreadable::NoSubject`], [`Unreadable::Subject`].
pub fn subject(event: &CloudEvent) -> Result<&str, Unreadable> {
    let subject = event.subject().ok_or_else(|| Unreadable::NoSubject { ty: event.ty().to_owned() })?;
    check_subject(subject)?;
    Ok(subject)
}

/// Checks a job id or model name.
///
/// # Errors
/// [`Unreadable::Subject`].
pub fn check_subject(subject: &str) -> Result<(), Unreadable> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let starts = subject.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if starts && subject.len() <= SUBJECT_CHARS_MAX && subject.bytes().all(plain) {
        return Ok(());
    }
    Err(Unreadable::Subject(subject.to_owned()))
}
