//! What MLflow, real or embedded, has about a job.

use regrove_mlflow::record::JOB_TAG;
use regrove_mlflow::{Client, Error, MlflowArgs, ModelVersion, Run, RunsQuery, filter};

/// A client of the server at `uri`.
pub(crate) fn client(uri: &str) -> Client {
    Client::new(&MlflowArgs::for_uri(uri)).unwrap()
}

/// All runs of a job.
pub(crate) async fn runs(uri: &str, job: &str) -> Vec<Run> {
    let client = client(uri);
    let experiment = match client.experiment_by_name("end-to-end").await {
        Err(Error::NotFound { .. }) => return Vec::new(),
        found => found.unwrap(),
    };
    let query = RunsQuery {
        experiment_ids: vec![experiment.experiment_id],
        filter: filter::tag(JOB_TAG, job).unwrap(),
        order_by: Vec::new(),
        max_results: 100,
        page_token: None,
    };
    client.search_runs(&query).await.unwrap().runs
}

/// All versions of a registered model, whichever job they come from.
pub(crate) async fn versions(uri: &str, model: &str) -> Vec<ModelVersion> {
    client(uri).search_model_versions(&format!("name = '{model}'"), "", 1000).await.unwrap()
}

/// The versions that a job made.
pub(crate) async fn versions_of_job(uri: &str, model: &str, job: &str) -> Vec<ModelVersion> {
    versions(uri, model).await.into_iter().filter(|version| version.tag(JOB_TAG) == Some(job)).collect()
}
