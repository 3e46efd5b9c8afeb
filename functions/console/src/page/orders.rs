//! Buttons and forms: each order sends the browser to the page that shows what comes of it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Redirect;
use regrove_host::{Path, Problem};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::parts::model_href;
use crate::Ports;
use crate::access::{Keyed, OwnForm};
use crate::action::{self, Ordered};
use crate::api::models::{LoadOrder, TrafficOrder};

/// Every field that a form of ours may send.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Fields {
    form_key: Option<String>,
    reason: Option<String>,
    version: String,
    canary: String,
    percent: String,
    shadow: String,
    id: String,
    uri: String,
    target: String,
    params: String,
    shards: String,
    shard_by: String,
    test_size: String,
    model: String,
    alias: String,
    experiment: String,
}

impl Keyed for Fields {
    fn form_key(&self) -> Option<&str> {
        self.form_key.as_deref()
    }
}

fn after(ordered: &Ordered, notice: &str) -> Redirect {
    Redirect::to(&format!("{}?notice={notice}", ordered.href))
}

pub(super) async fn submit(
    State(ports): State<Arc<Ports>>,
    OwnForm(fields): OwnForm<Fields>,
) -> Result<Redirect, Problem> {
    let ordered = action::submit(&ports, request(&fields)?).await?;
    Ok(after(&ordered, if ordered.created { "asked" } else { "known" }))
}

/// The form as the body that the API takes.
fn request(fields: &Fields) -> Result<Value, Problem> {
    let number = |name: &str, text: &str| -> Result<Value, Problem> {
        serde_json::from_str::<Value>(text.trim())
            .ok()
            .filter(Value::is_number)
            .ok_or_else(|| action::invalid(&format!("`{name}` is `{text}`, expected a number")))
    };
    let given = |text: &str| Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned);
    let mut dataset = Map::from_iter([("uri".to_owned(), json!(fields.uri.trim()))]);
    dataset.extend(given(&fields.target).map(|target| ("target".to_owned(), json!(target))));
    let mut body = Map::from_iter([("dataset".to_owned(), Value::Object(dataset))]);
    body.extend(given(&fields.id).map(|id| ("id".to_owned(), json!(id))));
    if let Some(params) = given(&fields.params) {
        let params: Map<String, Value> = serde_json::from_str(&params)
            .map_err(|error| action::invalid(&format!("`params` is no JSON object: {error}")))?;
        body.insert("params".to_owned(), Value::Object(params));
    }
    for (name, text) in [("shards", &fields.shards), ("test_size", &fields.test_size)] {
        if let Some(text) = given(text) {
            body.insert(name.to_owned(), number(name, &text)?);
        }
    }
    body.extend(given(&fields.shard_by).map(|what| ("shard_by".to_owned(), json!(what))));
    let mut model = Map::new();
    model.extend(given(&fields.model).map(|name| ("name".to_owned(), json!(name))));
    model.extend(given(&fields.alias).map(|alias| ("alias".to_owned(), json!(alias))));
    body.insert("model".to_owned(), Value::Object(model));
    body.extend(given(&fields.experiment).map(|name| ("experiment".to_owned(), json!(name))));
    Ok(Value::Object(body))
}

pub(super) async fn stop(
    State(ports): State<Arc<Ports>>,
    Path(id): Path<String>,
    OwnForm(fields): OwnForm<Fields>,
) -> Result<Redirect, Problem> {
    let ordered = action::stop(&ports, &id, fields.reason).await?;
    Ok(after(&ordered, if ordered.state == "stopping" { "stopping" } else { "stopped" }))
}

pub(super) async fn retry(
    State(ports): State<Arc<Ports>>,
    Path(id): Path<String>,
    _: OwnForm<Fields>,
) -> Result<Redirect, Problem> {
    let ordered = action::retry(&ports, &id, None).await?;
    Ok(after(&ordered, "retried"))
}

pub(super) async fn replay(
    State(ports): State<Arc<Ports>>,
    Path(id): Path<String>,
    _: OwnForm<Fields>,
) -> Result<Redirect, Problem> {
    let replayed = action::replay(&ports, &id, false, false).await?;
    Ok(Redirect::to(&format!("/jobs/{}?notice=replayed", replayed.id)))
}

pub(super) async fn load(
    State(ports): State<Arc<Ports>>,
    Path(name): Path<String>,
    OwnForm(fields): OwnForm<Fields>,
) -> Result<Redirect, Problem> {
    let order = LoadOrder { version: fields.version, reason: fields.reason };
    action::load(&ports, &name, &order).await?;
    Ok(Redirect::to(&format!("{}?notice=loaded", model_href(&name))))
}

pub(super) async fn traffic(
    State(ports): State<Arc<Ports>>,
    Path(name): Path<String>,
    OwnForm(fields): OwnForm<Fields>,
) -> Result<Redirect, Problem> {
    action::traffic(&ports, &name, &traffic_order(&fields)?).await?;
    Ok(Redirect::to(&format!("{}?notice=traffic", model_href(&name))))
}

/// The form as the order that the API takes. A share beside no canary is what the field held before.
fn traffic_order(fields: &Fields) -> Result<TrafficOrder, Problem> {
    let given = |text: &str| Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned);
    let canary = given(&fields.canary);
    let wrong = || action::invalid(&format!("`percent` is `{}`, expected a whole number, 1 to 100", fields.percent));
    let percent = match (&canary, given(&fields.percent)) {
        (Some(_), Some(text)) => Some(text.parse().map_err(|_| wrong())?),
        _ => None,
    };
    Ok(TrafficOrder {
        canary,
        percent,
        shadow: given(&fields.shadow),
        reason: fields.reason.clone().filter(|reason| !reason.is_empty()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_makes_the_body_that_the_api_takes() {
        let fields = Fields {
            uri: " file:///a.csv ".to_owned(),
            params: "{\"max_depth\": null}".to_owned(),
            shards: "4".to_owned(),
            shard_by: "rows".to_owned(),
            test_size: "0.25".to_owned(),
            model: "m".to_owned(),
            ..Fields::default()
        };
        let wanted = json!({
            "dataset": {"uri": "file:///a.csv"}, "params": {"max_depth": null}, "shards": 4, "test_size": 0.25,
            "shard_by": "rows", "model": {"name": "m"},
        });
        assert_eq!(request(&fields).unwrap(), wanted);
        let nameless = request(&Fields { uri: "file:///a.csv".to_owned(), ..Fields::default() }).unwrap();
        assert_eq!(nameless["model"], json!({}), "the estimator's own name");
        for (params, shards) in [("[]", "4"), ("{", "4"), ("{}", "four"), ("{}", "\"4\"")] {
            let fields = Fields { params: params.to_owned(), shards: shards.to_owned(), ..Fields::default() };
            assert_eq!(request(&fields).unwrap_err().kind, "invalid-request", "{params} {shards}");
        }
    }

    #[test]
    fn the_traffic_form_makes_the_order_that_the_api_takes() {
        let order = |canary: &str, percent: &str, shadow: &str| {
            let [canary, percent, shadow] = [canary, percent, shadow].map(str::to_owned);
            traffic_order(&Fields { canary, percent, shadow, ..Fields::default() })
        };
        let some = |text: &str| Some(text.to_owned());
        let wanted = TrafficOrder { canary: some("4"), percent: Some(10), ..TrafficOrder::default() };
        assert_eq!(order("4", " 10 ", "").unwrap(), wanted);
        assert_eq!(order("", "10", "5").unwrap(), TrafficOrder { shadow: some("5"), ..TrafficOrder::default() });
        assert_eq!(order("", "", "").unwrap(), TrafficOrder::default());
        assert!(order("4", "half", "").unwrap_err().detail.contains("`half`"));
        assert!(order("4", "300", "").is_err());
    }
}
