//! What jobs and sweeps are asked for with. This is what a fuzz target feeds.

use regrove_events::event::{SweepRequested, TrainRequested};
use regrove_events::json::from_value;
use regrove_host::Problem;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use crate::action::invalid;

/// A job's id, made up when there is none, and what is asked for.
///
/// # Errors
/// 422 for a body that asks for none.
pub fn job(body: Value) -> Result<(String, TrainRequested), Problem> {
    wish(body, "job")
}

/// A sweep's id, made up when there is none, and what is asked for.
///
/// # Errors
/// As [`job`].
pub fn sweep(body: Value) -> Result<(String, SweepRequested), Problem> {
    wish(body, "sweep")
}

fn wish<T: DeserializeOwned>(mut body: Value, kind: &str) -> Result<(String, T), Problem> {
    let Some(members) = body.as_object_mut() else {
        let detail = "the body is no JSON object: {\"dataset\": {\"uri\": \"…\"}, \"params\": {…}}";
        return Err(invalid(detail).with("pointer", ""));
    };
    let id = match members.remove("id") {
        None | Some(Value::Null) => format!("{kind}-{}", Uuid::now_v7().simple()),
        Some(Value::String(id)) => id,
        Some(other) => return Err(invalid(&format!("`id` is {other}, expected a text")).with("pointer", "/id")),
    };
    Ok((id, from_value(body)?))
}
