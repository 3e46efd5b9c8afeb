//! What goes wrong with messages, and what becomes of them.

use std::collections::BTreeSet;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use regrove_events::JobState;
use regrove_sqs::Queue;
use serde_json::{Value, json};

use super::stack::{Stack, StackOptions, train_requested};
use super::template::{ACCOUNT, REGION, STACK, Template};
use crate::jobs::small;
use crate::record;

/// One record of a batch, as Lambda gets it.
pub(crate) fn record_of(queue: &str, body: &str, received: u32) -> Value {
    json!({"Records": [{
        "messageId": "one",
        "receiptHandle": "none",
        "body": body,
        "attributes": {"ApproximateReceiveCount": received.to_string(), "MessageGroupId": "g"},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{STACK}-{queue}"),
        "awsRegion": REGION,
    }]})
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_ends_in_the_dead_letter_queue_with_its_reason() {
    let stack = Stack::start(StackOptions::default()).await;
    stack.send_raw("aggregate.fifo", Some("g"), "this is no event").await;
    let (text, reason) = stack.take("aggregate-dlq.fifo").await;
    assert_eq!(text, "this is no event");
    assert_eq!(reason["knativeerrorcode"], "400");
    assert_eq!(reason["knativeerrordest"], "lambda:aggregate/");
    assert!(reason.contains_key("knativeerrordata"));

    // A train request that is none: its job fails with the reason, as with Knative's dead letter sink.
    let shapeless = json!({"specversion": "1.0", "id": "1", "source": "/e2e", "type": "io.regrove.train-requested",
        "subject": "shapeless", "datacontenttype": "application/json", "data": {"dataset": 5}});
    stack.send_raw("aggregate.fifo", Some("shapeless"), &shapeless.to_string()).await;
    let (text, reason) = stack.take("aggregate-dlq.fifo").await;
    assert_eq!((text, reason["knativeerrorcode"].as_str()), (shapeless.to_string(), "422"));
    let job = stack.job_when("shapeless", "has ended", |job| job.state.is_terminal()).await;
    assert_eq!((job.state, job.failure.unwrap().problem.as_str()), (JobState::Failed, "invalid-event-data"));

    // The loop goes on afterwards.
    stack.request("fine", &small("Fine", 1)).await;
    stack.job_when("fine", "is registered", |job| job.registered.is_some()).await;
}

/// `register` has two requests in one batch, and the log knows one of their jobs only.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_bad_record_of_a_batch_is_tried_again() {
    let mut stack =
        Stack::start(StackOptions { held: vec!["register.fifo"], batches: true, ..StackOptions::default() }).await;
    let (good, bad) = (train_requested("good", &small("Good", 1)), train_requested("bad", &small("Bad", 2)));
    stack.request("good", &small("Good", 1)).await;
    stack.job_when("good", "is open", |job| job.request.is_some()).await;
    // Only register hears of the other one.
    let text = String::from_utf8(regrove_events::json_format::to_vec(&bad)).unwrap();
    stack.send_raw("register.fifo", Some("bad"), &text).await;
    let deadletters = stack.depth("register-dlq.fifo").await;
    stack.release("register.fifo");
    stack.job_when("good", "is registered", |job| job.registered.is_some()).await;
    crate::polling::until("the bad record has been tried again", async || {
        stack.deliveries("register.fifo").values().any(|times| *times > 1).then_some(())
    })
    .await;
    // Now the other job opens, and what was tried again succeeds.
    let text = String::from_utf8(regrove_events::json_format::to_vec(&bad)).unwrap();
    stack.send_raw("aggregate.fifo", Some("bad"), &text).await;
    stack.job_when("bad", "is registered", |job| job.registered.is_some()).await;
    stack.settled().await;
    let repeated = stack.deliveries("register.fifo").values().filter(|times| **times > 1).count();
    assert_eq!(repeated, 1, "{:?}", stack.deliveries("register.fifo"));
    assert_eq!(stack.depth("register-dlq.fifo").await, deadletters);
    for job in [good.subject().unwrap(), bad.subject().unwrap()] {
        assert_eq!(record::runs(&stack.tracking_uri, job).await.len(), 1, "{job}");
    }
}

/// The queue hides what it has delivered for half an hour and more. What the function did not look at comes back before.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_batch_did_not_come_to_is_not_hidden_for_long() {
    let held = vec!["register.fifo", "predict"];
    let stack = Stack::start(StackOptions { held, ..StackOptions::default() }).await;
    let all_of = async |queue: &str, wanted: usize| {
        let mut records: Vec<Value> = Vec::new();
        while records.len() < wanted {
            records.extend(stack.receive(queue).await);
        }
        records
    };
    let come_back = async |queue: &'static str, wanted: u32| {
        let look = async || (stack.visible(queue).await == wanted).then_some(());
        crate::polling::until(&format!("{wanted} messages of {queue} are seen again"), look).await;
    };
    // One group: nobody has opened its job, so the first one has to wait, and the others behind it.
    for n_estimators in 1..=3 {
        let event = train_requested("unopened", &small("Unopened", n_estimators));
        let text = String::from_utf8(regrove_events::json_format::to_vec(&event)).unwrap();
        stack.send_raw("register.fifo", Some("unopened"), &text).await;
    }
    let records = all_of("register.fifo", 3).await;
    assert_eq!(stack.visible("register.fifo").await, 0);
    let answer = stack.lambdas["register"].invoke(json!({"Records": records})).await.unwrap();
    assert_eq!(answer["batchItemFailures"].as_array().unwrap().len(), 3);
    come_back("register.fifo", 3).await;

    // Out of time before the first one.
    for number in ["1", "2"] {
        stack.send_raw("predict", None, number).await;
    }
    let records = all_of("predict", 2).await;
    let late = std::time::Duration::ZERO;
    let answer = stack.lambdas["predict"].invoke_with(json!({"Records": records}), late).await.unwrap();
    assert_eq!(answer["batchItemFailures"].as_array().unwrap().len(), 2);
    come_back("predict", 2).await;
    assert_eq!(stack.depth("predict-dlq").await, 0, "nobody has looked at them");
}

/// After the trigger's retries, a message that might have succeeded is a dead letter too, and its job goes on waiting.
#[tokio::test(flavor = "multi_thread")]
async fn a_last_attempt_is_buried_with_its_reason() {
    let stack = Stack::start(StackOptions::default()).await;
    let register = &stack.lambdas["register"];
    let early = train_requested("early", &small("Early", 1));
    let text = String::from_utf8(regrove_events::json_format::to_vec(&early)).unwrap();
    let retries = stack.queues.routes().queue("register.fifo").unwrap().policy.retry;
    let again = register.invoke(record_of("register.fifo", &text, retries)).await.unwrap();
    assert_eq!(again, json!({"batchItemFailures": [{"itemIdentifier": "one"}]}));
    let over = register.invoke(record_of("register.fifo", &text, retries + 1)).await.unwrap();
    assert_eq!(over, json!({"batchItemFailures": []}));
    let (kept, reason) = stack.take("register-dlq.fifo").await;
    assert_eq!((kept, reason["knativeerrorcode"].as_str()), (text.clone(), "503"));
    stack.settled().await;
    assert_eq!(stack.job("early").await.failure, None);
    // A queue that no manifest knows keeps its messages.
    let unknown = register.invoke(record_of("stranger", &text, 1)).await.unwrap();
    assert_eq!(unknown, json!({"batchItemFailures": [{"itemIdentifier": "one"}]}));
}

/// Which functions say an event of each type, by the table of `docs/events.md`.
fn said_by() -> Vec<(String, Vec<String>)> {
    let text = std::fs::read_to_string(regrove_test_support::programs::workspace().join("docs/events.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| [")).map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let name = cells[1].split(['[', ']']).nth(1).unwrap().to_owned();
        (name, cells[3].split(", ").map(str::to_owned).collect())
    });
    let said: Vec<(String, Vec<String>)> = rows.collect();
    assert_eq!(said.len(), regrove_events::SCHEMAS.len(), "one row for each type: {said:?}");
    said
}

/// The template has the manifests' queues and no others, and every function may do what it has to and no more.
#[tokio::test]
async fn the_template_is_what_the_manifests_say() {
    let template = Template::read(&[("RedisUrl", "redis://r:6379"), ("MlflowTrackingUri", "http://m")]);
    let routes = regrove_sqs::Routes::read(&regrove_test_support::programs::workspace().join("k8s/eventing")).unwrap();
    let full = |name: &str| format!("{STACK}-{name}");
    let arn = |name: &str| format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{}", full(name));
    let in_template = template.queues();
    let wanted: BTreeSet<String> =
        routes.queues().flat_map(|queue| [full(&queue.name), full(&queue.dead_letter_queue())]).collect();
    assert_eq!(in_template.iter().map(|queue| queue.name.clone()).collect::<BTreeSet<_>>(), wanted);
    let functions = template.functions();
    for queue in routes.queues() {
        let found = in_template.iter().find(|found| found.name == full(&queue.name)).unwrap();
        assert_eq!(found.fifo, queue.group_by.is_some(), "{}", queue.name);
        let redrive = &found.properties["RedrivePolicy"];
        assert_eq!(redrive["deadLetterTargetArn"], arn(&queue.dead_letter_queue()));
        assert_eq!(redrive["maxReceiveCount"], queue.receives_max(), "{}", queue.name);
        let hearers: Vec<_> = functions
            .iter()
            .filter(|function| function.sources.iter().any(|source| source.arn == arn(&queue.name)))
            .collect();
        assert_eq!(hearers.iter().map(|function| function.name.as_str()).collect::<Vec<_>>(), [queue.service.as_str()]);
        let hidden = found.properties["VisibilityTimeout"].as_u64().unwrap();
        assert!(hidden >= 6 * hearers[0].timeout_seconds, "{}: {hidden} s", queue.name);
        let timeout = queue.policy.timeout.map(|timeout| timeout.as_secs());
        assert!(timeout.is_none_or(|timeout| timeout == hearers[0].timeout_seconds), "{}: {timeout:?}", queue.name);
    }
    let said = said_by();
    for function in &functions {
        let own: Vec<&Queue> = routes.queues().filter(|queue| queue.service == function.name).collect();
        let mut says: BTreeSet<String> = own.iter().map(|queue| arn(&queue.dead_letter_queue())).collect();
        says.extend(own.iter().filter_map(|queue| queue.dead_letter_sink.as_deref()).map(arn));
        for (name, _) in said.iter().filter(|(_, by)| by.contains(&function.name)) {
            let ty = format!("{}{name}", regrove_events::TYPE_PREFIX);
            let event = regrove_events::CloudEvent::builder("1", "/test", ty).build().unwrap();
            says.extend(routes.of_event(&event).map(|queue| arn(&queue.name)));
        }
        let may = template.allowed(&function.role, "sqs:SendMessage");
        assert_eq!(may.iter().cloned().collect::<BTreeSet<_>>(), says, "{}", function.name);
        let hears: BTreeSet<String> = own.iter().map(|queue| arn(&queue.name)).collect();
        for action in ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"] {
            let may = template.allowed(&function.role, action);
            assert_eq!(may.into_iter().collect::<BTreeSet<_>>(), hears, "{}: {action}", function.name);
        }
        // A message that takes long, or has others behind it, comes alone.
        for source in function.sources.iter().filter(|source| source.batch_size > 1) {
            let queue = own.iter().find(|queue| arn(&queue.name) == source.arn).unwrap();
            assert!(queue.group_by.is_none() && queue.name != "predict", "{}", queue.name);
        }
        // A data set and what is made of it lie in /tmp.
        if let Some(largest) = function.environment.get("REGROVE_DATA_BYTES_MAX") {
            assert!(2 * largest.parse::<u64>().unwrap() <= function.storage_bytes, "{}", function.name);
        }
        let reads_data_sets = ["aggregate", "predict"].contains(&function.name.as_str());
        assert_eq!(function.environment.contains_key("REGROVE_DATA_BYTES_MAX"), reads_data_sets, "{}", function.name);
        // Lambda refuses more than 4 KiB of environment.
        let bytes: usize = function.environment.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(bytes < 4096, "{}: {bytes} bytes", function.name);
    }
    let tick: Value =
        serde_json::from_str(template.properties("TickSchedule")["Target"]["Input"].as_str().unwrap()).unwrap();
    assert_eq!(tick["type"], regrove_knative::manifest::PING_EVENT_TYPE);
}

/// At SQS's own limit: a large request goes by way of the bucket, and what is not there as it was put there is said.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_message_holds_goes_through_the_bucket() {
    let stack = Stack::start(StackOptions::default()).await;
    let mut large = small("Large", 1);
    // A job whose failure is as large as its request.
    large.params.insert("criterion".to_owned(), json!("g".repeat(300_000)));
    assert_eq!(stack.claims().await, 0);
    stack.request("large", &large).await;
    let job = stack.job_when("large", "has ended", |job| job.state.is_terminal()).await;
    assert_eq!((job.state, job.request.map(|request| request.params)), (JobState::Failed, Some(large.params)));
    assert!(stack.claims().await > 0);
    stack.settled().await;
    for queue in stack.queues.routes().queues() {
        assert_eq!(stack.depth(&queue.dead_letter_queue()).await, 0, "{}", queue.name);
    }
    // MLflow keeps the beginning of so long a parameter.
    let runs = record::runs(&stack.tracking_uri, "large").await;
    let kept = runs[0].data.params.iter().find(|param| param.key == "criterion").unwrap();
    assert_eq!(kept.value, "g".repeat(6000));

    let elsewhere = stack.put("others/1", b"{}").await;
    let other_bytes = stack.put(&format!("claims/{}", "A".repeat(43)), b"{}").await;
    let gone = other_bytes.replace("AAA", "BBB");
    for (id, reference, says) in [
        ("gone", gone.as_str(), "it is gone"),
        ("changed", &other_bytes, "its bytes belong to"),
        // Not ours to follow: an event without data.
        ("elsewhere", &elsewhere, "there is none"),
        ("foreign", "s3://somebody-else/claims/1", "there is none"),
    ] {
        let claim = json!({"specversion": "1.0", "id": id, "source": "/e2e", "type": "io.regrove.train-requested",
            "subject": id, "datacontenttype": "application/json", "dataref": reference});
        stack.send_raw("aggregate.fifo", Some(id), &claim.to_string()).await;
        let (text, reason) = stack.take("aggregate-dlq.fifo").await;
        assert_eq!(text, claim.to_string());
        let told = BASE64_STANDARD.decode(&reason["knativeerrordata"]).unwrap();
        let told = String::from_utf8(told).unwrap();
        assert!(told.contains(says), "{id}: {told}");
    }
}
