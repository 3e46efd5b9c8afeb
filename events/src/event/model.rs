//! A model: whole and measured, registered, served.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Dataset;

/// Bytes in the artifact store, named by what they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// SHA-256 of the bytes, 64 lower-case hex digits: also their address.
    pub sha256: String,
    /// How many bytes.
    pub bytes: u64,
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
    /// Its trees once more with nothing but what predictions need, a fraction of the bytes: what is served where it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<Artifact>,
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
    /// Its trees once more with nothing but what predictions need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<Artifact>,
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
            serving: loaded.serving.clone(),
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

impl ModelLoaded {
    /// A version of which nothing more is known: the first that is served, followed by no alias, without stage, description,
    /// columns and example.
    pub fn plain(name: impl Into<String>, version: impl Into<String>, model: Artifact, by: SwitchedBy) -> Self {
        let (name, version) = (name.into(), version.into());
        Self {
            uri: format!("models:/{name}/{version}"),
            name,
            version,
            model,
            serving: None,
            previous: None,
            by,
            alias: None,
            stage: "None".to_owned(),
            description: String::new(),
            creation_timestamp: 0,
            columns: None,
            example: None,
            actor: None,
            reason: None,
        }
    }

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
