//! Kept connections to one replica.
//!
//! A pool of its own instead of a general client, because the activator has to know whether a request was ever sent: one
//! that was not may go to another replica, one that was may not.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::body::Body;
use super::wire::GATES_MAX;

/// Idle connections kept per replica, as Knative's activator keeps them.
const IDLE_MAX: usize = 100;

/// How sending a request ended without a response.
#[derive(Debug)]
pub(crate) enum SendError {
    /// It was never sent; here it is.
    NotSent(Box<Request<Body>>, BoxedCause),
    /// It was sent, at least in part.
    Broken(hyper::Error),
}

/// Why a request was not sent.
pub(crate) type BoxedCause = Box<dyn std::error::Error + Send + Sync>;

/// A response, and the connection it came on.
type Sent = Result<(Response<Incoming>, Used), SendError>;

#[derive(Debug)]
enum Connections {
    /// Those that are idle.
    Http1(Mutex<Vec<http1::SendRequest<Body>>>),
    /// The one that all requests share.
    Http2(Mutex<Option<http2::SendRequest<Body>>>),
}

/// The connections to one address.
#[derive(Debug)]
pub(crate) struct Pool {
    connections: Connections,
    /// Idle ones of the gateway's own, by gate.
    plain: [Mutex<Vec<TcpStream>>; GATES_MAX],
}

/// A connection that has answered; [`Used::give_back`] keeps it once the answer was read.
#[derive(Debug)]
pub(crate) struct Used {
    connection: Option<http1::SendRequest<Body>>,
    pool: Arc<Pool>,
}

impl Used {
    /// Keeps the connection for the next request.
    pub(crate) fn give_back(self) {
        if let (Some(connection), Connections::Http1(idle)) = (self.connection, &self.pool.connections) {
            let mut idle = locked(idle);
            if idle.len() < IDLE_MAX && !connection.is_closed() {
                idle.push(connection);
            }
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// A pool for a replica that speaks HTTP/2 with prior knowledge, or else HTTP/1.1.
    pub(crate) fn new(http2: bool) -> Self {
        let connections =
            if http2 { Connections::Http2(Mutex::default()) } else { Connections::Http1(Mutex::default()) };
        Self { connections, plain: std::array::from_fn(|_| Mutex::default()) }
    }

    /// Whether requests have to be in the form of HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        matches!(self.connections, Connections::Http2(_))
    }

    /// Drops all idle connections.
    pub(crate) fn clear(&self) {
        for plain in &self.plain {
            locked(plain).clear();
        }
        match &self.connections {
            Connections::Http1(idle) => locked(idle).clear(),
            Connections::Http2(shared) => *locked(shared) = None,
        }
    }

    /// An idle connection of a gate. The replica may be about to close it.
    pub(crate) fn take(&self, gate: usize) -> Option<TcpStream> {
        let mut idle = locked(self.plain.get(gate)?);
        loop {
            let connection = idle.pop()?;
            if is_quiet(&connection) {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection of a gate whose last response has been read.
    pub(crate) fn keep(&self, gate: usize, connection: TcpStream) {
        let Some(idle) = self.plain.get(gate) else {
            return;
        };
        let mut idle = locked(idle);
        // The one that has waited longest is the likeliest to have been closed.
        if idle.first().is_some_and(|oldest| !is_quiet(oldest)) {
            idle.remove(0);
        }
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
    }

    /// Sends a request over a kept connection, or over a new one.
    pub(crate) async fn send(self: &Arc<Self>, address: SocketAddr, request: Request<Body>) -> Sent {
        match &self.connections {
            Connections::Http1(idle) => self.send_http1(idle, address, request).await,
            Connections::Http2(shared) => self.send_http2(shared, address, request).await,
        }
    }

    async fn send_http1(
        self: &Arc<Self>,
        idle: &Mutex<Vec<http1::SendRequest<Body>>>,
        address: SocketAddr,
        mut request: Request<Body>,
    ) -> Sent {
        while let Some(mut connection) = take(idle) {
            match connection.try_send_request(request).await {
                Ok(response) => return Ok((response, self.used(Some(connection)))),
                Err(mut error) => match error.take_message() {
                    // The replica had closed the connection: the next one, or a new one.
                    Some(unsent) => request = unsent,
                    None => return Err(SendError::Broken(error.into_error())),
                },
            }
        }
        let mut connection = match connect_http1(address).await {
            Ok(connection) => connection,
            Err(error) => return Err(SendError::NotSent(Box::new(request), error)),
        };
        match connection.try_send_request(request).await {
            Ok(response) => Ok((response, self.used(Some(connection)))),
            Err(error) => Err(not_answered(error)),
        }
    }

    async fn send_http2(
        self: &Arc<Self>,
        shared: &Mutex<Option<http2::SendRequest<Body>>>,
        address: SocketAddr,
        mut request: Request<Body>,
    ) -> Sent {
        let kept = locked(shared).clone().filter(|connection| !connection.is_closed());
        if let Some(mut connection) = kept {
            match connection.try_send_request(request).await {
                Ok(response) => return Ok((response, self.used(None))),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(SendError::Broken(error.into_error())),
                },
            }
        }
        let mut connection = match connect_http2(address).await {
            Ok(connection) => connection,
            Err(error) => return Err(SendError::NotSent(Box::new(request), error)),
        };
        // Of several that were opened at once the last stays; the others end with their requests.
        *locked(shared) = Some(connection.clone());
        match connection.try_send_request(request).await {
            Ok(response) => Ok((response, self.used(None))),
            Err(error) => Err(not_answered(error)),
        }
    }

    fn used(self: &Arc<Self>, connection: Option<http1::SendRequest<Body>>) -> Used {
        Used { connection, pool: Arc::clone(self) }
    }
}

/// Whether nothing has come on an idle connection, neither bytes nor its end. Asks the system only if something has.
fn is_quiet(connection: &TcpStream) -> bool {
    connection.try_read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

fn not_answered(mut error: hyper::client::conn::TrySendError<Request<Body>>) -> SendError {
    match error.take_message() {
        Some(unsent) => SendError::NotSent(Box::new(unsent), error.into_error().into()),
        None => SendError::Broken(error.into_error()),
    }
}

/// An idle connection that can take a request at once.
fn take(idle: &Mutex<Vec<http1::SendRequest<Body>>>) -> Option<http1::SendRequest<Body>> {
    let mut idle = locked(idle);
    idle.retain(|connection| !connection.is_closed());
    // One whose last response has just ended may still be settling; it is left for the next.
    let at = idle.iter().rposition(http1::SendRequest::is_ready)?;
    Some(idle.swap_remove(at))
}

async fn connect(address: SocketAddr) -> io::Result<TokioIo<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(TokioIo::new(stream))
}

async fn connect_http1(address: SocketAddr) -> Result<http1::SendRequest<Body>, BoxedCause> {
    let (sender, connection) = http1::handshake(connect(address).await?).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "connection to a replica ended");
        }
    });
    Ok(sender)
}

async fn connect_http2(address: SocketAddr) -> Result<http2::SendRequest<Body>, BoxedCause> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    let (sender, connection) = builder.timer(TokioTimer::new()).handshake(connect(address).await?).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to a replica ended");
        }
    });
    Ok(sender)
}
