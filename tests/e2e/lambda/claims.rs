//! The bound between what a message holds and what goes by way of S3.

use regrove_events::{CloudEvent, TYPE_PREFIX, json_format, names};
use regrove_sqs::{CLAIM_BYTES, Error, Queues, SqsArgs};
use regrove_test_support::MotoServer;
use tempfile::TempDir;

use super::stack::{ANSWERS, ANSWERS_TRIGGER, client, create_bucket, own_queues, package};
use super::template::STACK;

const BUCKET: &str = "claims-of-a-test";

/// Queues, and a bucket beside them that nobody else uses.
struct Post {
    queues: Queues,
    sqs: aws_sdk_sqs::Client,
    endpoint: String,
    folder: TempDir,
    _moto: MotoServer,
}

impl Post {
    async fn start() -> Self {
        let moto = MotoServer::start().unwrap();
        let endpoint = moto.endpoint().trim_end_matches('/').to_owned();
        create_bucket(&endpoint, BUCKET).await;
        let sqs = client(&endpoint);
        sqs.create_queue().queue_name(format!("{STACK}-{ANSWERS}")).send().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(package(&folder).join("answers.yaml"), ANSWERS_TRIGGER).unwrap();
        let queues = queues_with(&endpoint, &folder, Some(BUCKET)).await;
        Self { queues, sqs, endpoint, folder, _moto: moto }
    }

    /// The text of the one message that waits.
    async fn received(&self) -> String {
        let url = self.queues.url(ANSWERS);
        let answer = self.sqs.receive_message().queue_url(&url).send().await.unwrap();
        let message = answer.messages.unwrap().pop().unwrap();
        self.sqs.delete_message().queue_url(&url).receipt_handle(message.receipt_handle.unwrap()).send().await.unwrap();
        message.body.unwrap()
    }
}

async fn queues_with(endpoint: &str, folder: &TempDir, bucket: Option<&str>) -> Queues {
    let mut args = SqsArgs::default();
    args.claim_bucket = bucket.map(str::to_owned);
    own_queues(endpoint, &folder.path().join("manifests"), &args).await
}

/// An event that is this long as a message.
fn event_of(bytes: usize) -> CloudEvent {
    let ty = format!("{TYPE_PREFIX}{}", names::PREDICT_COMPLETED);
    let with = |data: usize| {
        let text = format!("\"{}\"", "x".repeat(data));
        CloudEvent::builder("large", "/e2e", &ty).data("application/json", text).build().unwrap()
    };
    let empty = json_format::to_exact_vec(&with(0)).len();
    let event = with(bytes - empty);
    assert_eq!(json_format::to_exact_vec(&event).len(), bytes);
    event
}

/// The bound is the default one: a byte more goes by way of S3, and comes out as the same event.
#[tokio::test(flavor = "multi_thread")]
async fn one_byte_over_256_kib_goes_by_way_of_s3() {
    let post = Post::start().await;
    for (bytes, by_s3) in [(CLAIM_BYTES, false), (CLAIM_BYTES + 1, true)] {
        let event = event_of(bytes);
        post.queues.send(std::slice::from_ref(&event)).await.unwrap();
        let text = post.received().await;
        assert_eq!(text.contains(&format!("\"dataref\":\"s3://{BUCKET}/claims/")), by_s3, "{bytes} bytes");
        assert_eq!(text.len() < CLAIM_BYTES, by_s3, "{} bytes", text.len());
        assert_eq!(post.queues.read(&text).await.unwrap(), event);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_bucket_a_large_event_is_refused_by_its_id_and_size() {
    let post = Post::start().await;
    let event = event_of(CLAIM_BYTES + 1);
    let refused = queues_with(&post.endpoint, &post.folder, None).await.send(std::slice::from_ref(&event)).await;
    let Err(Error::NoBucket { id, bytes, limit }) = &refused else { panic!("{refused:?}") };
    assert_eq!((id.as_str(), *bytes, *limit), ("large", CLAIM_BYTES + 1, CLAIM_BYTES));
    let error = refused.unwrap_err();
    assert!(error.to_string().contains("REGROVE_SQS_CLAIM_BUCKET") && !error.is_final(), "{error}");
    // A bucket that is not there may be there later.
    let missing = queues_with(&post.endpoint, &post.folder, Some("nobody-made-this")).await.send(&[event]).await;
    let error = missing.unwrap_err();
    assert!(error.to_string().starts_with("writing s3://nobody-made-this/claims/"), "{error}");
    assert!(error.to_string().contains("404") && !error.is_final(), "{error}");
}
