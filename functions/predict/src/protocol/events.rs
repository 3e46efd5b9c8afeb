//! CloudEvents: `predict-requested` is answered with `predict-completed`, in the response.
//!
//! The asker gets the answer whether it is a client of this function or a broker, which passes replies on.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use regrove_events::event::PredictCompleted;
use regrove_events::{Cause, CloudEvent, Event, http_binding, ids, model_name};
use regrove_host::{Caller, Problem, Received, now};
use serde_json::Value;

use crate::Service;
use crate::answer::Answer;
use crate::dataset;
use crate::frame;
use crate::json::Scanner;
use crate::models::{Choice, Served};
use crate::refusal::Fault;
use crate::rows::Rows;
use crate::signature::Signature;

/// This function's name, as it stands in the source of its events.
const FUNCTION: &str = "predict";

/// `POST /`. What does not exist is 422 here: a broker delivers again, for ever, what is answered with 404.
#[utoipa::path(post, path = "/", tag = "CloudEvents", summary = "Answer predict-requested with predict-completed",
    params(regrove_host::openapi::EventHeaders),
    request_body(description = "The event in structured mode, or its data in binary mode", content(
        (regrove_host::openapi::StructuredEvent<regrove_host::openapi::PredictRequested> = "application/cloudevents+json",
            example = json!({"specversion": "1.0", "id": "17", "source": "/me", "type": "io.regrove.predict-requested", "subject": "iris", "data": {"features": [[5.1, 3.5, 1.4, 0.2]]}})),
        (regrove_host::openapi::PredictRequested = "application/json", example = json!({"features": [[5.1, 3.5, 1.4, 0.2]]})))),
    responses((status = 200, description = "predict-completed, in binary mode", body = regrove_host::openapi::PredictCompleted, headers(
            ("ce-specversion" = String, description = "`1.0`"), ("ce-id" = String, description = "`SOURCE#ID/predictions` of the event that was asked with"),
            ("ce-source" = String, description = "This function"), ("ce-type" = String, description = "`io.regrove.predict-completed`"),
            ("ce-subject" = String, description = "The model's name"), ("ce-time" = String, description = "When, RFC 3339"),
            ("ce-dataschema" = String, description = "The schema of the data"), ("ce-causationid" = String, description = "The id of the event that was asked with"),
            ("ce-traceparent" = String, description = "That of the request, if it has one"), ("ce-tracestate" = String, description = "That of the request, if it has one"))),
        (status = 400, response = crate::openapi::Refused), (status = 422, response = crate::openapi::Refused)))]
pub(crate) async fn receive(
    State(service): State<Arc<Service>>,
    Received(received): Received,
) -> Result<Response, Problem> {
    answer(&service, &received).await.map_err(Problem::for_broker)
}

async fn answer(service: &Arc<Service>, received: &CloudEvent) -> Result<Response, Problem> {
    let Event::PredictRequested(wish) = Event::read(received)? else {
        return Err(regrove_events::Unreadable::UnknownType(received.ty().to_owned()).into());
    };
    let name = model_name::of(received)?;
    let models = &service.answering.models;
    let choice = match &wish.version {
        // Asked again it is answered from the same version, as far as there is a choice.
        None => models.get(name, Some(received.id().as_bytes())).await?,
        Some(version) => Choice::from(models.version(name, version).await?),
    };
    let caller = service.answering.log.caller(|| Caller::of_event(received));
    let id = ids::predict_completed(received.source(), received.id());
    let completed = match &wish.dataset {
        Some(_) if wish.features.is_some() => {
            return Err(Fault::shape(
                "/data/dataset".to_owned(),
                "rows in `features` or in `dataset`",
                "beside `features`",
            )
            .into());
        }
        Some(from) => dataset::answer(service, choice, caller, from, &id).await?,
        None => {
            let data = received.data().cloned().unwrap_or_default();
            let bytes = data.len();
            let read = move |served: &Served| Ok((rows(&data, &served.signature)?, complete));
            service.answering.answer(choice, caller, bytes, read).await?
        }
    };
    let completed = Event::PredictCompleted(completed);
    let cause = Cause { function: FUNCTION, event: received, at: now() };
    let (headers, body) = http_binding::to_binary(&completed.caused_by(&cause, &id, name)?)?;
    Ok((StatusCode::OK, headers, body).into_response())
}

/// Rows that stand in the data of a `predict-requested`.
///
/// # Errors
/// What is wrong with them, and where.
pub(crate) fn rows(data: &[u8], signature: &Signature) -> Result<Rows, Problem> {
    frame::object(&mut Scanner::new(frame::text(data)?), signature, "/data", "features")
}

/// What an answer says, inline.
pub(crate) fn complete(answer: &Answer) -> PredictCompleted {
    let classifier = answer.is_classifier();
    let predictions = if classifier {
        answer.labels().map(|label| serde_json::to_value(label).unwrap_or_default()).collect()
    } else {
        answer.outputs.iter().copied().map(Value::from).collect()
    };
    PredictCompleted {
        version: answer.served.version.version.clone(),
        n_rows: answer.n_rows as u64,
        predictions: Some(predictions),
        probabilities: classifier.then(|| answer.by_row().map(<[f64]>::to_vec).collect()),
        output: None,
    }
}
