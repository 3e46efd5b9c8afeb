//! From a train request in SQS to a prediction through Lambda's HTTP payload.

use regrove_events::JobState;
use regrove_mlflow::RunStatus;
use regrove_test_support::MlflowServer;
use serde_json::json;

use super::http_payload::{body, function_url};
use super::stack::{Stack, StackOptions};
use crate::jobs::{DEFAULT_MODEL, REFERENCE_PROBABILITIES, one_to_twenty, reference, small};
use crate::polling::until;
use crate::record;

/// Larger than a small event, smaller than a model's: some data go by way of S3 and some do not.
const CLAIM_BYTES: usize = 900;

#[tokio::test(flavor = "multi_thread")]
async fn sqs_and_lambda_train_register_and_predict() {
    let mlflow = MlflowServer::start().unwrap();
    let stack = Stack::start(StackOptions { mlflow: Some(mlflow.uri()), ..StackOptions::default() }).await;
    let mut wish = reference(DEFAULT_MODEL);
    wish.model.alias = Some("champion".to_owned());
    stack.request("reference", &wish).await;
    let job =
        stack.job_when("reference", "is registered", |job| job.registered.is_some() || job.failure.is_some()).await;
    assert_eq!(job.state, JobState::Succeeded, "{:?}", job.failure);

    let runs = record::runs(&mlflow.uri(), "reference").await;
    assert_eq!((runs.len(), runs[0].info.status), (1, RunStatus::Finished));
    let champion = record::client(&mlflow.uri()).version_by_alias(DEFAULT_MODEL, "champion").await.unwrap();
    assert_eq!(champion.run_id, runs[0].info.run_id);

    let predict = &stack.lambdas["predict"];
    let asked = function_url("POST", "/predict", Some(&json!({"features": [one_to_twenty()]})));
    let answer = until("the model is served", async || {
        let answer = predict.invoke(asked.clone()).await.unwrap();
        (answer["statusCode"] == 200).then_some(answer)
    })
    .await;
    assert_eq!(body(&answer)["probabilities"], json!([REFERENCE_PROBABILITIES]), "{answer}");
    let load = &stack.lambdas["load-model"];
    let loaded = load.invoke(function_url("POST", "/model/load", Some(&json!({"alias": "champion"})))).await.unwrap();
    assert_eq!(loaded["statusCode"], 200, "{loaded}");
    assert_eq!(body(&loaded)["mlflow_uri"], mlflow.uri(), "{loaded}");

    stack.settled().await;
    for queue in stack.queues.routes().queues() {
        assert_eq!(stack.depth(&queue.dead_letter_queue()).await, 0, "{}", queue.name);
    }
    assert_eq!(stack.claims().await, 0, "nothing here is over 256 KiB");
}

/// Whatever comes twice, and whether an event's data come by S3 or not: one run, one version, the same bytes.
#[tokio::test(flavor = "multi_thread")]
async fn duplicates_and_claim_checks_change_nothing() {
    let plain = Stack::start(StackOptions::default()).await;
    plain.request("one", &small("Twice", 1)).await;
    let once = plain.job_when("one", "is registered", |job| job.registered.is_some() || job.failure.is_some()).await;
    let options = StackOptions { twice: true, claim_bytes: Some(CLAIM_BYTES), ..StackOptions::default() };
    let stack = Stack::start(options).await;
    // The same words under the same id, to the queues without an order in earnest.
    stack.request("one", &small("Twice", 1)).await;
    stack.request("one", &small("Twice", 1)).await;
    let job = stack.job_when("one", "is registered", |job| job.registered.is_some() || job.failure.is_some()).await;
    assert_eq!(job.state, JobState::Succeeded, "{:?}", job.failure);
    stack.settled().await;
    assert!(stack.claims().await > 0, "no data went by way of S3");

    let (first, second) = (once.registered.unwrap(), job.registered.unwrap());
    assert_eq!(second.model.sha256, first.model.sha256);
    assert_eq!(record::runs(&stack.tracking_uri, "one").await.len(), 1);
    assert_eq!(record::versions(&stack.tracking_uri, "Twice").await.len(), 1);
    for queue in stack.queues.routes().queues() {
        assert_eq!(stack.depth(&queue.dead_letter_queue()).await, 0, "{}", queue.name);
    }
}
