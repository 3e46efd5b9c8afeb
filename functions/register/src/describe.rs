//! A job in MLflow's words.

use bytes::Bytes;
use jiff::Timestamp;
use regrove_events::Job;
use regrove_events::event::{self, ModelAggregated, TrainRequested};
use regrove_forest::RandomForestParams;
use regrove_mlflow::{Answers, Column, ColumnType, Dataset, JobRun, ModelDescription, ModelFile, Param, Tag};
use serde_json::{Map, Value, json};

/// Name of the confusion matrix in the model's directory.
const CONFUSION_FILE: &str = "confusion_matrix.json";
/// Digest of a data set in MLflow: at most 36 characters.
const DIGEST_CHARS: usize = 32;

/// The run of a job, as far as the job is known.
pub fn run(job_id: &str, job: &Job, request: &TrainRequested) -> JobRun {
    JobRun {
        experiment: request.experiment.clone(),
        job_id: job_id.to_owned(),
        run_name: job_id.to_owned(),
        user: "regrove".to_owned(),
        start_time_ms: job.requested_at.map_or(0, Timestamp::as_millisecond),
        params: params(job, request),
        tags: Vec::new(),
        dataset: job.dataset.as_ref().map(dataset),
    }
}

/// Every parameter of the forest, defaults included, and what the reference job logs beside them.
fn params(job: &Job, request: &TrainRequested) -> Vec<Param> {
    let mut all: Map<String, Value> = serde_json::from_value::<RandomForestParams>(request.forest_params().into())
        .ok()
        .and_then(|complete| serde_json::to_value(complete).ok())
        .and_then(|complete| complete.as_object().cloned())
        .unwrap_or_else(|| request.forest_params());
    let estimator = all.get("estimator").cloned().unwrap_or_else(|| "RandomForestClassifier".into());
    all.insert("model_type".to_owned(), estimator);
    all.insert("shards".to_owned(), request.shards.into());
    all.insert("shard_by".to_owned(), request.shard_by.as_str().into());
    all.insert("test_size".to_owned(), request.test_size.into());
    if let Some(column) = &request.dataset.sample_weight {
        all.insert("sample_weight".to_owned(), column.as_str().into());
    }
    if let Some(objective) = request.objective {
        all.insert("width".to_owned(), objective.width.to_string().into());
        all.insert("height".to_owned(), objective.height.to_string().into());
        all.insert("steps".to_owned(), objective.steps.into());
    }
    if let Some(stop) = &request.early_stop {
        all.insert("early_stop.trees".to_owned(), stop.trees.into());
        all.insert("early_stop.rounds".to_owned(), stop.rounds.into());
        all.insert("early_stop.min_gain".to_owned(), stop.min_gain.into());
        all.insert(
            "early_stop.metric".to_owned(),
            stop.metric.as_deref().unwrap_or_else(|| request.usual_metric()).into(),
        );
    }
    if let Some(dataset) = &job.dataset {
        all.insert("n_samples".to_owned(), dataset.n_samples.into());
        all.insert("n_features".to_owned(), dataset.feature_names.len().into());
    }
    all.into_iter().map(|(key, value)| Param::new(key, text(&value))).collect()
}

/// A value as scikit-learn's users know it from MLflow: `None`, `True`, `gini`, `0.7`.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn dataset(dataset: &event::Dataset) -> Dataset {
    let mut schema: Vec<Column> =
        dataset.feature_names.iter().map(|name| Column { name: name.clone(), kind: ColumnType::Double }).collect();
    let kind = if dataset.classes.is_empty() {
        ColumnType::Double
    } else if dataset.classes.iter().all(Value::is_number) {
        ColumnType::Long
    } else {
        ColumnType::String
    };
    schema.push(Column { name: dataset.target.clone(), kind });
    let local = dataset.uri.starts_with("file:");
    Dataset {
        name: dataset.name.clone(),
        digest: dataset.frame.sha256.chars().take(DIGEST_CHARS).collect(),
        source_type: if local { "local" } else { "code" }.to_owned(),
        source: if local { json!({"uri": dataset.uri}) } else { json!({"tags": {"mlflow.source.name": dataset.uri}}) },
        num_rows: dataset.n_samples,
        num_elements: dataset.n_samples * schema.len() as u64,
        schema,
    }
}

/// The model directory's contents.
///
/// `mlflow_version` is the server's; `at` is when the forest was whole, so that repeating gives the same bytes.
pub fn model(
    model: &ModelAggregated,
    native: Bytes,
    onnx: Bytes,
    mlflow_version: String,
    at: Timestamp,
) -> ModelDescription {
    let labels = &model.dataset.classes;
    let whole: Option<Vec<i64>> = labels.iter().map(Value::as_i64).collect();
    let text = |label: &Value| label.as_str().map_or_else(|| label.to_string(), str::to_owned);
    let answers = match whole {
        Some(numbers) if numbers.is_empty() => Answers::Numbers,
        Some(numbers) => Answers::IntLabels(numbers),
        None => Answers::TextLabels(labels.iter().map(text).collect()),
    };
    ModelDescription {
        feature_names: model.dataset.feature_names.clone(),
        categories: model.dataset.categories.clone(),
        answers,
        onnx,
        native,
        input_example: vec![model.input_example.clone()],
        mlflow_version,
        utc_time: at,
        extra_files: confusion(model).into_iter().collect(),
    }
}

/// The confusion matrix with its labels, as a file beside the model.
fn confusion(model: &ModelAggregated) -> Option<ModelFile> {
    let matrix = model.confusion_matrix.as_ref()?;
    let json = json!({"of": matrix.of, "labels": model.dataset.classes, "counts": matrix.counts});
    Some(ModelFile::new(CONFUSION_FILE, json.to_string()))
}

/// Tags of the version beside the job's and the hash's.
pub fn version_tags(model: &ModelAggregated) -> Vec<Tag> {
    vec![
        Tag::new("regrove.onnx_sha256", &model.onnx.sha256),
        Tag::new("regrove.dataset", &model.dataset.name),
        Tag::new("regrove.dataset_sha256", &model.dataset.frame.sha256),
    ]
}
