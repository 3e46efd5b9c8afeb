//! An event in a function's answer is routed on, as a broker does with replies.

use jiff::Timestamp;
use regrove_events::event::{PredictCompleted, PredictRequested};
use regrove_events::{CloudEvent, Event, json_format};
use regrove_sqs::CLAIM_BYTES;
use serde_json::json;

use super::faults::record_of;
use super::http_payload::function_url;
use super::stack::{ANSWERS, Stack, StackOptions};
use crate::jobs::{DEFAULT_MODEL, one_to_twenty, small};
use crate::polling::until;

/// Rows whose answer is longer than a refusal may be: 64 KiB.
const MANY_ROWS: usize = 2_000;
/// Rows that no message of SQS holds by default.
const TOO_MANY_ROWS: usize = 8_000;

fn predict_requested(id: &str, n_rows: usize) -> CloudEvent {
    let row = serde_json::Value::from(one_to_twenty());
    let wish = PredictRequested { features: Some(vec![row; n_rows]), ..PredictRequested::default() };
    let at: Timestamp = "2026-11-27T08:00:00Z".parse().unwrap();
    Event::PredictRequested(wish).first(id, "/e2e", DEFAULT_MODEL, at).unwrap()
}

/// The next answer in the queue of the trigger that hears them, its data fetched if they went by way of S3.
async fn answer(stack: &Stack) -> (CloudEvent, PredictCompleted) {
    let (text, _) = stack.take(ANSWERS).await;
    let event = stack.queues.read(&text).await.unwrap();
    let Event::PredictCompleted(completed) = Event::read(&event).unwrap() else { panic!("{text}") };
    (event, completed)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_an_event_goes_to_the_queues_that_want_it() {
    let stack = Stack::start(StackOptions { answers: true, ..StackOptions::default() }).await;
    stack.request("asked", &small(DEFAULT_MODEL, 1)).await;
    let predict = &stack.lambdas["predict"];
    let asked = function_url("POST", "/predict", Some(&json!({"features": [one_to_twenty()]})));
    until("the model is served", async || {
        (predict.invoke(asked.clone()).await.unwrap()["statusCode"] == 200).then_some(())
    })
    .await;

    stack.queues.send(&[predict_requested("one", 1)]).await.unwrap();
    let (event, completed) = answer(&stack).await;
    assert_eq!((completed.n_rows, completed.predictions.unwrap().len()), (1, 1));
    assert_eq!(event.extension("causationid").map(ToString::to_string).as_deref(), Some("one"));

    stack.queues.send(&[predict_requested("many", MANY_ROWS)]).await.unwrap();
    let (event, completed) = answer(&stack).await;
    assert_eq!(completed.predictions.unwrap().len(), MANY_ROWS);
    assert!(event.data().unwrap().len() > 64 << 10, "{} bytes", event.data().unwrap().len());

    // What a message may not hold comes and goes by way of S3, at the bound that is the default.
    let question = predict_requested("huge", TOO_MANY_ROWS);
    assert!(question.data().unwrap().len() > CLAIM_BYTES, "{} bytes", question.data().unwrap().len());
    assert_eq!(stack.claims().await, 0);
    stack.queues.send(&[question]).await.unwrap();
    let (event, completed) = answer(&stack).await;
    assert_eq!(completed.predictions.unwrap().len(), TOO_MANY_ROWS);
    assert!(event.data().unwrap().len() > CLAIM_BYTES, "{} bytes", event.data().unwrap().len());
    assert_eq!(stack.claims().await, 2, "the question and the answer");

    // An answer that the queues do not take is not lost: its cause comes again.
    stack.sqs.delete_queue().queue_url(stack.queues.url(ANSWERS)).send().await.unwrap();
    let text = String::from_utf8(json_format::to_vec(&predict_requested("late", 1))).unwrap();
    let refused = predict.invoke(record_of("predict", &text, 1)).await.unwrap();
    assert_eq!(refused, json!({"batchItemFailures": [{"itemIdentifier": "one"}]}));
}
