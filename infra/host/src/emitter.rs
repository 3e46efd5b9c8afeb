//! Says events to the sink that the platform names in `K_SINK`, or to SQS queues in its place.

use std::sync::OnceLock;
use std::time::Duration;

use regrove_events::{CloudEvent, Invalid, http_binding};
use url::Url;

use crate::{Error, HostArgs, Problem};

/// How long the sink may take to accept one event.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why an event was not accepted by the sink.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// `K_SINK` is not set.
    #[error("K_SINK is not set: bind this function to a broker with a SinkBinding")]
    NoSink,
    /// The event cannot be written as HTTP.
    #[error(transparent)]
    Event(#[from] Invalid),
    /// The sink does not answer.
    #[error("the sink does not answer")]
    Unreachable(#[source] reqwest::Error),
    /// The sink refuses.
    #[error("the sink answered {status} to event `{id}`: {body}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The event.
        id: String,
        /// What it said, the first 512 characters.
        body: String,
    },
    /// A queue does not take it.
    #[cfg(feature = "aws")]
    #[error(transparent)]
    Queues(#[from] regrove_sqs::Error),
}

impl From<EmitError> for Problem {
    fn from(error: EmitError) -> Self {
        // Whatever it is, the event must not be lost: the broker delivers its cause again.
        Self::unavailable("emitting", &error)
    }
}

/// Sends events to a sink. The connection is made at the first event.
#[derive(Debug)]
pub struct Emitter {
    sink: Option<Url>,
    client: OnceLock<reqwest::Client>,
    #[cfg(feature = "aws")]
    queues: Option<std::sync::Arc<regrove_sqs::Queues>>,
}

impl Emitter {
    /// The emitter of a function that has something to say: to the queues or to `K_SINK`, whichever is named.
    ///
    /// # Errors
    /// [`Error::NoSink`] and [`Error::TwoSinks`] when it is neither or both; [`Error::Queues`] when the queues' settings cannot
    /// be used.
    pub fn open(args: &HostArgs) -> Result<Self, Error> {
        #[cfg(feature = "aws")]
        if args.sqs.queues.is_some() && args.sink.is_some() {
            return Err(Error::TwoSinks);
        }
        #[cfg(feature = "aws")]
        if let Some(queues) = args.sqs.open().map_err(|error| Error::Queues(Box::new(error)))? {
            return Ok(Self { queues: Some(queues), ..Self::new(None) });
        }
        let sink = args.sink.clone().ok_or(Error::NoSink)?;
        Ok(Self::new(Some(sink)))
    }

    /// An emitter for a sink; without one, every event fails.
    pub fn new(sink: Option<Url>) -> Self {
        Self {
            sink,
            client: OnceLock::new(),
            #[cfg(feature = "aws")]
            queues: None,
        }
    }

    /// Sends events one after the other. Returns when the sink has accepted all of them.
    ///
    /// # Errors
    /// [`EmitError`] for the first event that was not accepted; those before it were.
    pub async fn emit(&self, events: &[CloudEvent]) -> Result<(), EmitError> {
        if events.is_empty() {
            return Ok(());
        }
        #[cfg(feature = "aws")]
        if let Some(queues) = &self.queues {
            queues.send(events).await?;
            for event in events {
                said(event);
            }
            return Ok(());
        }
        let sink = self.sink.as_ref().ok_or(EmitError::NoSink)?;
        let client = if let Some(client) = self.client.get() {
            client
        } else {
            let client = http_client(sink, ACCEPT_TIMEOUT).map_err(EmitError::Unreachable)?;
            self.client.get_or_init(|| client)
        };
        for event in events {
            let (headers, body) = http_binding::to_binary(event)?;
            let response =
                client.post(sink.clone()).headers(headers).body(body).send().await.map_err(EmitError::Unreachable)?;
            let status = response.status();
            if !status.is_success() {
                let body = response.text().await.unwrap_or_default().chars().take(512).collect();
                return Err(EmitError::Refused { status: status.as_u16(), id: event.id().to_owned(), body });
            }
            said(event);
        }
        Ok(())
    }
}

/// Logs that an event is out.
pub(crate) fn said(event: &CloudEvent) {
    tracing::info!(id = event.id(), ty = event.ty(), subject = event.subject(), "emitted");
}

/// An HTTP client for one address. TLS roots, which cost milliseconds to read, are read only for `https`.
///
/// # Errors
/// When the TLS roots cannot be read.
pub fn http_client(address: &Url, timeout: Duration) -> Result<reqwest::Client, reqwest::Error> {
    let builder = reqwest::Client::builder().timeout(timeout).redirect(reqwest::redirect::Policy::none()).no_proxy();
    if address.scheme() == "https" { builder.build() } else { builder.tls_certs_only([]).build() }
}
