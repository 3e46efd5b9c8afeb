//! The entities of MLflow's REST API, as they look on the wire.
//!
//! Absent fields become defaults: MLflow leaves out what is empty. Numbers may arrive as JSON numbers or as texts.

use serde::{Deserialize, Serialize};

use crate::number::{
    number_or_text_f64, number_or_text_i64, number_or_text_u64, optional_number_or_text_i64, text_unless_finite,
};

/// A key with a value, both free text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tag {
    /// Name, for example `regrove.job`.
    pub key: String,
    /// Value; empty when absent.
    #[serde(default)]
    pub value: String,
}

impl Tag {
    /// A tag from anything that can become text.
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.into() }
    }
}

/// A parameter of a run. MLflow refuses to change one that is set.
pub type Param = Tag;

/// One point of a metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Name: letters, digits, `_`, `-`, `.`, space, `:` and `/`.
    pub key: String,
    /// Value; NaN and infinities travel as texts.
    #[serde(serialize_with = "text_unless_finite", deserialize_with = "number_or_text_f64")]
    pub value: f64,
    /// Milliseconds since 1970. Keep it stable: the same key and step with another timestamp is another point.
    #[serde(deserialize_with = "number_or_text_i64")]
    pub timestamp: i64,
    /// Position on the curve, 0 when there is only one point.
    #[serde(default, deserialize_with = "number_or_text_i64")]
    pub step: i64,
    /// The logged model that it describes, if any (3.x).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_id: Option<String>,
    /// Name of the data set that it was measured on, if said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset_name: Option<String>,
    /// Digest of the data set that it was measured on, if said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset_digest: Option<String>,
}

impl Metric {
    /// A point that belongs to the run only.
    pub fn new(key: impl Into<String>, value: f64, timestamp_ms: i64, step: i64) -> Self {
        Self {
            key: key.into(),
            value,
            timestamp: timestamp_ms,
            step,
            model_id: None,
            dataset_name: None,
            dataset_digest: None,
        }
    }
}

/// A named collection of runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Experiment {
    /// Identity, given by the server.
    pub experiment_id: String,
    /// Unique name.
    pub name: String,
    /// Root of the artifacts of its runs.
    #[serde(default)]
    pub artifact_location: String,
    /// `active` or `deleted`.
    #[serde(default)]
    pub lifecycle_stage: String,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RunStatus {
    /// Work goes on.
    Running,
    /// Known, not begun.
    Scheduled,
    /// Ended well.
    Finished,
    /// Ended badly.
    Failed,
    /// Ended by request.
    Killed,
}

/// Identity and state of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunInfo {
    /// Identity, given by the server: 32 hex digits.
    pub run_id: String,
    /// The experiment it belongs to.
    #[serde(default)]
    pub experiment_id: String,
    /// Shown name.
    #[serde(default)]
    pub run_name: String,
    /// Who started it.
    #[serde(default)]
    pub user_id: String,
    /// Where it stands.
    pub status: RunStatus,
    /// Milliseconds since 1970.
    #[serde(default, deserialize_with = "number_or_text_i64")]
    pub start_time: i64,
    /// Milliseconds since 1970, absent while it runs.
    #[serde(default, deserialize_with = "optional_number_or_text_i64", skip_serializing_if = "Option::is_none")]
    pub end_time: Option<i64>,
    /// Root of its artifacts.
    #[serde(default)]
    pub artifact_uri: String,
    /// `active` or `deleted`.
    #[serde(default)]
    pub lifecycle_stage: String,
}

/// What a run has logged: the last point of each metric, all parameters, all tags.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunData {
    /// Last point of each metric.
    #[serde(default)]
    pub metrics: Vec<Metric>,
    /// Parameters.
    #[serde(default)]
    pub params: Vec<Param>,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

/// A data set that a run has read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetWire {
    /// Name.
    pub name: String,
    /// Digest, short enough to read.
    pub digest: String,
    /// `local`, `http`, `s3`, `code`, …
    #[serde(default)]
    pub source_type: String,
    /// JSON text that describes the source, for example `{"uri": "file:///data/x.csv"}`.
    #[serde(default)]
    pub source: String,
    /// JSON text, `{"mlflow_colspec": […]}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// JSON text, `{"num_rows": 150, "num_elements": 600}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
}

/// A data set with the tags that say what it was used for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetInput {
    /// Tags, `mlflow.data.context` = `training` for the usual case.
    #[serde(default)]
    pub tags: Vec<Tag>,
    /// The data set.
    pub dataset: DatasetWire,
}

/// A run's inputs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunInputs {
    /// Data sets.
    #[serde(default)]
    pub dataset_inputs: Vec<DatasetInput>,
}

/// A model that a run has made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelOutput {
    /// Identity of the logged model.
    pub model_id: String,
    /// Step at which it was made.
    #[serde(default, deserialize_with = "number_or_text_i64")]
    pub step: i64,
}

/// A run's outputs (3.x).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunOutputs {
    /// Models.
    #[serde(default)]
    pub model_outputs: Vec<ModelOutput>,
}

/// A run with everything that it logged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Identity and state.
    pub info: RunInfo,
    /// Metrics, parameters, tags.
    #[serde(default)]
    pub data: RunData,
    /// Data sets.
    #[serde(default)]
    pub inputs: RunInputs,
    /// Models.
    #[serde(default)]
    pub outputs: RunOutputs,
}

impl Run {
    /// The value of a tag.
    pub fn tag(&self, key: &str) -> Option<&str> {
        find(&self.data.tags, key)
    }

    /// The value of a parameter.
    pub fn param(&self, key: &str) -> Option<&str> {
        find(&self.data.params, key)
    }

    /// The last value of a metric.
    pub fn metric(&self, key: &str) -> Option<f64> {
        self.data.metrics.iter().find(|metric| metric.key == key).map(|metric| metric.value)
    }
}

fn find<'a>(tags: &'a [Tag], key: &str) -> Option<&'a str> {
    tags.iter().find(|tag| tag.key == key).map(|tag| tag.value.as_str())
}

/// Where a logged model stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LoggedModelStatus {
    /// Created; files may be missing.
    #[serde(rename = "LOGGED_MODEL_PENDING")]
    Pending,
    /// All files are there.
    #[serde(rename = "LOGGED_MODEL_READY")]
    Ready,
    /// The upload was given up.
    #[serde(rename = "LOGGED_MODEL_UPLOAD_FAILED")]
    UploadFailed,
    /// Not told.
    #[serde(other, rename = "LOGGED_MODEL_STATUS_UNSPECIFIED")]
    Unspecified,
}

/// A model with its own identity and artifacts (3.x).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedModel {
    /// Identity, `m-` and 32 hex digits.
    pub model_id: String,
    /// The experiment it belongs to.
    pub experiment_id: String,
    /// Name.
    pub name: String,
    /// Kind, free text; empty when not told.
    pub model_type: String,
    /// Root of its files.
    pub artifact_uri: String,
    /// Where it stands.
    pub status: LoggedModelStatus,
    /// The run that made it, empty when none.
    pub source_run_id: String,
    /// Milliseconds since 1970, by the server's clock.
    pub creation_timestamp_ms: i64,
    /// Parameters.
    pub params: Vec<Param>,
    /// Tags.
    pub tags: Vec<Tag>,
}

impl LoggedModel {
    /// The value of a tag.
    pub fn tag(&self, key: &str) -> Option<&str> {
        find(&self.tags, key)
    }
}

/// The two halves in which a logged model travels.
#[derive(Debug, Deserialize)]
pub(crate) struct LoggedModelWire {
    info: LoggedModelInfoWire,
    #[serde(default)]
    data: LoggedModelDataWire,
}

#[derive(Debug, Default, Deserialize)]
struct LoggedModelDataWire {
    #[serde(default)]
    params: Vec<Param>,
}

#[derive(Debug, Deserialize)]
struct LoggedModelInfoWire {
    model_id: String,
    #[serde(default)]
    experiment_id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    model_type: String,
    #[serde(default)]
    artifact_uri: String,
    status: LoggedModelStatus,
    #[serde(default)]
    source_run_id: String,
    #[serde(default, deserialize_with = "number_or_text_i64")]
    creation_timestamp_ms: i64,
    #[serde(default)]
    tags: Vec<Tag>,
}

impl From<LoggedModelWire> for LoggedModel {
    fn from(wire: LoggedModelWire) -> Self {
        let info = wire.info;
        Self {
            model_id: info.model_id,
            experiment_id: info.experiment_id,
            name: info.name,
            model_type: info.model_type,
            artifact_uri: info.artifact_uri,
            status: info.status,
            source_run_id: info.source_run_id,
            creation_timestamp_ms: info.creation_timestamp_ms,
            params: wire.data.params,
            tags: info.tags,
        }
    }
}

/// What to create a logged model from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NewLoggedModel {
    /// The experiment it belongs to.
    pub experiment_id: String,
    /// Name, without `/` and `:`.
    pub name: String,
    /// The run that makes it.
    pub source_run_id: String,
    /// Kind, free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_type: Option<String>,
    /// Parameters.
    pub params: Vec<Param>,
    /// Tags.
    pub tags: Vec<Tag>,
}

/// A name in the registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredModel {
    /// Unique name.
    pub name: String,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Milliseconds since 1970.
    #[serde(default, deserialize_with = "number_or_text_i64")]
    pub creation_timestamp: i64,
    /// Milliseconds since 1970.
    #[serde(default, deserialize_with = "number_or_text_i64")]
    pub last_updated_timestamp: i64,
    /// Newest version of each stage.
    #[serde(default)]
    pub latest_versions: Vec<ModelVersion>,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<Tag>,
    /// Aliases with the version they name.
    #[serde(default)]
    pub aliases: Vec<Alias>,
}

/// A movable name of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    /// Name.
    pub alias: String,
    /// The version it names.
    #[serde(deserialize_with = "number_or_text_u64")]
    pub version: u64,
}

/// A version of a registered model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelVersion {
    /// Name of the registered model.
    pub name: String,
    /// Number, from 1, never given twice.
    #[serde(deserialize_with = "number_or_text_u64")]
    pub version: u64,
    /// Stage: `None`, `Staging`, `Production` or `Archived`.
    #[serde(default = "no_stage")]
    pub current_stage: String,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Milliseconds since 1970.
    #[serde(default, deserialize_with = "number_or_text_i64")]
    pub creation_timestamp: i64,
    /// Milliseconds since 1970.
    #[serde(default, deserialize_with = "number_or_text_i64")]
    pub last_updated_timestamp: i64,
    /// Where its files are: `models:/m-…` (3.x) or the artifact root of the run and `/model` (2.x).
    #[serde(default)]
    pub source: String,
    /// The run that made it, empty when none.
    #[serde(default)]
    pub run_id: String,
    /// The logged model (3.x), absent in replies of older servers; [`ModelVersion::model_id`] also reads the source.
    #[serde(default, rename = "model_id", skip_serializing_if = "Option::is_none")]
    pub model_id_field: Option<String>,
    /// `READY`, `PENDING_REGISTRATION` or `FAILED_REGISTRATION`.
    #[serde(default)]
    pub status: String,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<Tag>,
    /// Aliases that name it; some replies leave them out.
    #[serde(default)]
    pub aliases: Vec<String>,
}

impl ModelVersion {
    /// The logged model behind it (3.x): from its own field, else from a source of the form `models:/m-…`.
    pub fn model_id(&self) -> Option<&str> {
        self.model_id_field
            .as_deref()
            .filter(|id| !id.is_empty())
            .or_else(|| self.source.strip_prefix("models:/").filter(|id| id.starts_with("m-")))
    }

    /// The value of a tag.
    pub fn tag(&self, key: &str) -> Option<&str> {
        find(&self.tags, key)
    }

    /// `models:/{name}/{version}`, what Python's `load_model` takes.
    pub fn uri(&self) -> String {
        format!("models:/{}/{}", self.name, self.version)
    }
}

fn no_stage() -> String {
    "None".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_from_numbers_and_texts() {
        let metric: Metric = serde_json::from_str(r#"{"key":"a","value":"NaN","timestamp":"12","step":3}"#).unwrap();
        assert!(metric.value.is_nan());
        assert_eq!((metric.timestamp, metric.step), (12, 3));
        let version: ModelVersion = serde_json::from_str(r#"{"name":"m","version":"7"}"#).unwrap();
        assert_eq!((version.version, version.current_stage.as_str()), (7, "None"));
        assert!(serde_json::from_str::<ModelVersion>(r#"{"name":"m","version":"-7"}"#).is_err());
        assert!(serde_json::from_str::<ModelVersion>(r#"{"name":"m","version":1.5}"#).is_err());
    }

    #[test]
    fn values_that_json_lacks_travel_as_texts() {
        for (value, text) in [(f64::NAN, "\"NaN\""), (f64::INFINITY, "\"Infinity\""), (-f64::INFINITY, "\"-Infinity\"")]
        {
            let json = serde_json::to_string(&Metric::new("a", value, 0, 0)).unwrap();
            assert!(json.contains(text), "{json}");
            let back: Metric = serde_json::from_str(&json).unwrap();
            assert!(back.value.total_cmp(&value).is_eq());
        }
    }

    #[test]
    fn the_logged_model_of_a_version_comes_from_its_field_or_its_source() {
        let read = |json: &str| -> ModelVersion { serde_json::from_str(json).unwrap() };
        let by_source = read(r#"{"name":"m","version":1,"source":"models:/m-1"}"#);
        assert_eq!(by_source.model_id(), Some("m-1"));
        let by_field = read(r#"{"name":"m","version":1,"source":"x","model_id":"m-2"}"#);
        assert_eq!(by_field.model_id(), Some("m-2"));
        let neither = read(r#"{"name":"m","version":1,"source":"mlflow-artifacts:/1/r/artifacts/model"}"#);
        assert_eq!(neither.model_id(), None);
        assert_eq!(neither.uri(), "models:/m/1");
    }
}
