//! Listens, serves, drains.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use http::StatusCode;
use jiff::Timestamp;
use listenfd::ListenFd;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tower_http::catch_panic::CatchPanicLayer;
use url::Url;

use crate::Problem;

/// Where a function listens, what it accepts, and where its events go.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Host")]
pub struct HostArgs {
    /// Port to listen on; a socket inherited as file descriptor 3 (`LISTEN_FDS`) goes before it
    #[arg(long, env = "PORT", default_value_t = 8080)]
    pub port: u16,
    /// Where emitted events go; a `SinkBinding` sets it
    #[arg(long = "sink", env = "K_SINK", value_name = "URL")]
    pub sink: Option<Url>,
    /// Largest request body in bytes
    #[arg(long, env = "REGROVE_BODY_BYTES_MAX", default_value_t = 16 << 20)]
    pub body_bytes_max: usize,
    /// Seconds that requests under way may take to end after SIGTERM
    #[arg(long, env = "REGROVE_DRAIN_SECONDS", default_value_t = 300)]
    pub drain_seconds: u64,
}

/// Why a function does not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The port cannot be listened on.
    #[error("cannot listen on port {port} (PORT)")]
    Listen {
        /// The port.
        port: u16,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The inherited socket is not one.
    #[error("the socket inherited as file descriptor 3 (LISTEN_FDS) cannot be used")]
    Inherited(#[source] std::io::Error),
    /// Signals cannot be waited for.
    #[error("cannot wait for SIGTERM")]
    Signal(#[source] std::io::Error),
    /// Serving ended with an error.
    #[error("serving failed")]
    Serve(#[source] std::io::Error),
    /// Requests were still under way when the time to drain was over.
    #[error("requests were still under way {seconds} s after SIGTERM (REGROVE_DRAIN_SECONDS)")]
    Drain {
        /// The bound.
        seconds: u64,
    },
}

/// The wall clock. The only place where a function reads it.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Serves a function's router until SIGTERM or SIGINT, then lets requests under way end.
///
/// # Errors
/// [`Error`]; the caller ends the process with it.
pub async fn serve(args: &HostArgs, router: Router) -> Result<(), Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signal)?;
    let listener = listen(args.port).await?;
    tracing::debug!(address = ?listener.local_addr(), "listening");
    let (drain, drained) = tokio::sync::oneshot::channel::<()>();
    let serving = axum::serve(listener, with_defaults(args, router)).with_graceful_shutdown(async {
        drained.await.unwrap_or_default();
    });
    let mut serving = tokio::spawn(serving.into_future());
    tokio::select! {
        ended = &mut serving => return finish(ended),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    // The receiver lives as long as the server does.
    drain.send(()).unwrap_or_default();
    match tokio::time::timeout(Duration::from_secs(args.drain_seconds), serving).await {
        Ok(ended) => finish(ended),
        Err(_) => Err(Error::Drain { seconds: args.drain_seconds }),
    }
}

fn finish(ended: Result<std::io::Result<()>, tokio::task::JoinError>) -> Result<(), Error> {
    ended.map_err(std::io::Error::other).and_then(|served| served).map_err(Error::Serve)
}

/// Adds what every function answers alike: `/healthz`, the body limit, problems for panics, wrong paths and methods.
pub fn with_defaults(args: &HostArgs, router: Router) -> Router {
    router
        .route("/healthz", get(|| async { "ok" }))
        .fallback(|uri: http::Uri| async move {
            // Not 404 for `/`: a broker would try again for ever what can never succeed.
            let status = if uri.path() == "/" { StatusCode::BAD_REQUEST } else { StatusCode::NOT_FOUND };
            Problem::new("no-such-path", status, format!("there is nothing at `{}`", uri.path()))
        })
        .method_not_allowed_fallback(|method: http::Method, uri: http::Uri| async move {
            let detail = format!("`{}` does not answer {method}", uri.path());
            Problem::new("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED, detail)
        })
        .layer(CatchPanicLayer::custom(|_| {
            let detail = "the function panicked; its log has the message";
            axum::response::IntoResponse::into_response(Problem::new(
                "internal-error",
                StatusCode::INTERNAL_SERVER_ERROR,
                detail,
            ))
        }))
        .layer(DefaultBodyLimit::max(args.body_bytes_max))
}

async fn listen(port: u16) -> Result<TcpListener, Error> {
    if let Some(inherited) = ListenFd::from_env().take_tcp_listener(0).map_err(Error::Inherited)? {
        inherited.set_nonblocking(true).map_err(Error::Inherited)?;
        return TcpListener::from_std(inherited).map_err(Error::Inherited);
    }
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    TcpListener::bind(address).await.map_err(|source| Error::Listen { port, source })
}
