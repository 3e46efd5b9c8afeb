//! The data of the events that are answered and said.

use regrove_events::event::names;
use regrove_host::openapi::event_data;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// The data of `predict-requested`.
#[derive(Debug)]
pub(crate) enum PredictRequested {}

impl ToSchema for PredictRequested {}

impl PartialSchema for PredictRequested {
    fn schema() -> RefOr<Schema> {
        event_data(names::PREDICT_REQUESTED)
    }
}

/// The data of `predict-completed`.
#[derive(Debug)]
pub(crate) enum PredictCompleted {}

impl ToSchema for PredictCompleted {}

impl PartialSchema for PredictCompleted {
    fn schema() -> RefOr<Schema> {
        event_data(names::PREDICT_COMPLETED)
    }
}
