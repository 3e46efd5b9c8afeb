//! What people ask of this function, and the answers. Pure: the bodies are what a fuzz target feeds.

use http::StatusCode;
use jiff::Timestamp;
use regrove_events::event::{ModelLoaded, TrafficChanged};
use regrove_events::{CloudEvent, SwitchedBy, TYPE_PREFIX, model_name};
use regrove_host::{Caller, Problem};
use regrove_mlflow::Selector;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::FUNCTION;

/// Longest `actor` and `reason`, in characters.
const TEXT_CHARS_MAX: usize = 1000;

/// Body of `/model/load`; all of it optional, and so is the body itself.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// Registered model name; the default model without it.
    name: Option<String>,
    /// Version number, or `latest`, which it is without it.
    #[schema(example = 3)]
    version: Option<Number>,
    /// Alias, instead of a version; when it moves in MLflow, the served version moves with it.
    alias: Option<String>,
    /// Who asks.
    actor: Option<String>,
    /// Why; without it, what was asked for.
    reason: Option<String>,
}

/// Body of `/model/rollback`; all of it optional, and so is the body itself.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// Registered model name; the default model without it.
    name: Option<String>,
    /// Who asks.
    actor: Option<String>,
    /// Why; without it, what was asked for.
    reason: Option<String>,
}

/// Body of `/model/traffic`: what is absent ends.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    /// Registered model name; the default model without it.
    name: Option<String>,
    /// The version that answers a share of the requests.
    canary: Option<CanaryWish>,
    /// The version whose answers are only compared.
    shadow: Option<VersionWish>,
    /// Who asks.
    actor: Option<String>,
    /// Why; without it, what was asked for.
    reason: Option<String>,
}

/// A version and its share.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CanaryWish {
    /// Version number.
    #[schema(example = 4)]
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
    #[schema(example = 4)]
    version: Option<Number>,
    /// Alias, instead of a version.
    alias: Option<String>,
}

/// A version's number or `latest`. MLflow writes numbers as text, people as numbers.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Version)]
#[serde(untagged, expecting = "expected a whole number or `latest`")]
enum Number {
    Whole(u64),
    Text(String),
}

/// Who wants a version to be served, and why.
#[derive(Debug, Clone)]
pub struct Wish {
    /// An event, or a person.
    pub by: SwitchedBy,
    /// Who, as they call themselves.
    pub actor: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// A version to serve.
#[derive(Debug)]
pub struct LoadWish {
    /// Of this model.
    pub name: String,
    /// The version.
    pub selector: Selector,
    /// Whose wish it is.
    pub wish: Wish,
}

/// What is to stand beside the served version.
#[derive(Debug)]
pub struct TrafficWish {
    /// Of this model.
    pub name: String,
    /// The version that answers a share of the requests, and the share, 1 to 100.
    pub canary: Option<(Selector, u8)>,
    /// The version whose answers are only compared.
    pub shadow: Option<Selector>,
    /// Who asks.
    pub actor: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// What is wrong with the member that a JSON Pointer names.
fn wrong(pointer: &str, detail: String) -> Problem {
    Problem::new("invalid-request", StatusCode::UNPROCESSABLE_ENTITY, detail).with("pointer", pointer)
}

fn name(given: Option<String>, default: &str) -> Result<String, Problem> {
    let name = given.unwrap_or_else(|| default.to_owned());
    model_name::check(&name).map_err(|error| wrong("/name", format!("`name`: {error}")))?;
    Ok(name)
}

/// Who asks and why; where nobody says why, what was `asked` for.
fn wish(by: SwitchedBy, actor: Option<String>, reason: Option<String>, asked: &str) -> Result<Wish, Problem> {
    for (field, text) in [("actor", &actor), ("reason", &reason)] {
        if text.as_ref().is_some_and(|text| text.chars().count() > TEXT_CHARS_MAX) {
            let detail = format!("`{field}` has more than {TEXT_CHARS_MAX} characters");
            return Err(wrong(&format!("/{field}"), detail));
        }
    }
    Ok(Wish { by, actor, reason: reason.or_else(|| Some(asked.to_owned())) })
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
    ///
    /// # Errors
    /// 422 for a member that says nothing possible, by its JSON Pointer.
    pub fn check(self, default_name: &str) -> Result<LoadWish, Problem> {
        let selector = selector("", self.version, self.alias)?;
        let asked = match &selector {
            Selector::Latest => "asked for the latest version".to_owned(),
            Selector::Version(number) => format!("asked for version {number}"),
            Selector::Alias(alias) => format!("asked for the alias `{alias}`"),
        };
        let wish = wish(SwitchedBy::Request, self.actor, self.reason, &asked)?;
        Ok(LoadWish { name: name(self.name, default_name)?, selector, wish })
    }
}

impl Rollback {
    /// Which model is to go back.
    ///
    /// # Errors
    /// 422 for a member that says nothing possible, by its JSON Pointer.
    pub fn check(self, default_name: &str) -> Result<(String, Wish), Problem> {
        let wish = wish(SwitchedBy::Rollback, self.actor, self.reason, "asked for the version before")?;
        Ok((name(self.name, default_name)?, wish))
    }
}

impl Traffic {
    /// What is to stand beside the served version.
    ///
    /// # Errors
    /// 422 for a member that says nothing possible, by its JSON Pointer.
    pub fn check(self, default_name: &str) -> Result<TrafficWish, Problem> {
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
        let asked = match (&canary, &shadow) {
            (Some(_), Some(_)) => "asked for a canary and a shadow",
            (Some(_), None) => "asked for a canary",
            (None, Some(_)) => "asked for a shadow",
            (None, None) => "asked for the served version alone",
        };
        let Wish { actor, reason, .. } = wish(SwitchedBy::Request, self.actor, self.reason, asked)?;
        Ok(TrafficWish { name: name(self.name, default_name)?, canary, shadow, actor, reason })
    }
}

/// What people ask for, by the last part of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Load,
    Rollback,
    Traffic,
}

impl Order {
    fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Rollback => "rollback",
            Self::Traffic => "traffic",
        }
    }

    /// The request as the event that causes what follows, in the trace of whoever asked. Each request is one of its own, even
    /// if another one asked for the same before.
    pub(crate) fn as_event(self, name: &str, caller: &Caller, at: Timestamp) -> Result<CloudEvent, Problem> {
        let order = self.name();
        let id = format!("{name}/{order}/{}", Uuid::now_v7());
        let (source, ty) = (format!("/regrove/{FUNCTION}/model/{order}"), format!("{TYPE_PREFIX}{order}-requested"));
        let mut request = CloudEvent::builder(id, source, ty).time(at).build()?;
        caller.mark(&mut request)?;
        Ok(request)
    }
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
