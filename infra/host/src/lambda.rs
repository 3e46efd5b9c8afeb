//! The same router under AWS Lambda: HTTP payloads become requests, and so do the messages of SQS batches.
//!
//! A message gets from here what an event gets from Knative: retries after growing waits, and in the end the dead letter
//! sink and a dead letter queue. Which and how many, the trigger's `delivery` says.

use std::collections::BTreeMap;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::response::IntoResponse as _;
use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, Request, StatusCode, header};
use lambda_http::request::{LambdaRequest, RequestContext};
use lambda_http::{Adapter, LambdaEvent, RequestExt as _};
use lambda_runtime::Service as _;
use regrove_events::{CloudEvent, http_binding, with_causes};
use regrove_sqs::{Inbound, Queue, Queues};
use serde_json::value::RawValue;
use tokio::time::Instant;
use tower::ServiceExt as _;

use crate::emitter::said;
use crate::{BODY_BYTES_MAX, Problem, now};

/// Most of a refusal that is kept as a dead letter's reason.
const REASON_BYTES_MAX: usize = 64 << 10;

/// Why an invocation has no answer. Lambda then makes it again, or tells the caller.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the payload is neither of a Function URL, API Gateway or load balancer, nor of an SQS queue")]
    Shape(#[source] serde_json::Error),
    #[error("the answer cannot be written")]
    Answer(#[source] serde_json::Error),
    #[error("an SQS batch came, and REGROVE_SQS_QUEUES is not set")]
    NoQueues,
}

/// Takes invocations until Lambda ends the process.
pub(crate) async fn run(router: Router, queues: Option<Arc<Queues>>) -> Result<(), lambda_runtime::Error> {
    let function = Function { router, queues };
    let service = lambda_runtime::service_fn(move |event: LambdaEvent<Box<RawValue>>| {
        let function = function.clone();
        Box::pin(async move {
            let answer = function.invoke(event).await;
            answer.map_err(|failure| Box::new(failure) as lambda_runtime::Error)
        })
    });
    lambda_runtime::run(service).await
}

#[derive(Debug, Clone)]
struct Function {
    router: Router,
    queues: Option<Arc<Queues>>,
}

/// What becomes of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// SQS may delete it.
    Settled,
    /// SQS is to deliver it again: after this wait, or else when the queue's own time is over.
    Again(Option<Duration>),
}

impl Function {
    async fn invoke(&self, event: LambdaEvent<Box<RawValue>>) -> Result<Box<RawValue>, Failure> {
        // An HTTP payload has no `Records`.
        if let Ok(batch) = serde_json::from_str::<SqsEvent>(event.payload.get()) {
            let queues = self.queues.as_ref().ok_or(Failure::NoQueues)?;
            let left = event.context.deadline().duration_since(std::time::SystemTime::from(now())).unwrap_or_default();
            let answer = self.batch(queues, batch.records, Instant::now() + left).await;
            return serde_json::value::to_raw_value(&answer).map_err(Failure::Answer);
        }
        let request: LambdaRequest = serde_json::from_str(event.payload.get()).map_err(Failure::Shape)?;
        let router = self.router.clone();
        let service = lambda_runtime::service_fn(move |request| router.clone().oneshot(without_stage(request)));
        let answer = Adapter::from(service).call(LambdaEvent::new(request, event.context)).await;
        let answer = answer.unwrap_or_else(|never| match never {});
        serde_json::value::to_raw_value(&answer).map_err(Failure::Answer)
    }

    /// Handles messages one after the other; answers with those that are to come again, and with no other.
    async fn batch(&self, queues: &Queues, records: Vec<SqsMessage>, deadline: Instant) -> SqsBatchResponse {
        let mut answer = SqsBatchResponse::default();
        let mut waiting: BTreeMap<String, Option<Duration>> = BTreeMap::new();
        let mut longest = Duration::ZERO;
        for record in records {
            let group = record.attributes.get("MessageGroupId").cloned();
            // In a queue with an order, what follows a failed message of its group has to wait for it, and as long as it.
            let behind = group.as_ref().and_then(|group| waiting.get(group)).copied();
            let began = Instant::now();
            // Ended by Lambda in the middle, a message would bring the whole batch back.
            let late = (began + longest > deadline).then_some(Some(Duration::ZERO));
            let fate = match behind.or(late) {
                Some(wait) => give_back(queues, &record, wait).await,
                None => self.message(queues, &record).await,
            };
            longest = longest.max(began.elapsed());
            if let Fate::Again(wait) = fate {
                waiting.extend(group.map(|group| (group, wait)));
                let mut failure = BatchItemFailure::default();
                failure.item_identifier = record.message_id.unwrap_or_default();
                answer.batch_item_failures.push(failure);
            }
        }
        answer
    }

    async fn message(&self, queues: &Queues, record: &SqsMessage) -> Fate {
        let Some(queue) = queue_of(queues, record) else { return Fate::Again(None) };
        let message = inbound(record);
        let attempt =
            record.attributes.get("ApproximateReceiveCount").and_then(|count| count.parse().ok()).unwrap_or(1);
        let (event, answer) = match queues.read(message.body).await {
            Ok(event) => {
                let answer = self.deliver(&queue.path, &event).await;
                (Some(event), pass_on(queues, queue, answer).await)
            }
            Err(error) if error.is_final() => {
                let problem = Problem::new("not-a-cloudevent", StatusCode::BAD_REQUEST, error.to_string());
                (None, Answer::of(problem).await)
            }
            Err(error) => (None, Answer::of(Problem::unavailable("the message's data", &error)).await),
        };
        settle(queues, queue, message, attempt, event.as_ref(), &answer).await
    }

    /// Hands an event to the router, as a broker would.
    async fn deliver(&self, path: &str, event: &CloudEvent) -> Answer {
        let (headers, body) = match http_binding::to_binary(event) {
            Ok(written) => written,
            Err(error) => return Answer::of(error.into()).await,
        };
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = http::Method::POST;
        *request.headers_mut() = headers;
        match path.parse() {
            Ok(uri) => *request.uri_mut() = uri,
            Err(error) => return Answer::of(Problem::internal(&error)).await,
        }
        match self.router.clone().oneshot(request).await {
            Ok(response) => Answer::read(response).await,
        }
    }
}

fn queue_of<'a>(queues: &'a Queues, record: &SqsMessage) -> Option<&'a Queue> {
    let arn = record.event_source_arn.as_deref().unwrap_or_default();
    let queue = queues.of_arn(arn);
    if queue.is_none() {
        tracing::error!(arn, "no manifest knows the queue: REGROVE_SQS_QUEUES or REGROVE_SQS_MANIFESTS is wrong");
    }
    queue
}

fn inbound(record: &SqsMessage) -> Inbound<'_> {
    Inbound {
        body: record.body.as_deref().unwrap_or_default(),
        receipt_handle: record.receipt_handle.as_deref().unwrap_or_default(),
        group: record.attributes.get("MessageGroupId").map(String::as_str),
    }
}

/// Leaves a message that nobody has looked at to a later batch. Unsaid, SQS would hide it for the queue's own time, which is
/// many times longer than its work.
async fn give_back(queues: &Queues, record: &SqsMessage, wait: Option<Duration>) -> Fate {
    match (queue_of(queues, record), wait) {
        (Some(queue), Some(wait)) => postpone(queues, queue, inbound(record), wait).await,
        _ => Fate::Again(None),
    }
}

async fn postpone(queues: &Queues, queue: &Queue, message: Inbound<'_>, wait: Duration) -> Fate {
    match queues.postpone(queue, message, wait).await {
        Ok(()) => Fate::Again(Some(wait)),
        Err(error) => {
            tracing::warn!(queue = queue.name, %error, "the wait is the queue's own");
            Fate::Again(None)
        }
    }
}

/// The request at the path that the function knows. API Gateway puts the name of its stage before it, unless that is the
/// default one.
fn without_stage(mut request: lambda_http::Request) -> lambda_http::Request {
    let stage = match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV1(context)) => context.stage.clone(),
        Some(RequestContext::ApiGatewayV2(context)) => context.stage.clone(),
        _ => None,
    };
    let uri = request.uri();
    let shorter = stage
        .and_then(|stage| uri.path().strip_prefix(&format!("/{stage}"))?.strip_prefix('/').map(str::to_owned))
        .map(|path| match uri.query() {
            Some(query) => format!("/{path}?{query}"),
            None => format!("/{path}"),
        })
        .and_then(|path| path.parse().ok());
    if let Some(shorter) = shorter {
        *request.uri_mut() = shorter;
    }
    request
}

/// What the function said to a message.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    async fn read(response: http::Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let Parts { status, headers, .. } = parts;
        if !status.is_success() {
            // A reason that is too long or breaks off is a reason less, not another outcome.
            let body = to_bytes(body, REASON_BYTES_MAX).await.unwrap_or_default();
            return Self { status, headers, body };
        }
        match to_bytes(body, BODY_BYTES_MAX).await {
            Ok(body) => Self { status, headers, body },
            Err(error) => {
                let cause = with_causes(&error);
                Self::bad_gateway(format!("the reply is over {BODY_BYTES_MAX} bytes long, or breaks off: {cause}"))
            }
        }
    }

    /// As brokers count an answer that they can do nothing with.
    fn bad_gateway(reason: String) -> Self {
        Self { status: StatusCode::BAD_GATEWAY, headers: HeaderMap::new(), body: reason.into() }
    }

    async fn of(problem: Problem) -> Self {
        Self::read(problem.into_response()).await
    }
}

/// Routes the event in an answer on, as a broker does. The message is settled only when the queues have it.
async fn pass_on(queues: &Queues, queue: &Queue, answer: Answer) -> Answer {
    if !(queue.takes_replies() && answer.status.is_success()) {
        return answer;
    }
    match http_binding::reply(answer.status, &answer.headers, &answer.body) {
        Ok(None) => answer,
        Ok(Some(event)) => match queues.send(slice::from_ref(&event)).await {
            Ok(()) => {
                said(&event);
                answer
            }
            Err(error) => Answer::of(Problem::unavailable("passing on the reply", &error)).await,
        },
        Err(error) => {
            Answer::bad_gateway(format!("answered {} with a body that is no CloudEvent: {error}", answer.status))
        }
    }
}

/// Draws the consequences, as the trigger's delivery has them.
async fn settle(
    queues: &Queues,
    queue: &Queue,
    message: Inbound<'_>,
    attempt: u32,
    event: Option<&CloudEvent>,
    answer: &Answer,
) -> Fate {
    use regrove_knative::delivery::{Failure, is_retryable};
    if answer.status.is_success() {
        return Fate::Settled;
    }
    let status = answer.status.as_u16();
    if is_retryable(Some(status)) && attempt <= queue.policy.retry {
        let asked = answer.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let wait = queue.policy.wait(attempt, Some(status), asked, now());
        tracing::warn!(queue = queue.name, attempt, status, ?wait, "to be delivered again");
        return postpone(queues, queue, message, wait).await;
    }
    let failure = Failure::Response { status, body: &answer.body };
    match queues.bury(queue, message, event, failure).await {
        Ok(()) => {
            tracing::warn!(queue = queue.name, attempt, status, id = event.map(CloudEvent::id), "a dead letter");
            Fate::Settled
        }
        Err(error) => {
            tracing::error!(queue = queue.name, %error, "cannot be buried, to be delivered again");
            Fate::Again(None)
        }
    }
}
