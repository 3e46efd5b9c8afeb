//! `SinkBinding` and `PingSource` of `sources.knative.dev/v1`.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::fields::{Cursor, Fields};
use super::metadata::{Destination, Metadata};
use crate::cron::Schedule;

/// Which objects a binding gives its sink to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// API group and version, e.g. `serving.knative.dev/v1`.
    pub api_version: String,
    /// Kind, e.g. `Service`.
    pub kind: String,
    /// By name, or by labels.
    pub selection: Selection,
}

/// How subjects are chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// The one of this name.
    Name(String),
    /// All whose labels contain these.
    Labels(BTreeMap<String, String>),
}

impl Subject {
    /// Whether an object of this kind with this metadata, in the binding's namespace, is meant.
    pub fn selects(&self, api_version: &str, kind: &str, metadata: &Metadata) -> bool {
        let group = |version: &str| version.split_once('/').map(|(group, _)| group.to_owned());
        group(&self.api_version) == group(api_version)
            && self.kind == kind
            && match &self.selection {
                Selection::Name(name) => *name == metadata.name,
                Selection::Labels(labels) => labels.iter().all(|(key, value)| metadata.labels.get(key) == Some(value)),
            }
    }
}

/// A binding: subjects get the sink's URL as `K_SINK`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkBinding {
    /// Name, labels, annotations.
    pub metadata: Metadata,
    /// Who gets it.
    pub subject: Subject,
    /// Where their events go.
    pub sink: Destination,
    /// Extensions that subjects are to set on every event.
    pub extensions: BTreeMap<String, String>,
}

/// Data of a ping source's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PingData {
    /// No data.
    None,
    /// Text.
    Text(String),
    /// Bytes, given as base64.
    Binary(Vec<u8>),
}

/// A source of one event at every moment of a schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct PingSource {
    /// Name, labels, annotations.
    pub metadata: Metadata,
    /// When.
    pub schedule: Schedule,
    /// `datacontenttype` of the events.
    pub content_type: Option<String>,
    /// Data of the events.
    pub data: PingData,
    /// Where they go.
    pub sink: Destination,
    /// Extensions set on every event.
    pub extensions: BTreeMap<String, String>,
}

/// Schedule of a ping source that gives none: every minute.
const SCHEDULE_DEFAULT: &str = "* * * * *";

/// Type of a ping source's events.
pub const PING_EVENT_TYPE: &str = "dev.knative.sources.ping";

impl SinkBinding {
    pub(crate) fn read(document: &mut Fields<'_>) -> Option<Self> {
        let metadata = Metadata::read(document, false);
        let mut spec = document.required("spec")?.fields()?;
        let subject = spec.required("subject").and_then(|node| read_subject(&node));
        let sink = spec.required("sink").and_then(|node| Destination::read(&node));
        let extensions = read_overrides(&mut spec);
        spec.finish();
        Some(Self { metadata, subject: subject?, sink: sink?, extensions })
    }

    /// `K_CE_OVERRIDES`: the extensions as JSON, or empty without any.
    pub fn overrides_json(&self) -> String {
        if self.extensions.is_empty() {
            return String::new();
        }
        serde_json::json!({ "extensions": self.extensions }).to_string()
    }
}

impl PingSource {
    pub(crate) fn read(document: &mut Fields<'_>) -> Option<Self> {
        let metadata = Metadata::read(document, false);
        let mut spec = document.required("spec")?.fields()?;
        let schedule = read_schedule(&mut spec);
        let content_type = spec.string("contentType").filter(|text| !text.is_empty());
        let data = read_data(&mut spec, content_type.as_deref());
        let sink = spec.required("sink").and_then(|node| Destination::read(&node));
        let extensions = read_overrides(&mut spec);
        spec.finish();
        Some(Self { metadata, schedule: schedule?, content_type, data, sink: sink?, extensions })
    }

    /// `source` of the events.
    pub fn event_source(&self) -> String {
        format!("/apis/v1/namespaces/{}/pingsources/{}", self.metadata.namespace, self.metadata.name)
    }
}

fn read_subject(node: &Cursor<'_>) -> Option<Subject> {
    let mut fields = node.fields()?;
    let api_version = fields.required_string("apiVersion");
    let kind = fields.required_string("kind");
    let name = fields.string("name").filter(|name| !name.is_empty());
    fields.accept(&["namespace"]);
    let selector = fields.get("selector");
    fields.finish();
    let selection = match (name, selector) {
        (Some(name), None) => Selection::Name(name),
        (None, Some(selector)) => {
            let mut members = selector.fields()?;
            let labels = members.string_map("matchLabels");
            members.refuse(&["matchExpressions"], "only matchLabels are read here");
            members.finish();
            Selection::Labels(labels)
        }
        (Some(_), Some(_)) => {
            node.error("expected exactly one, got both: name, selector");
            return None;
        }
        (None, None) => {
            node.error("expected exactly one, got none: name, selector");
            return None;
        }
    };
    Some(Subject { api_version: api_version?, kind: kind?, selection })
}

fn read_overrides(spec: &mut Fields<'_>) -> BTreeMap<String, String> {
    let Some(mut overrides) = spec.get("ceOverrides").and_then(|node| node.fields()) else {
        return BTreeMap::new();
    };
    let extensions = overrides.string_map("extensions");
    for name in extensions.keys() {
        let valid = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if !valid {
            overrides.error(&format!("extensions[{name}]"), "keys must be lower-case letters and digits");
        }
    }
    overrides.finish();
    extensions
}

fn read_schedule(spec: &mut Fields<'_>) -> Option<Schedule> {
    let zone = spec.string("timezone").filter(|zone| !zone.is_empty());
    let text = spec.string("schedule").filter(|text| !text.is_empty());
    let text = text.as_deref().unwrap_or(SCHEDULE_DEFAULT);
    match Schedule::parse(text, zone.as_deref()) {
        Ok(schedule) => Some(schedule),
        Err(error) => {
            let field = if error.is_time_zone() { "timezone" } else { "schedule" };
            let given = if error.is_time_zone() { zone.as_deref().unwrap_or_default() } else { text };
            spec.error(field, format!("invalid value: {given}; {error}"));
            None
        }
    }
}

fn read_data(spec: &mut Fields<'_>, content_type: Option<&str>) -> PingData {
    let text = spec.string("data").filter(|text| !text.is_empty());
    let base64 = spec.get("dataBase64");
    match (text, base64) {
        (Some(_), Some(base64)) => {
            base64.error("must not be set together with `data`");
            PingData::None
        }
        (None, None) => PingData::None,
        (Some(text), None) => {
            let json = content_type.is_some_and(|media| media.starts_with("application/json"));
            if json && serde_json::from_str::<serde::de::IgnoredAny>(&text).is_err() {
                spec.error("data", "must be JSON, since contentType is application/json");
            }
            PingData::Text(text)
        }
        (None, Some(base64)) => {
            let bytes = base64.string().and_then(|text| STANDARD.decode(text).ok());
            if bytes.is_none() {
                base64.error("must be base64");
            }
            bytes.map_or(PingData::None, PingData::Binary)
        }
    }
}
