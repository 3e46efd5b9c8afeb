//! A job with what MLflow knows of it.

use regrove_jobs::JobView;
use serde::Serialize;
use utoipa::ToSchema;

/// One point after another of a metric.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Series {
    /// MLflow's key.
    pub(crate) key: String,
    /// (step, value).
    pub(crate) points: Vec<(i64, f64)>,
}

/// What MLflow knows of a job.
#[derive(Debug, Clone, PartialEq, Default, Serialize, ToSchema)]
pub(crate) struct MlflowView {
    /// Tracking URI without credentials.
    pub(crate) uri: String,
    /// The run.
    pub(crate) run_id: Option<String>,
    /// The run's state.
    pub(crate) status: Option<String>,
    /// Address of the run's page.
    pub(crate) run_url: Option<String>,
    /// Metrics that were logged more than once.
    pub(crate) series: Vec<Series>,
    /// Why nothing more is known.
    pub(crate) unavailable: Option<String>,
}

/// A job with all its parts: what the log has, and what MLflow knows.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct JobAndRun {
    /// What the log has.
    #[serde(flatten)]
    pub(crate) job: JobView,
    /// What MLflow knows.
    pub(crate) mlflow: MlflowView,
}
