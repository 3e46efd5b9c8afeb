//! Two jobs side by side: what was asked for, and what came of it.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::job::JobView;

/// One thing about two jobs.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Difference {
    /// What is compared: `parameter`, `data`, `metric`, `model` or `seconds`.
    pub(crate) group: &'static str,
    /// Its name.
    pub(crate) name: String,
    /// In the first job; null when it has none.
    #[schema(value_type = Object)]
    pub(crate) a: Value,
    /// In the second job; null when it has none.
    #[schema(value_type = Object)]
    pub(crate) b: Value,
    /// Whether both are the same.
    pub(crate) same: bool,
    /// Second minus first, for numbers.
    pub(crate) change: Option<f64>,
}

/// Two jobs.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Comparison {
    /// The first job's id.
    pub(crate) a: String,
    /// The second job's id.
    pub(crate) b: String,
    /// Everything that is compared, what is the same included.
    pub(crate) rows: Vec<Difference>,
    /// Whether both made the same forest, bit for bit; absent while one of them has none.
    pub(crate) same_model: Option<bool>,
}

impl Comparison {
    /// Compares two jobs.
    pub(crate) fn of(a: &JobView, b: &JobView) -> Self {
        let mut rows = Vec::new();
        let params: BTreeSet<&String> = a.params.keys().chain(b.params.keys()).collect();
        for name in params {
            rows.push(row("parameter", name, a.params.get(name).cloned(), b.params.get(name).cloned()));
        }
        let asked = |job: &JobView, pick: fn(&regrove_events::TrainRequested) -> Value| job.request.as_ref().map(pick);
        rows.push(row("parameter", "shards", asked(a, |r| r.shards.into()), asked(b, |r| r.shards.into())));
        rows.push(row("parameter", "test_size", asked(a, |r| r.test_size.into()), asked(b, |r| r.test_size.into())));
        let data = |job: &JobView, pick: fn(&super::DatasetView) -> Value| job.data.as_ref().map(pick);
        rows.push(row("data", "name", data(a, |d| d.name.clone().into()), data(b, |d| d.name.clone().into())));
        rows.push(row("data", "n_samples", data(a, |d| d.n_samples.into()), data(b, |d| d.n_samples.into())));
        let columns: fn(&super::DatasetView) -> Value = |data| data.feature_names.len().into();
        rows.push(row("data", "n_features", data(a, columns), data(b, columns)));
        rows.push(row("data", "sha256", data(a, |d| d.sha256.clone().into()), data(b, |d| d.sha256.clone().into())));
        let keys: BTreeSet<&String> = a.summary.metrics.keys().chain(b.summary.metrics.keys()).collect();
        for key in keys {
            let value = |job: &JobView| job.summary.metrics.get(key).map(|value| json!(value));
            rows.push(row("metric", key, value(a), value(b)));
        }
        let text = |text: &Option<String>| text.clone().map(Value::String);
        rows.push(row("model", "sha256", text(&a.model_sha256), text(&b.model_sha256)));
        for (name, a, b) in a.summary.seconds.beside(&b.summary.seconds) {
            rows.push(row("seconds", name, a.map(|value| json!(value)), b.map(|value| json!(value))));
        }
        rows.retain(|row| !(row.a.is_null() && row.b.is_null()));
        let models = a.model_sha256.as_ref().zip(b.model_sha256.as_ref());
        Self { a: a.summary.id.clone(), b: b.summary.id.clone(), rows, same_model: models.map(|(a, b)| a == b) }
    }
}

fn row(group: &'static str, name: &str, a: Option<Value>, b: Option<Value>) -> Difference {
    let (a, b) = (a.unwrap_or(Value::Null), b.unwrap_or(Value::Null));
    let change = a.as_f64().zip(b.as_f64()).map(|(a, b)| b - a);
    Difference { group, name: name.to_owned(), same: a == b, change, a, b }
}
