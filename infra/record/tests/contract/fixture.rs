//! What the cases share: a job, its model, and names that no other case uses.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regrove_mlflow::{
    Answers, Client, Column, ColumnType, Dataset, JobRun, MlflowArgs, ModelDescription, ModelVersionRequest, Record,
    Tag,
};

pub(crate) const FEATURES: [&str; 4] =
    ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"];

pub(crate) fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/model_dir").join(name)
}

pub(crate) fn client(uri: &str) -> Client {
    Client::new(&MlflowArgs::for_uri(uri)).unwrap()
}

pub(crate) fn record(uri: &str) -> Record {
    Record::new(client(uri))
}

pub(crate) fn job(name: &str) -> JobRun {
    JobRun {
        experiment: format!("experiment of {name}"),
        job_id: format!("job-{name}"),
        run_name: name.to_owned(),
        user: "ann".to_owned(),
        start_time_ms: 1_700_000_000_000,
        params: (0..150).map(|place| Tag::new(format!("p{place}"), place.to_string())).collect(),
        tags: vec![Tag::new("regrove.test", "yes")],
        dataset: Some(Dataset {
            name: "iris".to_owned(),
            digest: "0123456789abcdef".to_owned(),
            source_type: "local".to_owned(),
            source: serde_json::json!({"uri": "file:///iris.csv"}),
            schema: vec![Column { name: "a".to_owned(), kind: ColumnType::Double }],
            num_rows: 150,
            num_elements: 750,
        }),
    }
}

pub(crate) fn model(native: &str) -> ModelDescription {
    ModelDescription {
        feature_names: FEATURES.iter().map(|&name| name.to_owned()).collect(),
        categories: BTreeMap::new(),
        answers: Answers::TextLabels(["setosa", "versicolor", "virginica"].map(str::to_owned).to_vec()),
        onnx: std::fs::read(testdata("model.onnx")).unwrap().into(),
        native: native.to_owned().into(),
        input_example: vec![vec![5.1, 3.5, 1.4, 0.2]],
        mlflow_version: regrove_record::COMPATIBLE_MLFLOW_VERSION.to_owned(),
        utc_time: "2026-11-23T03:06:12.751627Z".parse().unwrap(),
        extra_files: Vec::new(),
    }
}

pub(crate) fn request(name: &str, run_id: &str) -> ModelVersionRequest {
    ModelVersionRequest {
        job_id: format!("job-{name}"),
        run_id: run_id.to_owned(),
        registered_name: format!("Model {name}"),
        model: model("native bytes"),
        params: vec![Tag::new("n_estimators", "3")],
        tags: vec![Tag::new("extra", "1")],
        description: "a forest".to_owned(),
        alias: Some("champion".to_owned()),
    }
}
