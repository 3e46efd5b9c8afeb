//! Sends, postpones and buries messages.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};
use bytes::Bytes;
use regrove_events::{AttributeValue, CloudEvent, json_format, with_causes};
use regrove_knative::delivery::{DeadLetterAttributes, ERROR_CODE, ERROR_DATA, ERROR_DESTINATION, Failure};
use tokio::sync::OnceCell;
use url::Url;

use crate::claims::Claims;
use crate::{Error, OpenError, Queue, Routes, SqsArgs, message};

/// Most messages that SQS takes in one call.
const BATCH_MAX: usize = 10;
/// Longest time for which SQS hides a message: twelve hours.
const POSTPONE_MAX: Duration = Duration::from_hours(12);

/// A message as it came.
#[derive(Debug, Clone, Copy)]
pub struct Inbound<'a> {
    /// What stands in it.
    pub body: &'a str,
    /// How the message is named to SQS until it is seen again.
    pub receipt_handle: &'a str,
    /// Its group, in a queue with an order.
    pub group: Option<&'a str>,
}

/// The queues of an application. AWS is asked for nothing before the first use.
#[derive(Debug)]
pub struct Queues {
    routes: Routes,
    prefix: String,
    claims: Option<Claims>,
    claim_bytes: usize,
    aws: OnceCell<Aws>,
}

#[derive(Debug)]
struct Aws {
    config: SdkConfig,
    client: Client,
}

impl Aws {
    fn new(config: SdkConfig) -> Self {
        let client = Client::new(&config);
        Self { config, client }
    }
}

impl Queues {
    /// The queues of a routing table, whose URLs begin with `prefix`.
    ///
    /// # Errors
    /// [`OpenError`] when the prefix cannot begin a URL, or the bucket's name is none.
    pub fn new(routes: Routes, prefix: &Url, args: &SqsArgs) -> Result<Self, OpenError> {
        let wrong = || OpenError::Prefix { url: prefix.to_string() };
        let admitted = matches!(prefix.scheme(), "https" | "http") && prefix.has_host() && prefix.query().is_none();
        if !admitted || prefix.path_segments().is_none_or(|segments| segments.count() < 2) {
            return Err(wrong());
        }
        let claims = Claims::new(args)?;
        Ok(Self { routes, prefix: prefix.to_string(), claims, claim_bytes: args.claim_bytes, aws: OnceCell::new() })
    }

    /// The same queues, reached with this configuration instead of the one that the environment gives.
    #[must_use]
    pub fn with_config(self, config: SdkConfig) -> Self {
        Self { aws: OnceCell::new_with(Some(Aws::new(config))), ..self }
    }

    /// The routing table.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// URL of a queue.
    pub fn url(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The queue that an ARN names (`arn:aws:sqs:REGION:ACCOUNT:NAME`), if it is one of these.
    pub fn of_arn(&self, arn: &str) -> Option<&Queue> {
        let name = arn.rsplit(':').next()?;
        let shared = self.prefix.rsplit('/').next()?;
        self.routes.queue(name.strip_prefix(shared)?)
    }

    async fn aws(&self) -> &Aws {
        self.aws.get_or_init(async || Aws::new(aws_config::load_defaults(BehaviorVersion::latest()).await)).await
    }

    /// Sends events to the queues of all triggers that want them, in order. Returns when SQS has all of them.
    ///
    /// # Errors
    /// [`Error`] for the first event or queue that failed; what was sent before stays sent.
    pub async fn send(&self, events: &[CloudEvent]) -> Result<(), Error> {
        let mut waiting: BTreeMap<&str, (&Queue, Vec<Message>)> = BTreeMap::new();
        for event in events {
            for queue in self.routes.of_event(event) {
                let message = self.message(queue, event).await?;
                waiting.entry(&queue.name).or_insert_with(|| (queue, Vec::new())).1.push(message);
            }
        }
        for (queue, messages) in waiting.into_values() {
            for batch in self.batches(messages) {
                self.send_batch(queue, batch).await?;
            }
        }
        Ok(())
    }

    /// The event as a message, its data in the bucket if they are too large.
    async fn message(&self, queue: &Queue, event: &CloudEvent) -> Result<Message, Error> {
        let group = queue.group_by.as_deref().map(|attribute| message::group(event, attribute));
        let body = message::write(event)?;
        if body.len() <= self.claim_bytes {
            return Ok(Message { body, group });
        }
        let Some(claims) = &self.claims else {
            let (id, bytes, limit) = (event.id().to_owned(), body.len(), self.claim_bytes);
            return Err(Error::NoBucket { id, bytes, limit });
        };
        let reference = claims.reference(event.data().map_or(&[], Bytes::as_ref));
        let (stub, data) = message::without_data(event, reference.clone())?;
        claims.put(&self.aws().await.config, &reference, data).await?;
        Ok(Message { body: message::write(&stub)?, group })
    }

    /// At most ten messages, and together no larger than one may be.
    fn batches(&self, messages: Vec<Message>) -> Vec<Vec<Message>> {
        let mut batches: Vec<Vec<Message>> = Vec::new();
        let mut bytes = 0;
        for message in messages {
            bytes += message.body.len();
            match batches.last_mut() {
                Some(batch) if batch.len() < BATCH_MAX && bytes <= self.claim_bytes => batch.push(message),
                _ => {
                    bytes = message.body.len();
                    batches.push(vec![message]);
                }
            }
        }
        batches
    }

    async fn send_batch(&self, queue: &Queue, batch: Vec<Message>) -> Result<(), Error> {
        let url = self.url(&queue.name);
        let fault = |reason: String| Error::Queue { queue: url.clone(), reason };
        let mut request = self.aws().await.client.send_message_batch().queue_url(&url);
        for (index, message) in batch.into_iter().enumerate() {
            // The same bytes within five minutes are the same message: a repeated emission costs nothing.
            let once = message.group.as_ref().map(|_| message::hash(message.body.as_bytes()));
            let entry = SendMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .set_message_group_id(message.group)
                .set_message_deduplication_id(once)
                .message_body(message.body)
                .build()
                .map_err(|error| fault(with_causes(&error)))?;
            request = request.entries(entry);
        }
        let answer = request.send().await.map_err(|error| fault(with_causes(&error)))?;
        if let Some(failed) = answer.failed().first() {
            return Err(fault(format!("{} {}", failed.code(), failed.message().unwrap_or_default())));
        }
        Ok(())
    }

    /// Reads the event in a message; fetches its data if they are in the bucket.
    ///
    /// # Errors
    /// [`Error`]; when [`Error::is_final`], the message is poison.
    pub async fn read(&self, body: &str) -> Result<CloudEvent, Error> {
        let mut event = json_format::from_slice(body.as_bytes())?;
        let reference = event.extension(message::DATAREF).map(ToString::to_string);
        // A reference to somewhere else is somebody else's to follow: nothing is fetched that we did not put there.
        if let (None, Some(reference), Some(claims)) = (event.data(), reference, &self.claims)
            && claims.owns(&reference)
        {
            let data = claims.get(&self.aws().await.config, &reference).await?;
            event.replace_data(Some(data));
            event.remove_extension(message::DATAREF);
        }
        Ok(event)
    }

    /// Hides a message for a while, after which it is delivered again.
    ///
    /// # Errors
    /// [`Error::Queue`]; the message then stays hidden for the queue's own time.
    pub async fn postpone(&self, queue: &Queue, message: Inbound<'_>, wait: Duration) -> Result<(), Error> {
        let url = self.url(&queue.name);
        // SQS counts whole seconds.
        let seconds = wait.min(POSTPONE_MAX).as_secs_f64().ceil();
        #[expect(clippy::cast_possible_truncation, reason = "bounded by twelve hours")]
        let seconds = seconds as i32;
        let request = self.aws().await.client.change_message_visibility().queue_url(&url);
        let sent = request.receipt_handle(message.receipt_handle).visibility_timeout(seconds).send().await;
        sent.map(drop).map_err(|error| Error::Queue { queue: url, reason: with_causes(&error) })
    }

    /// Gives up on a message: the dead letter sink hears of the event, and the dead letter queue keeps the message with
    /// its reason. Both may happen twice; neither is left out.
    ///
    /// # Errors
    /// [`Error`]; the message is then to be delivered again.
    pub async fn bury(
        &self,
        queue: &Queue,
        message: Inbound<'_>,
        event: Option<&CloudEvent>,
        failure: Failure<'_>,
    ) -> Result<(), Error> {
        let reason = DeadLetterAttributes::new(format!("lambda:{}{}", queue.service, queue.path), failure);
        if let (Some(event), Some(sink)) =
            (event, queue.dead_letter_sink.as_deref().and_then(|name| self.routes.queue(name)))
        {
            let mut letter = event.clone();
            letter.set_extension(ERROR_DESTINATION, reason.destination.clone())?;
            letter.set_extension(ERROR_CODE, AttributeValue::Integer(i32::from(reason.code)))?;
            letter.set_extension(ERROR_DATA, reason.data.clone())?;
            let letter = self.message(sink, &letter).await?;
            self.send_batch(sink, vec![letter]).await?;
        }
        let url = self.url(&queue.dead_letter_queue());
        let fault = |reason: String| Error::Queue { queue: url.clone(), reason };
        let mut request = self.aws().await.client.send_message().queue_url(&url).message_body(message.body);
        if queue.group_by.is_some() {
            request = request
                .message_group_id(message.group.unwrap_or("none"))
                .message_deduplication_id(message::hash(message.body.as_bytes()));
        }
        // SQS knows no empty attribute.
        for (name, text) in reason.pairs().into_iter().filter(|(_, text)| !text.is_empty()) {
            let value = MessageAttributeValue::builder().data_type("String").string_value(text).build();
            request = request.message_attributes(name, value.map_err(|error| fault(with_causes(&error)))?);
        }
        request.send().await.map(drop).map_err(|error| fault(with_causes(&error)))
    }
}

/// A message to be sent.
#[derive(Debug)]
struct Message {
    body: String,
    group: Option<String>,
}
