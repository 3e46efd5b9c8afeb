//! `POST /model/load`: what is asked for, and the answer.

use http::StatusCode;
use jiff::Timestamp;
use regrove_events::CloudEvent;
use regrove_events::event::{self, ModelLoaded};
use regrove_host::Problem;
use regrove_mlflow::Selector;
use serde::Deserialize;
use serde_json::{Value, json};

/// The body; all of it optional, and so is the body itself.
#[derive(Debug, Default, Deserialize)]
struct Body {
    name: Option<String>,
    version: Option<Number>,
    alias: Option<String>,
}

/// A version: MLflow writes them as text, people as numbers.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Number {
    Whole(u64),
    Text(String),
}

/// The model's name and which version of it.
pub(crate) fn parse(body: &[u8], default_name: &str) -> Result<(String, Selector), Problem> {
    let wrong = |detail: String| Problem::new("invalid-request", StatusCode::UNPROCESSABLE_ENTITY, detail);
    let body: Body = if body.trim_ascii().is_empty() {
        Body::default()
    } else {
        serde_json::from_slice(body).map_err(|error| {
            let shape = r#"{"name": "…", "version": 3} or {"name": "…", "alias": "champion"}"#;
            wrong(format!("the body is not {shape}: {error}"))
        })?
    };
    let name = body.name.unwrap_or_else(|| default_name.to_owned());
    event::check_subject(&name).map_err(|error| wrong(format!("`name`: {error}")))?;
    let selector = match (body.version, body.alias) {
        (Some(_), Some(_)) => return Err(wrong("`version` and `alias` exclude each other".to_owned())),
        (Some(Number::Whole(number)), None) => Selector::Version(number),
        (Some(Number::Text(text)), None) if text == "latest" => Selector::Latest,
        (Some(Number::Text(text)), None) => Selector::Version(
            text.parse().map_err(|_| wrong(format!("`version` is `{text}`, expected a whole number or `latest`")))?,
        ),
        (None, Some(alias)) => Selector::Alias(alias),
        (None, None) => Selector::Latest,
    };
    Ok((name, selector))
}

/// The request as the event that causes the switch.
pub(crate) fn as_event(candidate: &ModelLoaded, at: Timestamp) -> Result<CloudEvent, Problem> {
    let id = format!("{}/{}/request", candidate.name, candidate.version);
    Ok(CloudEvent::builder(id, "/regrove/load-model/model/load", "io.regrove.load-requested").time(at).build()?)
}

/// The answer, in the reference stack's words.
pub(crate) fn reply(loaded: &ModelLoaded, mlflow_uri: &str, at: Timestamp) -> Value {
    json!({
        "model_loaded": true,
        "model_info": loaded.info(),
        "mlflow_uri": mlflow_uri,
        "timestamp": at.to_string(),
    })
}
