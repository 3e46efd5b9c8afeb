//! Listening sockets and the connections on them.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Error;
use crate::serving::body::Body;
use crate::serving::forward::Client;

/// How long a client may take to send the head of a request.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;
/// Wait after a failed accept, which usually means that there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Opens a listening socket; `flag` is what the user would choose another port with.
pub(crate) fn listen(name: &'static str, flag: &'static str, address: SocketAddr) -> Result<TcpListener, Error> {
    let open = || -> io::Result<TcpListener> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // Ports of connections that have just ended may be taken again.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    open().map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => Error::PortTaken { name, address, flag },
        _ => Error::Listen { name, address, flag, source },
    })
}

/// Answers requests.
pub(crate) trait Answer: Send + Sync + 'static {
    /// Answers one request.
    fn answer(self: Arc<Self>, request: Request<Body>) -> impl Future<Output = Response<Body>> + Send;
}

/// Answers the requests of all connections until `stop`, then lets those there are end their current requests.
pub(crate) async fn serve<A: Answer>(listener: TcpListener, answer: Arc<A>, stop: CancellationToken) {
    let connected = |stream, peer| connection(stream, peer, Arc::clone(&answer), stop.clone());
    accept(listener, &stop, connected).await;
}

/// Accepts connections until `stop`, then waits for those there are to end.
pub(crate) async fn accept<F>(
    listener: TcpListener,
    stop: &CancellationToken,
    connected: impl Fn(TcpStream, SocketAddr) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY not set");
                }
                connections.spawn(connected(stream, peer));
            }
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// Answers the requests of one connection until it ends, or until `stop`.
pub(crate) async fn connection<A: Answer>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    answer: Arc<A>,
    stop: CancellationToken,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = Arc::clone(&answer);
        let mut request = request.map(Body::Incoming);
        request.extensions_mut().insert(Client(peer.ip()));
        async move { Ok::<_, Infallible>(answer.answer(request).await) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder.http2().timer(TokioTimer::new());
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %peer, "connection ended");
    }
}
