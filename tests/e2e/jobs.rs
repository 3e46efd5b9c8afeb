//! Jobs that the tests ask for, and waiting for their ends.

use std::time::Duration;

use jiff::Timestamp;
use regrove_events::event::{DatasetRequest, ModelRequest, Objective, ShardBy, TrainRequested};
use regrove_events::log::job_stream;
use regrove_events::{Event, Job, http_binding, job};
use serde_json::{Value, json};

use crate::polling::until;
use crate::up::Up;

/// The answer to features 1.0 … 20.0 that scikit-learn 1.9.1 gives for the reference job.
pub(crate) const REFERENCE_PROBABILITIES: [f64; 2] = [0.373_333_333_333_333_35, 0.626_666_666_666_666_7];
/// The model that a request of a random forest of classes without a name means.
pub(crate) const DEFAULT_MODEL: &str = "RandomForestClassifierModel";
/// Shards of the [`lengthy`] job.
pub(crate) const LENGTHY_SHARDS: u32 = 20;
/// The data set of the reference job.
pub(crate) const REFERENCE_DATA: &str = "synthetic:make_classification?n_samples=2500&n_features=20&n_informative=10\
                                         &n_redundant=10&n_classes=2&random_state=42";
/// How long one look at the log waits for news; news end it at once.
const NEWS_WAIT: Duration = Duration::from_millis(500);

/// Features 1.0 … 20.0.
pub(crate) fn one_to_twenty() -> Vec<f64> {
    (1..=20).map(f64::from).collect()
}

/// The reference job: width 75, height 30, 200 steps.
pub(crate) fn reference(model: &str) -> TrainRequested {
    let params = json!({"n_estimators": 75, "max_depth": 30, "max_features": 0.7, "random_state": 42});
    request(REFERENCE_DATA, &params, model, Some(Objective { width: 75.0, height: 30.0, steps: 200 }))
}

/// A job that takes a moment: 12 trees on 400 rows of 20 features.
pub(crate) fn small(model: &str, random_state: u32) -> TrainRequested {
    let data = "synthetic:make_classification?n_samples=400&n_features=20&random_state=3";
    request(data, &json!({"n_estimators": 12, "max_depth": 6, "random_state": random_state}), model, None)
}

/// A job of so many shards that several waves of processes grow it: however fast a machine is, the first shard is in long
/// before the last, and there is time to disturb it.
pub(crate) fn lengthy(model: &str) -> TrainRequested {
    let data = "synthetic:make_classification?n_samples=3000&n_features=20&n_informative=10&random_state=5";
    let wish = request(data, &json!({"n_estimators": 80, "max_features": 0.5, "random_state": 11}), model, None);
    TrainRequested { shards: LENGTHY_SHARDS, ..wish }
}

fn request(uri: &str, params: &Value, model: &str, objective: Option<Objective>) -> TrainRequested {
    TrainRequested {
        dataset: DatasetRequest::new(uri, "target"),
        params: params.as_object().unwrap().clone(),
        shards: 4,
        shard_by: ShardBy::Trees,
        test_size: 0.2,
        model: ModelRequest::named(model),
        experiment: "end-to-end".to_owned(),
        objective,
        early_stop: None,
        sweep: None,
    }
}

impl Up {
    /// Emits a train request in binary mode, as an SDK does.
    pub(crate) async fn request(&self, id: &str, wish: &TrainRequested) {
        let at: Timestamp = "2026-11-23T08:00:00Z".parse().unwrap();
        let event = Event::TrainRequested(wish.clone()).first(&format!("{id}/request"), "/e2e", id, at).unwrap();
        let (headers, body) = http_binding::to_binary(&event).unwrap();
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        let answer = self.post_event(&headers, body).await;
        assert_eq!(answer.status, http::StatusCode::ACCEPTED, "{answer:?}");
    }

    /// The job as the log has it now; `None` when the log does not answer.
    pub(crate) async fn job(&self, id: &str) -> Option<Job> {
        Some(job::replay(&self.control().log.read(&job_stream(id), 0).await.ok()?))
    }

    /// Waits until the job is as asked.
    pub(crate) async fn job_when(&self, id: &str, what: &str, is: impl Fn(&Job) -> bool) -> Job {
        let control = self.control();
        let look = async || {
            let head = control.log.head().await.ok()?;
            let job = job::replay(&control.log.read(&job_stream(id), 0).await.ok()?);
            if is(&job) {
                return Some(job);
            }
            // An error means that the log is away: the next look tells.
            control.log.wait(head, NEWS_WAIT).await.unwrap_or_default();
            None
        };
        until(&format!("{id} {what}"), look).await
    }

    /// Waits for the job's end.
    pub(crate) async fn job_end(&self, id: &str) -> Job {
        self.job_when(id, "ends", |job| job.state.is_terminal()).await
    }

    /// Waits until `predict` answers from this version.
    pub(crate) async fn served(&self, model: &str, version: &str) {
        let path = format!("/models/{model}/info");
        until(&format!("{model} {version} is served"), async || {
            let info = self.call("predict", http::Method::GET, &path, None).await;
            (info.json["model_info"]["version"] == version).then_some(())
        })
        .await;
    }
}
