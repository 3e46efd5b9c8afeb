//! Bodies that pass through: bytes at hand, or a stream with what must live as long as it does.

use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::pool::Used;
use super::table::{Arrival, Lease};

/// What goes wrong while a body is read.
pub(crate) type BodyError = Box<dyn StdError + Send + Sync>;

/// The body of a request or a response.
#[derive(Debug)]
pub(crate) enum Body {
    /// Bytes at hand; `None` once they are taken.
    Full(Option<Bytes>),
    /// A stream from a client.
    Incoming(Incoming),
    /// A stream from a replica.
    Replica(Box<ReplicaBody>),
    /// An answer of the runtime about itself. The lock makes it one that threads may share; nobody ever waits for it.
    Own(Mutex<axum::body::Body>),
}

impl Body {
    pub(crate) fn empty() -> Self {
        Self::Full(None)
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Full((!bytes.is_empty()).then_some(bytes))
    }
}

/// A response on its way from a replica. Holds the slot and the connection until the end, and cuts it off in time.
#[derive(Debug)]
pub(crate) struct ReplicaBody {
    inner: Incoming,
    deadline: Pin<Box<Sleep>>,
    idle: Option<(Duration, Pin<Box<Sleep>>)>,
    connection: Option<Used>,
    /// The slot, and the request's share in the load.
    held: Option<(Lease, Arrival)>,
}

impl ReplicaBody {
    pub(crate) fn new(
        inner: Incoming,
        deadline: Pin<Box<Sleep>>,
        idle: Option<Duration>,
        connection: Used,
        lease: Lease,
        arrival: Arrival,
    ) -> Self {
        let idle = idle.map(|limit| (limit, Box::pin(sleep_until(Instant::now() + limit))));
        let mut body = Self { inner, deadline, idle, connection: Some(connection), held: Some((lease, arrival)) };
        if body.inner.is_end_stream() {
            body.finish();
        }
        body
    }

    /// The response is complete: the connection may serve the next, the slot is free.
    fn finish(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.give_back();
        }
        self.held = None;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some((limit, sleep)) = &mut self.idle {
                    sleep.as_mut().reset(Instant::now() + *limit);
                }
                if self.inner.is_end_stream() {
                    self.finish();
                }
                return Poll::Ready(Some(Ok(frame)));
            }
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => {
                self.finish();
                return Poll::Ready(None);
            }
            Poll::Pending => {}
        }
        let late = |what: &str| Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, what).into())));
        if self.deadline.as_mut().poll(context).is_ready() {
            return late("request timeout");
        }
        if let Some((_, sleep)) = &mut self.idle
            && sleep.as_mut().poll(context).is_ready()
        {
            return late("response idle timeout");
        }
        Poll::Pending
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Incoming(incoming) => Pin::new(incoming).poll_frame(context).map_err(Into::into),
            Self::Replica(body) => body.poll(context),
            Self::Own(body) => {
                let body = body.get_mut().unwrap_or_else(PoisonError::into_inner);
                Pin::new(body).poll_frame(context).map_err(Into::into)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_none(),
            Self::Incoming(incoming) => incoming.is_end_stream(),
            Self::Replica(body) => body.inner.is_end_stream(),
            Self::Own(body) => body.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Incoming(incoming) => incoming.size_hint(),
            Self::Replica(body) => body.inner.size_hint(),
            Self::Own(body) => body.lock().unwrap_or_else(PoisonError::into_inner).size_hint(),
        }
    }
}
