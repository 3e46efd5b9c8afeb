//! Two jobs side by side, for people.

use regrove_jobs::Comparison;
use serde_json::Value;

use crate::output::table;

pub(super) fn describe(compared: &Comparison) -> String {
    let (left, right) = (&compared.left, &compared.right);
    let text = |value: &Value| match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let seconds = |seconds: Option<f64>| seconds.map_or_else(|| "–".to_owned(), |seconds| format!("{seconds:.3}"));
    let mut rows = vec![vec!["state".to_owned(), left.state.to_string(), right.state.to_string(), String::new()]];
    rows.extend(compared.settings.iter().map(|setting| {
        let mark = if setting.differs { "differs" } else { "" };
        vec![setting.name.clone(), text(&setting.left), text(&setting.right), mark.to_owned()]
    }));
    rows.extend(compared.metrics.iter().map(|metric| {
        let value = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"));
        let change = metric.change.map_or_else(String::new, |change| format!("{change:+.4}"));
        vec![metric.name.clone(), value(metric.left), value(metric.right), change]
    }));
    let took = (left.seconds.queued_to_registered, right.seconds.queued_to_registered);
    rows.push(vec!["seconds".to_owned(), seconds(took.0), seconds(took.1), String::new()]);
    let answer = |same: Option<bool>, what: &str| match same {
        Some(true) => format!("{what}: the same, byte for byte"),
        Some(false) => format!("{what}: different"),
        None => format!("{what}: not known yet"),
    };
    format!(
        "{}\n{}\n{}",
        table(&["", &left.id, &right.id, ""], rows),
        answer(compared.same_data, "data"),
        answer(compared.same_model, "model")
    )
}
