//! Kept connections to one replica.
//!
//! A pool of its own instead of a general client, because the activator has to know whether a request was ever sent: one
//! that was not may go to another replica, one that was may not.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http::Request;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::body::Body;

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

#[derive(Debug)]
struct Connection {
    sender: http1::SendRequest<Body>,
}

/// The idle connections to one address.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: Mutex<Vec<Connection>>,
}

/// A connection that has answered; [`Used::give_back`] keeps it once the answer was read.
#[derive(Debug)]
pub(crate) struct Used {
    connection: Connection,
    pool: Arc<Pool>,
}

impl Used {
    /// Keeps the connection for the next request.
    pub(crate) fn give_back(self) {
        let mut idle = self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX && !self.connection.sender.is_closed() {
            idle.push(self.connection);
        }
    }
}

impl Pool {
    /// Drops all idle connections.
    pub(crate) fn clear(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// An idle connection that can take a request at once.
    fn take(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|connection| !connection.sender.is_closed());
        // One whose last response has just ended may still be settling; it is left for the next.
        let at = idle.iter().rposition(|connection| connection.sender.is_ready())?;
        Some(idle.swap_remove(at))
    }

    /// Sends a request over a kept connection, or over a new one.
    pub(crate) async fn send(
        self: &Arc<Self>,
        address: SocketAddr,
        mut request: Request<Body>,
    ) -> Result<(http::Response<Incoming>, Used), SendError> {
        while let Some(mut connection) = self.take() {
            match connection.sender.try_send_request(request).await {
                Ok(response) => return Ok((response, Used { connection, pool: Arc::clone(self) })),
                Err(mut error) => match error.take_message() {
                    // The replica had closed the connection: the next one, or a new one.
                    Some(unsent) => request = unsent,
                    None => return Err(SendError::Broken(error.into_error())),
                },
            }
        }
        let mut connection = match connect(address).await {
            Ok(connection) => connection,
            Err(error) => return Err(SendError::NotSent(Box::new(request), error)),
        };
        match connection.sender.try_send_request(request).await {
            Ok(response) => Ok((response, Used { connection, pool: Arc::clone(self) })),
            Err(mut error) => match error.take_message() {
                Some(unsent) => Err(SendError::NotSent(Box::new(unsent), error.into_error().into())),
                None => Err(SendError::Broken(error.into_error())),
            },
        }
    }
}

async fn connect(address: SocketAddr) -> Result<Connection, BoxedCause> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true).map_err(io::Error::other)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "connection to a replica ended");
        }
    });
    Ok(Connection { sender })
}
