//! What can happen in Regrove, and what it adds up to.
//!
//! * [`CloudEvent`] is an event as it travels: strict CloudEvents 1.0 in binary, structured and batched HTTP form.
//! * [`Event`] is what the data of a `io.regrove.*` event means.
//! * [`Job`] is the fold of a job's events; [`Serving`] is the fold of a model's, [`Sweep`] that of a sweep's.
//! * [`log::EventLog`] is where events are kept.
//!
//! Nothing here reads a clock, an environment variable or a random number, and nothing here talks to anyone.

mod attribute;
mod causes;
mod cloud_event;
pub mod event;
pub mod http_binding;
pub mod ids;
pub mod job;
pub mod json;
pub mod json_format;
pub mod log;
pub mod model_name;
pub mod score;
pub mod serving;
pub mod sweep;

pub use attribute::AttributeValue;
pub use causes::with_causes;
pub use cloud_event::{CloudEvent, CloudEventBuilder, Invalid, SpecVersion};
pub use event::{
    Artifact, Canary, Cause, CsvFormat, Dataset, DatasetRequest, Event, Example, JobCancelled, JobFailed,
    ModelAggregated, ModelLoaded, ModelRegistered, ModelRequest, Objective, PredictCompleted, PredictRequested,
    PredictionLogged, RowsAt, RowsFrom, SCHEMAS, ServedVersion, ShardRequested, ShardTrained, SweepCompleted,
    SweepRequested, SweepTrial, SwitchedBy, TYPE_PREFIX, TrafficChanged, TrainCancelled, TrainRequested, TreeRange,
    TrialResult, Unreadable, names,
};
pub use job::{Job, JobState};
pub use serving::Serving;
pub use sweep::Sweep;
