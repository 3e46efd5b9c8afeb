//! One event, as the log has it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use regrove_events::log::{Position, Version};
use regrove_events::{CloudEvent, TYPE_PREFIX};
use regrove_jobs::trace_id;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// An event at its place in the log.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct EventView {
    /// The stream, such as `job/reference-1`.
    pub(crate) stream: String,
    /// Place in the stream, from 1.
    pub(crate) version: Version,
    /// Place in the order of all streams, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) position: Option<Position>,
    /// `id`.
    pub(crate) id: String,
    /// `source`.
    pub(crate) source: String,
    /// `type`, such as `io.regrove.shard-trained`.
    #[serde(rename = "type")]
    pub(crate) ty: String,
    /// `subject`: the job id or the model's name.
    pub(crate) subject: Option<String>,
    /// `time`.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) time: Option<Timestamp>,
    /// Id of the event that caused it.
    pub(crate) causationid: Option<String>,
    /// W3C trace id, from `traceparent`.
    pub(crate) trace_id: Option<String>,
    /// Further attributes.
    pub(crate) extensions: BTreeMap<String, String>,
    /// The data; absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<Value>,
}

impl EventView {
    /// The event without its data.
    pub(crate) fn of(stream: &str, version: Version, position: Option<Position>, event: &CloudEvent) -> Self {
        let text = |name: &str| event.attribute(name).map(std::borrow::Cow::into_owned);
        let shown = ["causationid", "traceparent"];
        Self {
            stream: stream.to_owned(),
            version,
            position,
            id: event.id().to_owned(),
            source: event.source().to_owned(),
            ty: event.ty().to_owned(),
            subject: event.subject().map(str::to_owned),
            time: event.time(),
            causationid: text("causationid"),
            trace_id: trace_id(event),
            extensions: event
                .extensions()
                .filter(|(name, _)| !shown.contains(name))
                .map(|(name, _)| (name.to_owned(), text(name).unwrap_or_default()))
                .collect(),
            data: None,
        }
    }

    /// The event with its data.
    pub(crate) fn whole(stream: &str, version: Version, position: Option<Position>, event: &CloudEvent) -> Self {
        let data = event.data().and_then(|bytes| serde_json::from_slice(bytes).ok());
        Self { data, ..Self::of(stream, version, position, event) }
    }

    /// The type without the common prefix.
    pub(crate) fn name(&self) -> &str {
        short_type(&self.ty)
    }

    /// The page of this event.
    pub(crate) fn href(&self) -> String {
        format!("/events/{}/{}", self.stream, self.version)
    }
}

/// A type without the common prefix.
pub(crate) fn short_type(ty: &str) -> &str {
    ty.strip_prefix(TYPE_PREFIX).unwrap_or(ty)
}
