//! The broker's door: checks, stamps and stores events, and hands them to the triggers that want them.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use regrove_events::{CloudEvent, Invalid, http_binding};

use super::journal::{Journal, JournalError, NewEvent, Pending, StoredEvent};
use super::queue::TriggerQueue;
use super::topology::Topology;
use crate::clock::now;
use crate::events_out::EventsOut;
use crate::http_server::Answer;
use crate::metrics::Metrics;
use crate::runtime_event::RuntimeEvent;
use crate::serving::answer::{empty, plain};
use crate::serving::body::Body;

/// Extension that counts down how often an event may still pass a broker.
pub(crate) const TTL: &str = "knativebrokerttl";
/// What it starts with.
const TTL_DEFAULT: i32 = 255;
/// Extension that says when the broker took the event.
const ARRIVAL_TIME: &str = "knativearrivaltime";

/// Request headers that travel with an event, beside those that start with [`PASSED_PREFIXES`].
const PASSED_HEADERS: [&str; 4] = ["x-request-id", "retry-after", "traceparent", "tracestate"];
const PASSED_PREFIXES: [&str; 2] = ["knative-", "x-b3-"];

const ALLOW: HeaderValue = HeaderValue::from_static("POST, OPTIONS");

/// Why an event is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("events go to /<namespace>/<broker>")]
    Root,
    #[error("`{0}` is not of the form /<namespace>/<broker>")]
    Path(String),
    #[error("there is no broker {namespace}/{name}")]
    NoBroker { namespace: String, name: String },
    #[error("not a CloudEvent: {0}")]
    Invalid(#[from] Invalid),
    #[error("the event has passed brokers too often ({TTL} is used up)")]
    Exhausted,
    #[error("{TTL} is `{0}`, expected a whole number")]
    TimeToLive(String),
    #[error("the body is longer than {max} bytes")]
    TooLong { max: usize },
    #[error("the body cannot be read: {0}")]
    Body(String),
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl Refused {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Root | Self::NoBroker { .. } => StatusCode::NOT_FOUND,
            Self::Path(_) | Self::Invalid(_) | Self::Exhausted | Self::TimeToLive(_) | Self::Body(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::TooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Journal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// All brokers of a runtime.
#[derive(Debug)]
pub(crate) struct Broker {
    event_bytes_max: usize,
    pub(crate) journal: Journal,
    topology: Arc<Topology>,
    events: EventsOut,
    metrics: Arc<Metrics>,
}

impl Broker {
    pub(crate) fn new(
        event_bytes_max: usize,
        journal: Journal,
        topology: Arc<Topology>,
        events: EventsOut,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        Arc::new(Self { event_bytes_max, journal, topology, events, metrics })
    }

    pub(crate) fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Takes an event into a broker; it is stored durably when this returns. `ttl` overrides the event's own.
    pub(crate) async fn take(
        &self,
        namespace: &str,
        name: &str,
        event: CloudEvent,
        headers: &HeaderMap,
        ttl: Option<i32>,
    ) -> Result<(), Refused> {
        let new = self.admit(namespace, name, event, passed_on(headers), ttl)?;
        let deliveries = self.journal.accept(new.clone()).await?;
        self.route(&new, &deliveries);
        Ok(())
    }

    /// Checks and stamps an event, and finds out who wants it.
    fn admit(
        &self,
        namespace: &str,
        name: &str,
        mut event: CloudEvent,
        headers: Vec<(String, String)>,
        ttl: Option<i32>,
    ) -> Result<NewEvent, Refused> {
        let missing = || Refused::NoBroker { namespace: namespace.to_owned(), name: name.to_owned() };
        let broker = self.topology.broker(namespace, name).ok_or_else(missing)?;
        let left = match ttl.map_or_else(|| time_to_live(&event), |ttl| Ok(Some(ttl)))? {
            None => TTL_DEFAULT,
            Some(ttl) => ttl.saturating_sub(1),
        };
        if left <= 0 {
            return Err(Refused::Exhausted);
        }
        event.set_extension(TTL, left)?;
        event.set_extension(ARRIVAL_TIME, now().to_string())?;
        let wants = |queue: &&Arc<TriggerQueue>| queue.spec().filter.matches(&event);
        let triggers = broker.triggers.iter().filter(wants).cloned().collect();
        let event = Arc::new(StoredEvent { namespace: namespace.to_owned(), broker: name.to_owned(), event, headers });
        Ok(NewEvent { event, triggers })
    }

    /// A reply, ready for the journal: it enters a broker of the same namespace with the event's time to live.
    pub(crate) fn admit_reply(&self, cause: &StoredEvent, name: &str, reply: CloudEvent) -> Result<NewEvent, Refused> {
        let ttl = time_to_live(&cause.event)?;
        self.admit(&cause.namespace, name, reply, cause.headers.clone(), ttl)
    }

    /// Hands a stored event to its triggers.
    pub(crate) fn route(&self, new: &NewEvent, deliveries: &[i64]) {
        let NewEvent { event, triggers } = new;
        if let Some(broker) = self.topology.broker(&event.namespace, &event.broker) {
            self.metrics.note_accepted(&broker.accepted);
        }
        self.events.send(|| RuntimeEvent::EventAccepted {
            broker: format!("{}/{}", event.namespace, event.broker),
            ty: event.event.ty().to_owned(),
            id: event.event.id().to_owned(),
            triggers: triggers.len(),
        });
        for (queue, seq) in triggers.iter().zip(deliveries) {
            queue.push(Pending { seq: *seq, event: Arc::clone(event), attempt: 0, due_at: 0, dead: None });
        }
    }

    async fn receive(&self, request: Request<Body>) -> Result<(), Refused> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        if path == "/" {
            return Err(Refused::Root);
        }
        let segments = path.strip_suffix('/').unwrap_or(path).strip_prefix('/').and_then(|path| path.split_once('/'));
        let whole = |(namespace, name): &(&str, &str)| !namespace.is_empty() && !name.is_empty() && !name.contains('/');
        let Some((namespace, name)) = segments.filter(whole) else {
            return Err(Refused::Path(path.to_owned()));
        };
        let body = read(body, self.event_bytes_max).await?;
        let event = http_binding::from_http(&parts.headers, body)?;
        self.take(namespace, name, event, &parts.headers, None).await
    }
}

async fn read(body: Body, max: usize) -> Result<Bytes, Refused> {
    match Limited::new(body, max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Refused::TooLong { max }),
        Err(error) => Err(Refused::Body(error.to_string())),
    }
}

/// How often the event may still pass a broker; `None` when it has not passed one yet.
pub(crate) fn time_to_live(event: &CloudEvent) -> Result<Option<i32>, Refused> {
    let Some(text) = event.attribute(TTL) else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|_| Refused::TimeToLive(text.into_owned()))
}

fn passed_on(headers: &HeaderMap) -> Vec<(String, String)> {
    let passed =
        |name: &str| PASSED_HEADERS.contains(&name) || PASSED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    headers
        .iter()
        .filter(|(name, _)| passed(name.as_str()))
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
        .collect()
}

impl Answer for Broker {
    async fn answer(self: Arc<Self>, request: Request<Body>) -> Response<Body> {
        match *request.method() {
            Method::POST => match self.receive(request).await {
                Ok(()) => empty(StatusCode::ACCEPTED),
                Err(refused) => {
                    self.metrics.note_refused(refused.status());
                    plain(refused.status(), refused.to_string())
                }
            },
            Method::OPTIONS => {
                let mut response = empty(StatusCode::OK);
                let headers = response.headers_mut();
                headers.insert(header::ALLOW, ALLOW);
                headers.insert("webhook-allowed-origin", HeaderValue::from_static("*"));
                headers.insert("webhook-allowed-rate", HeaderValue::from_static("*"));
                response
            }
            _ => {
                let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "events are sent with POST");
                response.headers_mut().insert(header::ALLOW, ALLOW);
                response
            }
        }
    }
}
