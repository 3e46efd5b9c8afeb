//! One attempt to hand an event to a destination.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::InvalidUri;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use regrove_events::{CloudEvent, Invalid, http_binding, with_causes};
use regrove_knative::delivery::EventFormat;

use super::ingress::Broker;
use super::target::Target;
use crate::serving::answer::empty;
use crate::serving::body::Body;

/// Bound of an attempt whose policy has no `timeout`: what Knative gives the delivery to all subscribers of an event.
pub(crate) const ATTEMPT_TIMEOUT: Duration = Duration::from_mins(15);

/// Idle connections kept per server outside of the runtime.
const IDLE_CONNECTIONS_MAX: usize = 100;

/// What is sent.
#[derive(Debug)]
pub(crate) struct Parcel<'a> {
    pub(crate) event: &'a CloudEvent,
    /// Headers that came with the event.
    pub(crate) headers: &'a [(String, String)],
    pub(crate) namespace: &'a str,
    /// Whether it goes to a subscriber, who may reply (`Prefer: reply`).
    pub(crate) prefers_reply: bool,
    /// How often the event may still pass a broker of this runtime; `None` for an event that has not passed one.
    pub(crate) time_to_live: Option<i32>,
    pub(crate) format: Option<EventFormat>,
    pub(crate) timeout: Option<Duration>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) result: Result<Reply, String>,
    pub(crate) latency: Duration,
}

/// A response, read as far as allowed.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The body is longer than allowed; `body` is empty then.
    pub(crate) too_long: bool,
}

/// Sends parcels.
#[derive(Debug)]
pub(crate) struct Sender {
    client: Client<HttpConnector, Full<Bytes>>,
    reply_bytes_max: usize,
}

impl Sender {
    pub(crate) fn new(reply_bytes_max: usize) -> Self {
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(IDLE_CONNECTIONS_MAX).build_http();
        Self { client, reply_bytes_max }
    }

    /// Sends one parcel once.
    pub(crate) async fn send(&self, broker: &Arc<Broker>, target: &Target, parcel: &Parcel<'_>) -> Answered {
        let began = Instant::now();
        let bound = parcel.timeout.unwrap_or(ATTEMPT_TIMEOUT);
        let result = match tokio::time::timeout(bound, self.exchange(broker, target, parcel)).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer within {} s", bound.as_secs_f64())),
        };
        Answered { result, latency: began.elapsed() }
    }

    async fn exchange(&self, broker: &Arc<Broker>, target: &Target, parcel: &Parcel<'_>) -> Result<Reply, String> {
        let (headers, body) = write(parcel).map_err(|error| format!("the event cannot be sent: {error}"))?;
        match target {
            Target::Service { route, path } => {
                let host = Target::host(route);
                let request = request(
                    path.parse().map_err(|error: InvalidUri| error.to_string())?,
                    &host,
                    headers,
                    Body::from(body),
                )?;
                self.read(route.serve(None, request).await).await
            }
            Target::Broker { namespace, name } => {
                let status =
                    match broker.take(namespace, name, parcel.event.clone(), &headers, parcel.time_to_live).await {
                        Ok(()) => StatusCode::ACCEPTED,
                        Err(refused) => refused.status(),
                    };
                self.read(empty(status)).await
            }
            Target::Http(uri) => {
                let host = uri.authority().map(ToString::to_string).unwrap_or_default();
                let request = request(uri.clone(), &host, headers, Full::new(body))?;
                self.read(self.client.request(request).await.map_err(|error| with_causes(&error))?).await
            }
        }
    }

    async fn read<B>(&self, response: Response<B>) -> Result<Reply, String>
    where
        B: hyper::body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, body) = response.into_parts();
        let (body, too_long) = match Limited::new(body, self.reply_bytes_max).collect().await {
            Ok(collected) => (collected.to_bytes(), false),
            Err(error) if error.is::<LengthLimitError>() => (Bytes::new(), true),
            Err(error) => return Err(format!("the response broke off: {error}")),
        };
        Ok(Reply { status: parts.status, headers: parts.headers, body, too_long })
    }
}

fn write(parcel: &Parcel<'_>) -> Result<(HeaderMap, Bytes), Invalid> {
    let (mut headers, body) = match parcel.format {
        Some(EventFormat::Json) => http_binding::to_structured(parcel.event),
        Some(EventFormat::Binary) | None => http_binding::to_binary(parcel.event)?,
    };
    for (name, value) in parcel.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            headers.append(name, value);
        }
    }
    if let Ok(namespace) = HeaderValue::from_str(parcel.namespace) {
        headers.insert(HeaderName::from_static("kn-namespace"), namespace);
    }
    if parcel.prefers_reply {
        headers.insert(HeaderName::from_static("prefer"), HeaderValue::from_static("reply"));
    }
    Ok((headers, body))
}

fn request<B>(uri: Uri, host: &str, headers: HeaderMap, body: B) -> Result<Request<B>, String> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    request.headers_mut().insert(header::HOST, HeaderValue::from_str(host).map_err(|error| error.to_string())?);
    Ok(request)
}
