//! What the data of Regrove's events means. JSON Schemas of the same shapes lie in `events/schemas/`.

mod model;
mod predict;
mod shard;
mod sweep;
mod train;

use bytes::Bytes;
use jiff::Timestamp;
use serde::de::DeserializeOwned;

pub use model::{
    Artifact, CONFUSION_CLASSES_MAX, Canary, ConfusionMatrix, Example, MeasuredOn, ModelAggregated, ModelLoaded,
    ModelRegistered, ServedVersion, SwitchedBy, TrafficChanged,
};
pub use predict::{PredictCompleted, PredictRequested, PredictionLogged, RowsAt, RowsFrom};
pub use shard::{Dataset, RoundEvaluated, RowPart, ShardRequested, ShardTrained, TreeRange};
pub use sweep::{SweepCompleted, SweepRequested, SweepTrial, TrialResult};
pub use train::{
    CsvFormat, DatasetRequest, DeliveryFailed, EarlyStop, JobCancelled, JobFailed, ModelRequest, Objective, ROW_PARTS,
    ShardBy, TrainCancelled, TrainRequested,
};

use crate::json::{self, Misfit};
use crate::{CloudEvent, Invalid};

/// What every type of ours starts with.
pub const TYPE_PREFIX: &str = "io.regrove.";

/// Event types, without [`TYPE_PREFIX`].
pub mod names {
    #![expect(missing_docs, reason = "the names are the documentation: docs/events.md has a section for each")]
    pub const TRAIN_REQUESTED: &str = "train-requested";
    pub const TRAIN_CANCELLED: &str = "train-cancelled";
    pub const SHARD_REQUESTED: &str = "shard-requested";
    pub const SHARD_TRAINED: &str = "shard-trained";
    pub const ROUND_EVALUATED: &str = "round-evaluated";
    pub const MODEL_AGGREGATED: &str = "model-aggregated";
    pub const MODEL_REGISTERED: &str = "model-registered";
    pub const MODEL_LOADED: &str = "model-loaded";
    pub const TRAFFIC_CHANGED: &str = "traffic-changed";
    pub const PREDICT_REQUESTED: &str = "predict-requested";
    pub const PREDICT_COMPLETED: &str = "predict-completed";
    pub const PREDICTION_LOGGED: &str = "prediction-logged";
    pub const DELIVERY_FAILED: &str = "delivery-failed";
    pub const JOB_FAILED: &str = "job-failed";
    pub const JOB_CANCELLED: &str = "job-cancelled";
    pub const SWEEP_REQUESTED: &str = "sweep-requested";
    pub const SWEEP_COMPLETED: &str = "sweep-completed";
}

/// The JSON Schema of each event type's data, by name.
pub const SCHEMAS: [(&str, &str); 17] = [
    (names::TRAIN_REQUESTED, include_str!("../../schemas/train-requested.v1.json")),
    (names::TRAIN_CANCELLED, include_str!("../../schemas/train-cancelled.v1.json")),
    (names::SHARD_REQUESTED, include_str!("../../schemas/shard-requested.v1.json")),
    (names::SHARD_TRAINED, include_str!("../../schemas/shard-trained.v1.json")),
    (names::ROUND_EVALUATED, include_str!("../../schemas/round-evaluated.v1.json")),
    (names::MODEL_AGGREGATED, include_str!("../../schemas/model-aggregated.v1.json")),
    (names::MODEL_REGISTERED, include_str!("../../schemas/model-registered.v1.json")),
    (names::MODEL_LOADED, include_str!("../../schemas/model-loaded.v1.json")),
    (names::TRAFFIC_CHANGED, include_str!("../../schemas/traffic-changed.v1.json")),
    (names::PREDICT_REQUESTED, include_str!("../../schemas/predict-requested.v1.json")),
    (names::PREDICT_COMPLETED, include_str!("../../schemas/predict-completed.v1.json")),
    (names::PREDICTION_LOGGED, include_str!("../../schemas/prediction-logged.v1.json")),
    (names::DELIVERY_FAILED, include_str!("../../schemas/delivery-failed.v1.json")),
    (names::JOB_FAILED, include_str!("../../schemas/job-failed.v1.json")),
    (names::JOB_CANCELLED, include_str!("../../schemas/job-cancelled.v1.json")),
    (names::SWEEP_REQUESTED, include_str!("../../schemas/sweep-requested.v1.json")),
    (names::SWEEP_COMPLETED, include_str!("../../schemas/sweep-completed.v1.json")),
];

/// Everything that can happen to a job or a served model.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Somebody asks for a model. Starts a job.
    TrainRequested(TrainRequested),
    /// Somebody asks for a job to stop.
    TrainCancelled(TrainCancelled),
    /// A part of the forest is to be grown.
    ShardRequested(ShardRequested),
    /// A part of the forest has been grown.
    ShardTrained(ShardTrained),
    /// The forest has been scored between two rounds of growing.
    RoundEvaluated(RoundEvaluated),
    /// The forest is whole and evaluated.
    ModelAggregated(ModelAggregated),
    /// MLflow has the model as a version.
    ModelRegistered(ModelRegistered),
    /// The serving pointer of a model name has moved.
    ModelLoaded(ModelLoaded),
    /// The share of a canary or the shadow of a model name has changed.
    TrafficChanged(TrafficChanged),
    /// Somebody asks for predictions.
    PredictRequested(PredictRequested),
    /// They are there.
    PredictCompleted(PredictCompleted),
    /// A prediction that was drawn for the prediction log.
    PredictionLogged(PredictionLogged),
    /// An event of the job was given up for now: nobody took it.
    DeliveryFailed(DeliveryFailed),
    /// The job ended without a model.
    JobFailed(JobFailed),
    /// The job was stopped on request.
    JobCancelled(JobCancelled),
    /// Somebody asks for the best of many settings. Starts a sweep.
    SweepRequested(SweepRequested),
    /// All of them have been tried.
    SweepCompleted(SweepCompleted),
}

/// Why a CloudEvent is none of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// The type is not one of [`names`].
    #[error("event type `{0}` is unknown here")]
    UnknownType(String),
    /// The event has no subject.
    #[error("event `{ty}` has no `subject`, which names the job (or the model, for serving events)")]
    NoSubject {
        /// The event's type.
        ty: String,
    },
    /// The subject cannot name a job.
    #[error("subject `{0}` is invalid: 1 to 128 letters, digits, `.`, `_` and `-`, starting with a letter or digit")]
    Subject(String),
    /// The name is none that a registered model can have.
    #[error("`{0}` cannot name a model: 1 to 256 characters are allowed, none of them `/`, `:` or a control character")]
    ModelName(String),
    /// The data does not have the type's shape.
    #[error("data of `{ty}` is invalid: {misfit}")]
    Data {
        /// The event's type.
        ty: String,
        /// The field and what it should be.
        misfit: Misfit,
    },
}

/// What a derived event is made of besides its meaning: all of it comes from its cause and from the caller's clock.
#[derive(Debug, Clone)]
pub struct Cause<'a> {
    /// The function that speaks, such as `aggregate`.
    pub function: &'a str,
    /// The event that caused this one.
    pub event: &'a CloudEvent,
    /// Now.
    pub at: Timestamp,
}

macro_rules! each_event {
    ($( $variant:ident = $name:ident ),* $(,)?) => {
        impl Event {
            /// The event type without [`TYPE_PREFIX`].
            pub fn name(&self) -> &'static str {
                match self { $( Self::$variant(_) => names::$name, )* }
            }

            fn to_json(&self) -> Vec<u8> {
                // Plain structs with string keys: serialisation has no way to fail.
                match self { $( Self::$variant(data) => serde_json::to_vec(data), )* }.unwrap_or_default()
            }

            /// Reads the data of one of our events.
            ///
            /// # Errors
            /// [`Unreadable::UnknownType`]; [`Unreadable::Data`] with the path of the field that does not fit.
            pub fn read(event: &CloudEvent) -> Result<Self, Unreadable> {
                let name = event.ty().strip_prefix(TYPE_PREFIX).unwrap_or_default();
                match name {
                    $( names::$name => data(event).map(Self::$variant), )*
                    _ => Err(Unreadable::UnknownType(event.ty().to_owned())),
                }
            }
        }
    };
}

each_event! {
    TrainRequested = TRAIN_REQUESTED,
    TrainCancelled = TRAIN_CANCELLED,
    ShardRequested = SHARD_REQUESTED,
    ShardTrained = SHARD_TRAINED,
    RoundEvaluated = ROUND_EVALUATED,
    ModelAggregated = MODEL_AGGREGATED,
    ModelRegistered = MODEL_REGISTERED,
    ModelLoaded = MODEL_LOADED,
    TrafficChanged = TRAFFIC_CHANGED,
    PredictRequested = PREDICT_REQUESTED,
    PredictCompleted = PREDICT_COMPLETED,
    PredictionLogged = PREDICTION_LOGGED,
    DeliveryFailed = DELIVERY_FAILED,
    JobFailed = JOB_FAILED,
    JobCancelled = JOB_CANCELLED,
    SweepRequested = SWEEP_REQUESTED,
    SweepCompleted = SWEEP_COMPLETED,
}

fn data<T: DeserializeOwned>(event: &CloudEvent) -> Result<T, Unreadable> {
    let read = if event.has_json_data() {
        event.data().ok_or_else(|| Misfit::whole("there is none")).and_then(|bytes| json::read(bytes))
    } else {
        Err(Misfit::whole("datacontenttype must be application/json"))
    };
    read.map_err(|misfit| Unreadable::Data { ty: event.ty().to_owned(), misfit })
}

impl Event {
    /// The CloudEvent that says this because of `cause`.
    ///
    /// The same id always stands for the same work, so the caller derives it from the cause: `{job}/shard/3`.
    ///
    /// # Errors
    /// [`Invalid`] when the id or subject is empty.
    pub fn caused_by(&self, cause: &Cause<'_>, id: &str, subject: &str) -> Result<CloudEvent, Invalid> {
        let mut builder = self.builder(id, &format!("/regrove/{}", cause.function), subject, cause.at);
        builder = builder.extension("causationid", cause.event.id());
        for name in ["traceparent", "tracestate"] {
            if let Some(value) = cause.event.extension(name) {
                builder = builder.extension(name, value.clone());
            }
        }
        builder.build()
    }

    /// The CloudEvent that starts something: nothing of ours caused it.
    ///
    /// # Errors
    /// [`Invalid`] when an attribute is empty or the source is not a URI reference.
    pub fn first(&self, id: &str, source: &str, subject: &str, at: Timestamp) -> Result<CloudEvent, Invalid> {
        self.builder(id, source, subject, at).build()
    }

    fn builder(&self, id: &str, source: &str, subject: &str, at: Timestamp) -> crate::CloudEventBuilder {
        CloudEvent::builder(id, source, format!("{TYPE_PREFIX}{}", self.name()))
            .subject(subject)
            .time(at)
            .data_schema(format!("urn:regrove:schema:{}:v1", self.name()))
            .data("application/json", Bytes::from(self.to_json()))
    }
}

/// Longest subject in characters.
const SUBJECT_CHARS_MAX: usize = 128;

/// The job id that an event is about. A model's name is another matter: [`crate::model_name::of`].
///
/// # Errors
/// [`Unreadable::NoSubject`], [`Unreadable::Subject`].
pub fn subject(event: &CloudEvent) -> Result<&str, Unreadable> {
    let subject = event.subject().ok_or_else(|| Unreadable::NoSubject { ty: event.ty().to_owned() })?;
    check_subject(subject)?;
    Ok(subject)
}

/// Checks a job id, or the name of a model that is to be trained.
///
/// # Errors
/// [`Unreadable::Subject`].
pub fn check_subject(subject: &str) -> Result<(), Unreadable> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let starts = subject.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if starts && subject.len() <= SUBJECT_CHARS_MAX && subject.bytes().all(plain) {
        return Ok(());
    }
    Err(Unreadable::Subject(subject.to_owned()))
}
