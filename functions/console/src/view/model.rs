//! A registered model: its versions in MLflow, and the pointer that says which one is served.

use std::collections::BTreeMap;

use jiff::Timestamp;
use regrove_events::{CloudEvent, Event, Serving, SwitchedBy};
use regrove_mlflow::ModelVersion;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::event::EventView;

/// A model in a list.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct ModelSummary {
    /// Registered model name.
    pub(crate) name: String,
    /// The version that is served, if one is.
    pub(crate) served: Option<String>,
    /// How many versions there are.
    pub(crate) versions: usize,
    /// The newest version.
    pub(crate) latest: Option<String>,
    /// Aliases and the versions that they name.
    pub(crate) aliases: BTreeMap<String, String>,
}

/// Which version is served, and how that came.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct PointerView {
    /// The version that requests are answered from.
    pub(crate) version: String,
    /// `models:/NAME/VERSION`.
    pub(crate) uri: String,
    /// SHA-256 of the native form.
    pub(crate) sha256: String,
    /// The version before, where a rollback leads.
    pub(crate) previous: Option<String>,
    /// `event` when it was registered, `request` or `rollback` when somebody asked for it.
    pub(crate) by: String,
    /// How often the pointer has moved.
    pub(crate) switches: u64,
    /// The version that answers a share of the requests.
    pub(crate) canary: Option<CanaryView>,
    /// The version whose answers are only compared.
    pub(crate) shadow: Option<String>,
}

/// A version beside the served one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct CanaryView {
    /// The version.
    pub(crate) version: String,
    /// Its share of the requests in percent, 1 to 100.
    pub(crate) percent: u8,
}

impl PointerView {
    pub(crate) fn of(serving: &Serving) -> Option<Self> {
        let loaded = serving.current.as_ref()?;
        Some(Self {
            version: loaded.version.clone(),
            uri: loaded.uri.clone(),
            sha256: loaded.model.sha256.clone(),
            previous: serving.before().map(|before| before.version.clone()),
            by: by(loaded.by).to_owned(),
            switches: serving.switches,
            canary: serving
                .canary
                .as_ref()
                .map(|canary| CanaryView { version: canary.version.version.clone(), percent: canary.percent }),
            shadow: serving.shadow.as_ref().map(|shadow| shadow.version.clone()),
        })
    }
}

fn by(by: SwitchedBy) -> &'static str {
    match by {
        SwitchedBy::Event => "event",
        SwitchedBy::Request => "request",
        SwitchedBy::Rollback => "rollback",
        SwitchedBy::Alias => "alias",
    }
}

/// A version of a model.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct VersionView {
    /// Version, as MLflow writes it.
    pub(crate) version: String,
    /// Whether requests are answered from it.
    pub(crate) served: bool,
    /// Aliases that name it.
    pub(crate) aliases: Vec<String>,
    /// The job that made it, if this log has it.
    pub(crate) job: Option<String>,
    /// The run that made it.
    pub(crate) run_id: Option<String>,
    /// SHA-256 of the native form.
    pub(crate) sha256: Option<String>,
    /// Metrics by MLflow's key, if this log has them.
    pub(crate) metrics: BTreeMap<String, f64>,
    /// When MLflow made it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) created_at: Option<Timestamp>,
    /// Description.
    pub(crate) description: String,
}

impl VersionView {
    /// A version as MLflow has it.
    pub(crate) fn of(version: &ModelVersion) -> Self {
        Self {
            version: version.version.to_string(),
            served: false,
            aliases: version.aliases.clone(),
            job: version.tag(regrove_mlflow::record::JOB_TAG).map(str::to_owned),
            run_id: Some(version.run_id.clone()).filter(|id| !id.is_empty()),
            sha256: version.tag(regrove_mlflow::record::SHA256_TAG).map(str::to_owned),
            metrics: BTreeMap::new(),
            created_at: Timestamp::from_millisecond(version.creation_timestamp).ok(),
            description: version.description.clone(),
        }
    }

    /// Its number, for sorting.
    pub(crate) fn number(&self) -> u64 {
        self.version.parse().unwrap_or(0)
    }
}

/// What rows a model takes, and what it answers.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct SignatureView {
    /// Features, in order.
    pub(crate) feature_names: Vec<String>,
    /// Class labels, in order.
    #[schema(value_type = Vec<Object>)]
    pub(crate) classes: Vec<Value>,
    /// The texts of the features that hold codes, by name: the k-th text has the code k.
    pub(crate) categories: BTreeMap<String, Vec<String>>,
    /// One row of the data.
    pub(crate) example: Vec<f64>,
}

/// Which classes were taken for which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ConfusionView {
    /// Which rows, in words.
    pub(crate) of: String,
    /// Rows of class i taken for class j: `[i][j]`, classes in the order of the signature's.
    pub(crate) counts: Vec<Vec<u64>>,
}

/// One move of the pointer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct SwitchView {
    /// The version that was served from then on.
    pub(crate) version: String,
    /// `event`, `request` or `rollback`.
    pub(crate) by: String,
    /// The event.
    pub(crate) event: EventView,
}

/// The moves of a pointer, the newest first.
pub(crate) fn switches(stream: &str, history: &[CloudEvent]) -> Vec<SwitchView> {
    let mut moves: Vec<SwitchView> = (1..)
        .zip(history)
        .filter_map(|(version, event)| match Event::read(event) {
            Ok(Event::ModelLoaded(loaded)) => Some(SwitchView {
                version: loaded.version,
                by: by(loaded.by).to_owned(),
                event: EventView::of(stream, version, None, event),
            }),
            _ => None,
        })
        .collect();
    moves.reverse();
    moves
}

/// A model with all its parts.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct ModelView {
    /// Registered model name.
    pub(crate) name: String,
    /// Which version is served; absent when none is.
    pub(crate) pointer: Option<PointerView>,
    /// Its versions, the newest first.
    pub(crate) versions: Vec<VersionView>,
    /// The moves of the pointer, the newest first.
    pub(crate) switches: Vec<SwitchView>,
    /// Rows and answers of the served version, if this log has its job.
    pub(crate) signature: Option<SignatureView>,
    /// Mean decrease in impurity by feature of the served version.
    pub(crate) feature_importances: Vec<(String, f64)>,
    /// Which classes the served version takes for which.
    pub(crate) confusion_matrix: Option<ConfusionView>,
    /// Address of its page in MLflow.
    pub(crate) mlflow_url: Option<String>,
    /// Why MLflow was not asked: only what the log has is shown then.
    pub(crate) unavailable: Option<String>,
}
