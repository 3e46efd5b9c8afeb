//! The connections of a function: accepted, served over HTTP/1.1 or HTTP/2, and let go without breaking a request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Extension;
use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::{AddExtension, Next, from_fn_with_state};
use axum::response::Response;
use http::header::CONNECTION;
use http::{HeaderValue, Version};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tower::Layer as _;

use crate::lanes::Lanes;

/// How long an idle connection is kept, and how long a request's head may take.
const IDLE_MAX: Duration = Duration::from_secs(95);
/// How long a client of HTTP/2 may take to answer a ping.
const PONG_WITHIN: Duration = Duration::from_secs(20);
/// How long to wait after an error of the socket, such as too many open files.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// While draining, connections are closed once no request has come for this long.
const QUIET: Duration = Duration::from_millis(500);
/// Clients that do not heed that are not waited for any longer.
const QUIET_WITHIN: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Answers say that their connection ends.
    Draining,
    /// Idle connections end.
    Closing,
}

/// Serves connections until it is told to drain.
pub(crate) struct Connections {
    router: Router,
    builder: auto::Builder<TokioExecutor>,
    phase: watch::Sender<Phase>,
    requests: Arc<AtomicU64>,
    lanes: Lanes,
}

#[derive(Clone)]
struct Farewell {
    phase: watch::Receiver<Phase>,
    requests: Arc<AtomicU64>,
}

impl Connections {
    pub(crate) fn new(router: Router) -> Self {
        let (phase, watched) = watch::channel(Phase::Serving);
        let requests = Arc::new(AtomicU64::new(0));
        let farewell = Farewell { phase: watched, requests: Arc::clone(&requests) };
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE_MAX);
        keep_alive(&mut builder, IDLE_MAX, PONG_WITHIN);
        Self {
            router: router.layer(from_fn_with_state(farewell, say_farewell)),
            builder,
            phase,
            requests,
            lanes: Lanes::new(),
        }
    }

    /// Accepts connections and serves each in a task of its own, on the thread that has the fewest. Never returns.
    pub(crate) async fn accept(&self, listener: &TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => self.serve(stream, peer),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    fn serve(&self, stream: TcpStream, peer: SocketAddr) {
        // Answers are written whole: nothing is gained by waiting for more.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
        // Functions may ask who is calling: without a token the console answers its own machine only.
        let service = Extension(ConnectInfo(peer)).layer(self.router.clone());
        let (builder, phase) = (self.builder.clone(), self.phase.subscribe());
        let served = self.lanes.serve(stream, move |stream, occupied| {
            tokio::spawn(async move {
                converse(&builder, stream, service, phase).await;
                drop(occupied);
            });
        });
        if let Err(error) = served {
            tracing::warn!(%error, "a connection was lost on its way to its thread");
        }
    }

    /// Ends every connection after the request that is under way on it. Returns when none is left.
    ///
    /// A client may send its next request at the very moment at which an idle connection is closed. So answers first say
    /// that their connection ends, and idle ones are closed when no request has come for a while. Connections that wait
    /// on our own socket are served; on a socket that is shared they are left to those who share it.
    pub(crate) async fn drain(self, listener: TcpListener, shared: bool) {
        self.phase.send_replace(Phase::Draining);
        let quiet = tokio::time::timeout(QUIET_WITHIN, self.quiet());
        if shared {
            drop(listener);
            quiet.await.unwrap_or_default();
        } else {
            tokio::select! {
                () = self.accept(&listener) => {}
                _ = quiet => {}
            }
            drop(listener);
        }
        self.phase.send_replace(Phase::Closing);
        // The router holds the farewell's receiver, which would never go.
        let Self { router, phase, .. } = self;
        drop(router);
        phase.closed().await;
    }

    /// Returns when no request has come for a while, at once when there is no connection.
    async fn quiet(&self) {
        while self.lanes.connections() > 0 {
            let before = self.requests.load(Ordering::Relaxed);
            tokio::time::sleep(QUIET).await;
            if self.requests.load(Ordering::Relaxed) == before {
                return;
            }
        }
    }
}

/// Serves one connection until it ends, or is told to.
async fn converse(
    builder: &auto::Builder<TokioExecutor>,
    stream: TcpStream,
    service: AddExtension<Router, ConnectInfo<SocketAddr>>,
    mut phase: watch::Receiver<Phase>,
) {
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::pin!(connection);
    let closing = async {
        // An error means that nobody serves any more.
        let _ = phase.wait_for(|phase| *phase == Phase::Closing).await.map(drop);
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = closing => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}

/// Asks clients of HTTP/2 that say nothing for some time whether they are still there, and lets go those that do not answer.
/// Unlike a connection of HTTP/1.1, an idle one whose client does stays: nothing of it waits for a request's head.
fn keep_alive(builder: &mut auto::Builder<TokioExecutor>, idle_max: Duration, pong_within: Duration) {
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(idle_max).keep_alive_timeout(pong_within);
}

async fn say_farewell(
    axum::extract::State(farewell): axum::extract::State<Farewell>,
    request: Request,
    next: Next,
) -> Response {
    farewell.requests.fetch_add(1, Ordering::Relaxed);
    let http1 = request.version() < Version::HTTP_2;
    let mut response = next.run(request).await;
    if http1 && *farewell.phase.borrow() != Phase::Serving {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const TYPE_PING: u8 = 6;

    #[tokio::test]
    async fn a_client_of_http_2_that_has_gone_is_asked_and_let_go() {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        keep_alive(&mut builder, Duration::from_millis(20), Duration::from_millis(20));
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let service = TowerToHyperService::new(Router::new());
        let connection = builder.serve_connection(TokioIo::new(server), service).into_owned();
        let ended = tokio::spawn(connection);
        // It comes and is never heard of again: preface, empty SETTINGS. Source: RFC 9113, 3.4 and 4.1.
        client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        let mut said = Vec::new();
        client.read_to_end(&mut said).await.unwrap();
        assert!(ended.await.unwrap().is_err(), "nobody answers");
        let (mut rest, mut types) = (&said[..], Vec::new());
        while let [a, b, c, ty, tail @ ..] = rest {
            types.push(*ty);
            let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            rest = tail.get(5 + length..).unwrap_or_default();
        }
        assert!(types.contains(&TYPE_PING), "frames of types {types:?}");
    }
}
