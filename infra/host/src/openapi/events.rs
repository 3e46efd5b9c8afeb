//! What a document says of CloudEvents.

use jiff::Timestamp;
use regrove_events::SCHEMAS;
use regrove_events::event::names;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

/// Types that stand for the data of events in a document.
macro_rules! data {
    ($($name:ident: $event:expr, $doc:literal;)*) => {$(
        #[doc = $doc]
        #[derive(Debug)]
        pub enum $name {}

        impl ToSchema for $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                published($event)
            }
        }
    )*};
}

data! {
    ModelRegistered: names::MODEL_REGISTERED, "The data of `model-registered`.";
    PredictRequested: names::PREDICT_REQUESTED, "The data of `predict-requested`.";
    PredictCompleted: names::PREDICT_COMPLETED, "The data of `predict-completed`.";
}

/// The schema of an event's data: that of `events/schemas/`, by the event's name. One that has words which `utoipa` does not know
/// is lost; `tests/manifests/interfaces.rs` holds those above against what is published.
fn published(name: &str) -> RefOr<Schema> {
    let text = SCHEMAS.iter().find(|(known, _)| *known == name).map_or("{}", |(_, text)| text);
    serde_json::from_str(text).unwrap_or_default()
}

/// A CloudEvent in structured mode: its attributes, extensions beside them, and its data.
#[derive(Debug, ToSchema)]
pub struct StructuredEvent<T> {
    /// `1.0`.
    #[schema(example = "1.0")]
    pub specversion: String,
    /// The sender's name for it; sent again it is the same event.
    #[schema(min_length = 1, example = "17")]
    pub id: String,
    /// Who says it: a URI reference.
    #[schema(min_length = 1, example = "/me")]
    pub source: String,
    /// What kind of event it is.
    #[schema(min_length = 1)]
    pub r#type: String,
    /// What it is about.
    #[schema(required = false, value_type = String)]
    pub subject: Option<String>,
    /// When, RFC 3339.
    #[schema(required = false, value_type = String, format = DateTime)]
    pub time: Option<Timestamp>,
    /// What the data are: JSON, which they are without it.
    #[schema(required = false, value_type = String, example = "application/json")]
    pub datacontenttype: Option<String>,
    /// The data's schema.
    #[schema(required = false, value_type = String)]
    pub dataschema: Option<String>,
    /// The data.
    pub data: T,
}

/// The attributes of a CloudEvent in binary mode, where the body is its data; without them, the body is an event in structured
/// mode. Further headers `ce-NAME` are extensions.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct EventHeaders {
    /// In binary mode: `1.0`.
    #[param(rename = "ce-specversion", required = false, value_type = String)]
    pub specversion: Option<String>,
    /// In binary mode: the sender's name for the event; sent again it is the same event.
    #[param(rename = "ce-id", required = false, value_type = String)]
    pub id: Option<String>,
    /// In binary mode: who says it, a URI reference.
    #[param(rename = "ce-source", required = false, value_type = String)]
    pub source: Option<String>,
    /// In binary mode: what kind of event it is.
    #[param(rename = "ce-type", required = false, value_type = String)]
    pub r#type: Option<String>,
    /// In binary mode: what it is about.
    #[param(rename = "ce-subject", required = false, value_type = String)]
    pub subject: Option<String>,
}
