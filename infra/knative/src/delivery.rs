//! Delivery of one event to one destination: when to try again, how long to wait, and what a dead letter says.
//!
//! The behaviours follow knative/eventing's dispatcher as recorded in `testdata/eventing/delivery.json`.

mod dead_letter;
mod period;
mod policy;
mod retry_after;
mod spec;

pub use dead_letter::{
    DeadLetterAttributes, ERROR_CODE, ERROR_DATA, ERROR_DATA_LENGTH_MAX, ERROR_DESTINATION, Failure,
    TRANSPORT_ERROR_CODE,
};
pub use period::{PeriodError, parse_period};
pub use policy::{BACKOFF_MAX, DEFAULT_BACKOFF_DELAY, DEFAULT_RETRY, DeliveryPolicy, is_retryable};
pub use retry_after::parse_retry_after;
pub use spec::{BackoffPolicy, DeliveryFeatures, DeliverySpec, EventFormat};
