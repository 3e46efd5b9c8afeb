//! A deployed stack: queues and bucket of the template in moto, its functions under the emulator, and the pollers that
//! AWS runs between them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use jiff::Timestamp;
use regrove_events::event::TrainRequested;
use regrove_events::log::job_stream;
use regrove_events::{CloudEvent, Event, Job, job};
use regrove_sqs::{Queues, Routes, SqsArgs};
use regrove_store::{Control, StoreArgs};
use regrove_test_support::programs::workspace;
use regrove_test_support::{MotoServer, RedisServer};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::emulator::Lambda;
use super::template::{ACCOUNT, EventSource, Queue, REGION, STACK, Template};
use crate::polling::until;

/// What `cargo xtask package lambda` puts beside each program.
const MANIFESTS: [&str; 3] = ["broker.yaml", "triggers.yaml", "ping.yaml"];

/// The queue of the trigger that [`StackOptions::answers`] adds.
pub(crate) const ANSWERS: &str = "answers";
pub(crate) const ANSWERS_TRIGGER: &str = "
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: answers, namespace: regrove}
spec:
  broker: default
  filter: {attributes: {type: io.regrove.predict-completed}}
  subscriber: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: reader}}
";

/// How the stack differs from the template's own.
#[derive(Debug, Clone, Default)]
pub(crate) struct StackOptions {
    /// A real MLflow; the embedded record without it.
    pub(crate) mlflow: Option<String>,
    /// Every message is delivered twice.
    pub(crate) twice: bool,
    /// Messages larger than this go by way of S3.
    pub(crate) claim_bytes: Option<usize>,
    /// Queues that nobody polls at first, by name without prefix.
    pub(crate) held: Vec<&'static str>,
    /// A trigger of the user's hears the answers to events; nobody polls its queue [`ANSWERS`].
    pub(crate) answers: bool,
    /// All queues are read in batches of up to ten.
    pub(crate) batches: bool,
}

/// A stack.
pub(crate) struct Stack {
    pub(crate) control: Control,
    pub(crate) tracking_uri: String,
    pub(crate) queues: Queues,
    pub(crate) sqs: Client,
    pub(crate) lambdas: BTreeMap<String, Arc<Lambda>>,
    /// Message ids with the queue, in the order of their deliveries.
    delivered: Arc<Mutex<Vec<(String, String)>>>,
    options: StackOptions,
    template: Template,
    pollers: Vec<tokio::task::JoinHandle<()>>,
    endpoint: String,
    folder: TempDir,
    _moto: MotoServer,
    _redis: RedisServer,
}

impl Stack {
    pub(crate) async fn start(options: StackOptions) -> Self {
        let redis = RedisServer::start().unwrap();
        let moto = MotoServer::start().unwrap();
        let folder = tempfile::Builder::new().prefix("regrove-lambda-").tempdir().unwrap();
        let tracking_uri = match &options.mlflow {
            Some(uri) => uri.clone(),
            None => serve_record(folder.path().join("record")).await,
        };
        let template = Template::read(&[("RedisUrl", &redis.url()), ("MlflowTrackingUri", &tracking_uri)]);
        let endpoint = moto.endpoint().trim_end_matches('/').to_owned();
        let sqs = client(&endpoint);
        create_queues(&sqs, &template.queues()).await;
        let bucket = template.bucket();
        create_bucket(&endpoint, &bucket).await;
        let package = package(&folder);
        if options.answers {
            fs::write(package.join("answers.yaml"), ANSWERS_TRIGGER).unwrap();
            sqs.create_queue().queue_name(format!("{STACK}-{ANSWERS}")).send().await.unwrap();
        }
        let mut args = SqsArgs::default();
        args.claim_bucket = Some(bucket);
        args.claim_bytes = options.claim_bytes.unwrap_or(args.claim_bytes);
        let queues = own_queues(&endpoint, &package, &args).await;
        let mut stack = Self {
            control: Control::open(&StoreArgs::redis(redis.url(), folder.path().join("home"))).unwrap(),
            tracking_uri,
            queues,
            sqs,
            lambdas: BTreeMap::new(),
            delivered: Arc::default(),
            options,
            template,
            pollers: Vec::new(),
            endpoint,
            folder,
            _moto: moto,
            _redis: redis,
        };
        stack.start_functions().await;
        stack
    }

    async fn start_functions(&mut self) {
        for function in self.template.functions() {
            // What differs from AWS: where AWS is.
            let mut extra = BTreeMap::from([
                ("AWS_ENDPOINT_URL".to_owned(), self.endpoint.clone()),
                ("REGROVE_SQS_QUEUES".to_owned(), prefix(&self.endpoint)),
                ("REGROVE_HOME".to_owned(), self.folder.path().join("tmp").display().to_string()),
            ]);
            if let Some(bytes) = self.options.claim_bytes {
                extra.insert("REGROVE_SQS_CLAIM_BYTES".to_owned(), bytes.to_string());
            }
            let lambda = Arc::new(Lambda::start(&function, self.folder.path(), &extra).await);
            self.lambdas.insert(function.name.clone(), Arc::clone(&lambda));
            for source in &function.sources {
                assert!(source.reports_failures, "{source:?}");
                let name = source.arn.rsplit(':').next().unwrap().to_owned();
                if !self.options.held.iter().any(|held| format!("{STACK}-{held}") == name) {
                    self.poll(source, &name, Arc::clone(&lambda));
                }
            }
        }
    }

    /// Begins to poll what was held back.
    pub(crate) fn release(&mut self, queue: &str) {
        let name = format!("{STACK}-{queue}");
        for function in self.template.functions() {
            for source in function.sources.iter().filter(|source| source.arn.ends_with(&format!(":{name}"))) {
                let lambda = Arc::clone(&self.lambdas[&function.name]);
                self.poll(source, &name, lambda);
            }
        }
    }

    fn poll(&mut self, source: &EventSource, name: &str, lambda: Arc<Lambda>) {
        let poller = Poller {
            sqs: self.sqs.clone(),
            url: format!("{}/{ACCOUNT}/{name}", self.endpoint),
            arn: source.arn.clone(),
            batch_size: if self.options.batches { 10 } else { source.batch_size },
            twice: self.options.twice,
            delivered: Arc::clone(&self.delivered),
            lambda,
        };
        self.pollers.push(tokio::spawn(async move { poller.run().await }));
    }

    /// Emits a train request into the queues, as `regrove train` does.
    pub(crate) async fn request(&self, id: &str, wish: &TrainRequested) {
        self.queues.send(&[train_requested(id, wish)]).await.unwrap();
    }

    /// Puts text into one queue.
    pub(crate) async fn send_raw(&self, queue: &str, group: Option<&str>, body: &str) {
        let once = group.map(|_| uuid::Uuid::new_v4().to_string());
        let request = self.sqs.send_message().queue_url(self.queues.url(queue)).message_body(body);
        let request = request.set_message_group_id(group.map(str::to_owned)).set_message_deduplication_id(once);
        request.send().await.unwrap();
    }

    pub(crate) async fn job(&self, id: &str) -> Job {
        job::replay(&self.control.log.read(&job_stream(id), 0).await.unwrap())
    }

    /// Waits until the job is as asked.
    pub(crate) async fn job_when(&self, id: &str, what: &str, is: impl Fn(&Job) -> bool) -> Job {
        let look = async || Some(self.job(id).await).filter(&is);
        let logs = self.folder.path();
        until(&format!("{id} {what} (see {})", logs.display()), look).await
    }

    /// How many messages a queue holds, seen or not.
    pub(crate) async fn depth(&self, queue: &str) -> u32 {
        use QueueAttributeName::{ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible};
        self.counted(queue, vec![ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible]).await
    }

    /// How many of them are not hidden.
    pub(crate) async fn visible(&self, queue: &str) -> u32 {
        self.counted(queue, vec![QueueAttributeName::ApproximateNumberOfMessages]).await
    }

    async fn counted(&self, queue: &str, counts: Vec<QueueAttributeName>) -> u32 {
        let request = self.sqs.get_queue_attributes().queue_url(self.queues.url(queue));
        let answer = request.set_attribute_names(Some(counts)).send().await.unwrap();
        answer.attributes().unwrap().values().map(|count| count.parse::<u32>().unwrap()).sum()
    }

    /// Waits until every queue but the dead letters is empty.
    pub(crate) async fn settled(&self) {
        until("all queues are empty", async || {
            let mut left = 0;
            for queue in self.queues.routes().queues() {
                left += self.depth(&queue.name).await;
            }
            (left == 0).then_some(())
        })
        .await;
    }

    /// Takes one message out of a queue that nobody polls, as those of dead letters: its body and attributes.
    pub(crate) async fn take(&self, queue: &str) -> (String, BTreeMap<String, String>) {
        let url = self.queues.url(queue);
        let message = until(&format!("a message in {queue}"), async || {
            let request = self.sqs.receive_message().queue_url(&url).message_attribute_names("All");
            request.send().await.unwrap().messages.unwrap_or_default().pop()
        })
        .await;
        let handle = message.receipt_handle.unwrap();
        self.sqs.delete_message().queue_url(&url).receipt_handle(handle).send().await.unwrap();
        let attributes = message.message_attributes.unwrap_or_default();
        let text = |(name, value): (String, aws_sdk_sqs::types::MessageAttributeValue)| {
            (name, value.string_value.unwrap_or_default())
        };
        (message.body.unwrap(), attributes.into_iter().map(text).collect())
    }

    /// Receives from a queue that nobody polls, as Lambda gets it.
    pub(crate) async fn receive(&self, queue: &str) -> Vec<Value> {
        let request = self.sqs.receive_message().queue_url(self.queues.url(queue)).max_number_of_messages(10);
        let request = request.message_system_attribute_names(MessageSystemAttributeName::All);
        let messages = request.send().await.unwrap().messages.unwrap_or_default();
        let arn = format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{STACK}-{queue}");
        messages.iter().map(|message| record(&arn, message)).collect()
    }

    /// How often each message of a queue was delivered, by message id.
    pub(crate) fn deliveries(&self, queue: &str) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        let name = format!("{STACK}-{queue}");
        for (_, id) in self.delivered.lock().unwrap().iter().filter(|(of, _)| *of == name) {
            *counts.entry(id.clone()).or_insert(0) += 1;
        }
        counts
    }

    /// Puts an object into the bucket, past the functions.
    pub(crate) async fn put(&self, key: &str, bytes: &'static [u8]) -> String {
        let bucket = self.template.bucket();
        let url = format!("{}/{bucket}/{key}", self.endpoint);
        let put = reqwest::Client::new().put(url).body(bytes).send().await.unwrap();
        assert!(put.status().is_success());
        format!("s3://{bucket}/{key}")
    }

    /// Names of the objects in the bucket.
    pub(crate) async fn claims(&self) -> usize {
        let listing = reqwest::get(format!("{}/{}?list-type=2", self.endpoint, self.template.bucket())).await.unwrap();
        listing.text().await.unwrap().matches("<Key>claims/").count()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        for poller in &self.pollers {
            poller.abort();
        }
        if std::thread::panicking() {
            for entry in fs::read_dir(self.folder.path()).unwrap().flatten() {
                if entry.path().extension().is_some_and(|extension| extension == "log") {
                    eprintln!("{}:\n{}", entry.path().display(), fs::read_to_string(entry.path()).unwrap());
                }
            }
        }
    }
}

/// The request as an event.
pub(crate) fn train_requested(id: &str, wish: &TrainRequested) -> CloudEvent {
    let at: Timestamp = "2026-11-23T08:00:00Z".parse().unwrap();
    Event::TrainRequested(wish.clone()).first(&format!("{id}/request"), "/e2e", id, at).unwrap()
}

/// What AWS does between a queue and a function: an event source mapping with partial batch responses.
struct Poller {
    sqs: Client,
    url: String,
    arn: String,
    batch_size: i32,
    twice: bool,
    delivered: Arc<Mutex<Vec<(String, String)>>>,
    lambda: Arc<Lambda>,
}

impl Poller {
    async fn run(self) {
        loop {
            let request = self.sqs.receive_message().queue_url(&self.url).max_number_of_messages(self.batch_size);
            let request = request.message_system_attribute_names(MessageSystemAttributeName::All).wait_time_seconds(1);
            let messages = request.send().await.unwrap().messages.unwrap_or_default();
            if messages.is_empty() {
                continue;
            }
            let records: Vec<Value> = messages.iter().map(|message| record(&self.arn, message)).collect();
            let name = self.url.rsplit('/').next().unwrap();
            for record in &records {
                let id = record["messageId"].as_str().unwrap().to_owned();
                self.delivered.lock().unwrap().push((name.to_owned(), id));
            }
            let payload = json!({"Records": records});
            let mut outcome = self.lambda.invoke(payload.clone()).await;
            if self.twice {
                outcome = self.lambda.invoke(payload).await;
            }
            // A function that failed as a whole has handled nothing.
            let Ok(answer) = outcome else { continue };
            let failed = answer["batchItemFailures"].as_array().unwrap();
            for message in &messages {
                if !failed.iter().any(|failure| failure["itemIdentifier"] == *message.message_id().unwrap()) {
                    let request = self.sqs.delete_message().queue_url(&self.url);
                    request.receipt_handle(message.receipt_handle().unwrap()).send().await.unwrap();
                }
            }
        }
    }
}

/// A message as Lambda gets it.
fn record(arn: &str, message: &aws_sdk_sqs::types::Message) -> Value {
    let attributes: BTreeMap<String, String> = message
        .attributes()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str().to_owned(), value.clone()))
        .collect();
    json!({
        "messageId": message.message_id(),
        "receiptHandle": message.receipt_handle(),
        "body": message.body(),
        "attributes": attributes,
        "messageAttributes": {},
        "md5OfBody": message.md5_of_body(),
        "eventSource": "aws:sqs",
        "eventSourceARN": arn,
        "awsRegion": REGION,
    })
}

pub(crate) fn client(endpoint: &str) -> Client {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(Credentials::for_tests())
        .endpoint_url(endpoint)
        .build();
    Client::from_conf(config)
}

fn prefix(endpoint: &str) -> String {
    format!("{endpoint}/{ACCOUNT}/{STACK}-")
}

/// The queues as the test itself, playing the user, sends to them.
pub(crate) async fn own_queues(endpoint: &str, package: &Path, args: &SqsArgs) -> Queues {
    let config = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(Credentials::for_tests())
        .endpoint_url(endpoint)
        .load()
        .await;
    let routes = Routes::read(package).unwrap();
    Queues::new(routes, &prefix(endpoint).parse().unwrap(), args).unwrap().with_config(config)
}

async fn create_queues(sqs: &Client, queues: &[Queue]) {
    // Dead letter queues first: a queue names its own.
    let (last, first): (Vec<_>, Vec<_>) =
        queues.iter().partition(|queue| queue.properties["RedrivePolicy"].is_object());
    for queue in first.into_iter().chain(last) {
        let mut request = sqs.create_queue().queue_name(&queue.name);
        for (attribute, property) in [
            (QueueAttributeName::VisibilityTimeout, &queue.properties["VisibilityTimeout"]),
            (QueueAttributeName::DeduplicationScope, &queue.properties["DeduplicationScope"]),
            (QueueAttributeName::FifoThroughputLimit, &queue.properties["FifoThroughputLimit"]),
            (QueueAttributeName::RedrivePolicy, &queue.properties["RedrivePolicy"]),
        ] {
            match property {
                Value::Null => {}
                Value::String(text) => request = request.attributes(attribute, text),
                other => request = request.attributes(attribute, other.to_string()),
            }
        }
        if queue.fifo {
            request = request.attributes(QueueAttributeName::FifoQueue, "true");
        }
        request.send().await.unwrap();
    }
}

pub(crate) async fn create_bucket(endpoint: &str, name: &str) {
    // What has to be said outside of AWS's first region.
    let location = format!(
        "<CreateBucketConfiguration><LocationConstraint>{REGION}</LocationConstraint></CreateBucketConfiguration>"
    );
    let made = reqwest::Client::new().put(format!("{endpoint}/{name}")).body(location).send().await.unwrap();
    assert!(made.status().is_success(), "{}", made.text().await.unwrap());
}

/// What the functions find beside them.
pub(crate) fn package(folder: &TempDir) -> PathBuf {
    let manifests = folder.path().join("manifests");
    fs::create_dir(&manifests).unwrap();
    for name in MANIFESTS {
        fs::copy(workspace().join("k8s/eventing").join(name), manifests.join(name)).unwrap();
    }
    manifests
}

async fn serve_record(folder: PathBuf) -> String {
    let router = regrove_record::router(regrove_record::Store::open(&folder).unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}
