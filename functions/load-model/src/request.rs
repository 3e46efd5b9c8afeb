//! What people ask of this function, and the answers.

use http::StatusCode;
use jiff::Timestamp;
use regrove_events::event::{self, ModelLoaded, TrafficChanged};
use regrove_events::{CloudEvent, SwitchedBy};
use regrove_host::{Caller, Problem};
use regrove_mlflow::Selector;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::candidate::Wish;

/// Longest `actor` and `reason`, in characters.
const TEXT_CHARS_MAX: usize = 1000;

/// Body of `/model/load`; all of it optional, and so is the body itself.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct Load {
    /// Registered model name; the default model without it.
    name: Option<String>,
    /// Version number, or `latest`, which it is without it.
    #[schema(value_type = Option<u64>, example = 3)]
    version: Option<Number>,
    /// Alias, instead of a version; when it moves in MLflow, the served version moves with it.
    alias: Option<String>,
    /// Who asks.
    actor: Option<String>,
    /// Why.
    reason: Option<String>,
}

/// Body of `/model/rollback`; all of it optional, and so is the body itself.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct Rollback {
    /// Registered model name; the default model without it.
    name: Option<String>,
    /// Who asks.
    actor: Option<String>,
    /// Why.
    reason: Option<String>,
}

/// Body of `/model/traffic`: what is absent ends.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Traffic {
    /// Registered model name; the default model without it.
    name: Option<String>,
    /// The version that answers a share of the requests.
    canary: Option<CanaryWish>,
    /// The version whose answers are only compared.
    shadow: Option<VersionWish>,
    /// Who asks.
    actor: Option<String>,
    /// Why.
    reason: Option<String>,
}

/// A version and its share.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CanaryWish {
    /// Version number.
    #[schema(value_type = Option<u64>, example = 4)]
    version: Option<Number>,
    /// Alias, instead of a version.
    alias: Option<String>,
    /// Share of the requests, 1 to 100.
    #[schema(minimum = 1, maximum = 100, example = 10)]
    percent: u8,
}

/// A version.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct VersionWish {
    /// Version number.
    #[schema(value_type = Option<u64>, example = 4)]
    version: Option<Number>,
    /// Alias, instead of a version.
    alias: Option<String>,
}

/// A version: MLflow writes them as text, people as numbers.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a whole number or `latest`")]
enum Number {
    Whole(u64),
    Text(String),
}

/// A version to serve.
#[derive(Debug)]
pub(crate) struct LoadWish {
    pub(crate) name: String,
    pub(crate) selector: Selector,
    pub(crate) wish: Wish,
}

/// What is to stand beside the served version.
#[derive(Debug)]
pub(crate) struct TrafficWish {
    pub(crate) name: String,
    pub(crate) canary: Option<(Selector, u8)>,
    pub(crate) shadow: Option<Selector>,
    pub(crate) actor: Option<String>,
    pub(crate) reason: Option<String>,
}

/// What is wrong with the member that a JSON Pointer names.
fn wrong(pointer: &str, detail: String) -> Problem {
    Problem::new("invalid-request", StatusCode::UNPROCESSABLE_ENTITY, detail).with("pointer", pointer)
}

fn name(given: Option<String>, default: &str) -> Result<String, Problem> {
    let name = given.unwrap_or_else(|| default.to_owned());
    event::check_subject(&name).map_err(|error| wrong("/name", format!("`name`: {error}")))?;
    Ok(name)
}

fn wish(by: SwitchedBy, actor: Option<String>, reason: Option<String>) -> Result<Wish, Problem> {
    for (field, text) in [("actor", &actor), ("reason", &reason)] {
        if text.as_ref().is_some_and(|text| text.chars().count() > TEXT_CHARS_MAX) {
            let detail = format!("`{field}` has more than {TEXT_CHARS_MAX} characters");
            return Err(wrong(&format!("/{field}"), detail));
        }
    }
    Ok(Wish { by, actor, reason })
}

/// The version that the members of the object at `of` name.
fn selector(of: &str, version: Option<Number>, alias: Option<String>) -> Result<Selector, Problem> {
    Ok(match (version, alias) {
        (Some(_), Some(_)) => return Err(wrong(of, "`version` and `alias` exclude each other".to_owned())),
        (Some(Number::Whole(number)), None) => Selector::Version(number),
        (Some(Number::Text(text)), None) if text == "latest" => Selector::Latest,
        (Some(Number::Text(text)), None) => Selector::Version(text.parse().map_err(|_| {
            let detail = format!("`version` is `{text}`, expected a whole number or `latest`");
            wrong(&format!("{of}/version"), detail)
        })?),
        (None, Some(alias)) => Selector::Alias(alias.strip_prefix('@').map_or_else(|| alias.clone(), str::to_owned)),
        (None, None) => Selector::Latest,
    })
}

impl Load {
    /// Which version of which model is to be served.
    pub(crate) fn check(self, default_name: &str) -> Result<LoadWish, Problem> {
        Ok(LoadWish {
            name: name(self.name, default_name)?,
            selector: selector("", self.version, self.alias)?,
            wish: wish(SwitchedBy::Request, self.actor, self.reason)?,
        })
    }
}

impl Rollback {
    /// Which model is to go back.
    pub(crate) fn check(self, default_name: &str) -> Result<(String, Wish), Problem> {
        Ok((name(self.name, default_name)?, wish(SwitchedBy::Rollback, self.actor, self.reason)?))
    }
}

impl Traffic {
    /// What is to stand beside the served version.
    pub(crate) fn check(self, default_name: &str) -> Result<TrafficWish, Problem> {
        let canary = match self.canary {
            None => None,
            Some(canary) if (1..=100).contains(&canary.percent) => {
                Some((selector("/canary", canary.version, canary.alias)?, canary.percent))
            }
            Some(canary) => {
                let detail = format!("`canary.percent` is {}, expected 1 to 100", canary.percent);
                return Err(wrong("/canary/percent", detail));
            }
        };
        let shadow = self.shadow.map(|shadow| selector("/shadow", shadow.version, shadow.alias)).transpose()?;
        let Wish { actor, reason, .. } = wish(SwitchedBy::Request, self.actor, self.reason)?;
        Ok(TrafficWish { name: name(self.name, default_name)?, canary, shadow, actor, reason })
    }
}

/// The request as the event that causes what follows, in the trace of whoever asked.
pub(crate) fn as_event(name: &str, what: &str, Caller(trace): Caller, at: Timestamp) -> Result<CloudEvent, Problem> {
    let id = format!("{name}/{what}/request");
    let mut request = CloudEvent::builder(id, "/regrove/load-model/model/load", "io.regrove.load-requested").time(at);
    if let Some(trace) = trace {
        request = request.extension("traceparent", trace.to_string());
    }
    Ok(request.build()?)
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

/// The answer to a change of what stands beside the served version.
pub(crate) fn changed(change: &TrafficChanged, at: Timestamp) -> Value {
    json!({
        "name": change.name,
        "canary": change.canary.as_ref().map(|canary| json!({"version": canary.version.version, "percent": canary.percent})),
        "shadow": change.shadow.as_ref().map(|shadow| json!({"version": shadow.version})),
        "timestamp": at.to_string(),
    })
}
