//! Listens, serves, drains.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use jiff::Timestamp;
use listenfd::ListenFd;
use regrove_mlflow::Record;
use regrove_store::{Control, StoreKind};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use url::Url;

use crate::connections::Connections;
use crate::observe::{Observer, observe};
use crate::otlp::{Exporter, OtlpArgs};
use crate::payload::PayloadLimits;
use crate::{Needs, fallback, metrics, needs};

/// Largest request body in bytes unless `REGROVE_BODY_BYTES_MAX` says otherwise: 16 MiB.
pub const BODY_BYTES_MAX: usize = 16 << 20;
/// Bytes of all bodies in memory unless `REGROVE_BODIES_BYTES_MAX` says otherwise: 256 MiB.
pub const BODIES_BYTES_MAX: usize = 256 << 20;
/// Seconds that a client may take to send a body unless `REGROVE_BODY_SECONDS` says otherwise.
pub const BODY_SECONDS: u64 = 30;
/// Seconds that requests may take to end after SIGTERM unless `REGROVE_DRAIN_SECONDS` says otherwise.
pub const DRAIN_SECONDS: u64 = 300;
/// Path of the health check.
pub(crate) const HEALTH_PATH: &str = "/healthz";

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
    /// Where AWS Lambda has invocations for this process; Lambda sets it
    #[arg(long, env = "AWS_LAMBDA_RUNTIME_API", value_name = "ADDRESS", hide = true)]
    pub lambda_runtime_api: Option<String>,
    /// Queues instead of a broker
    #[cfg(feature = "aws")]
    #[command(flatten)]
    pub sqs: regrove_sqs::SqsArgs,
    /// What has to answer before this process is ready; see [`needing`](Self::needing)
    #[arg(skip)]
    pub needs: Needs,
    /// Largest request body in bytes, before and after decompression
    #[arg(long, env = "REGROVE_BODY_BYTES_MAX", default_value_t = BODY_BYTES_MAX)]
    pub body_bytes_max: usize,
    /// Bytes of all request bodies in memory, each counted before and after decompression; more are answered 503 with
    /// Retry-After
    #[arg(long, env = "REGROVE_BODIES_BYTES_MAX", default_value_t = BODIES_BYTES_MAX)]
    pub bodies_bytes_max: usize,
    /// Seconds that a client may take to send a body
    #[arg(long, env = "REGROVE_BODY_SECONDS", default_value_t = BODY_SECONDS, value_name = "SECONDS")]
    pub body_seconds: u64,
    /// Seconds that requests under way may take to end after SIGTERM
    #[arg(long, env = "REGROVE_DRAIN_SECONDS", default_value_t = DRAIN_SECONDS)]
    pub drain_seconds: u64,
    /// Log a line for every request
    #[arg(long, env = "REGROVE_ACCESS_LOG", value_name = "BOOL", num_args = 0..=1, default_value_t = false,
          default_missing_value = "true", action = clap::ArgAction::Set)]
    pub access_log: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub otlp: OtlpArgs,
}

impl Default for HostArgs {
    fn default() -> Self {
        Self {
            port: 8080,
            sink: None,
            lambda_runtime_api: None,
            #[cfg(feature = "aws")]
            sqs: regrove_sqs::SqsArgs::default(),
            needs: Needs::default(),
            body_bytes_max: BODY_BYTES_MAX,
            bodies_bytes_max: BODIES_BYTES_MAX,
            body_seconds: BODY_SECONDS,
            drain_seconds: DRAIN_SECONDS,
            access_log: false,
            otlp: OtlpArgs::default(),
        }
    }
}

impl HostArgs {
    pub(crate) fn payload_limits(&self) -> PayloadLimits {
        PayloadLimits {
            bytes_max: self.body_bytes_max,
            // Whoever allows a body that is larger than all may be has set one of the two only.
            all_bytes_max: self.bodies_bytes_max.max(self.body_bytes_max.saturating_mul(2)),
            time_max: Duration::from_secs(self.body_seconds),
        }
    }
}

impl HostArgs {
    /// The same host, not ready before the store has answered, and MLflow if there is one.
    #[must_use]
    pub fn needing(mut self, control: &Control, record: Option<&Record>) -> Self {
        self.needs.control(control);
        if let Some(record) = record {
            self.needs.record(record);
        }
        self
    }
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
    /// Requests were still under way when the time to drain was over.
    #[error("requests were still under way {seconds} s after SIGTERM (REGROVE_DRAIN_SECONDS)")]
    Drain {
        /// The bound.
        seconds: u64,
    },
    /// A function that emits has nowhere to emit to.
    #[error("K_SINK is not set: bind this function to a broker with a SinkBinding")]
    NoSink,
    /// It would have to choose.
    #[error("K_SINK and REGROVE_SQS_QUEUES are both set: events go to a broker or to queues, not to both")]
    TwoSinks,
    /// Queues were named, and they cannot be used.
    #[error("the queues cannot be used")]
    Queues(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Lambda has invocations for a program that cannot take them.
    #[error("AWS_LAMBDA_RUNTIME_API is set, but this program was built without the feature `aws`")]
    WithoutAws,
    /// The state would be in files of one instance, and gone with it.
    #[error(
        "REDIS_URL is not set: on AWS Lambda no two invocations need share a disk, so the state has to be in Redis"
    )]
    NoRedis,
    /// Lambda's runtime API failed.
    #[error("AWS Lambda's runtime API at {address} failed")]
    Lambda {
        /// `AWS_LAMBDA_RUNTIME_API`.
        address: String,
        /// What it said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The wall clock. The only place where a function reads it.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Time since the process began to run our code.
pub fn since_start() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// Serves a function's router until SIGTERM or SIGINT, then lets requests under way end. Under AWS Lambda, answers
/// invocations until Lambda ends the process.
///
/// # Errors
/// [`Error`]; the caller ends the process with it.
pub async fn serve(args: &HostArgs, router: Router) -> Result<(), Error> {
    if let Some(address) = &args.lambda_runtime_api {
        if args.needs.store == Some(StoreKind::Embedded) {
            return Err(Error::NoRedis);
        }
        return Box::pin(on_lambda(args, address, router)).await;
    }
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signal)?;
    let (listener, inherited) = listen(args.port).await?;
    tracing::debug!(address = ?listener.local_addr(), "listening");
    #[cfg(target_os = "linux")]
    tokio::spawn(crate::code::give_back_after_start());
    metrics::get().cold_start("listening", since_start());
    let exporter = Exporter::start(&args.otlp);
    let connections = Connections::new(application(args, router, exporter.clone()));
    tokio::select! {
        () = connections.accept(&listener) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    let time_max = Duration::from_secs(args.drain_seconds);
    let drained = tokio::time::timeout(time_max, connections.drain(listener, inherited)).await;
    if let Some(exporter) = exporter {
        exporter.flush().await;
    }
    drained.map_err(|_| Error::Drain { seconds: args.drain_seconds })
}

#[cfg(feature = "aws")]
async fn on_lambda(args: &HostArgs, address: &str, router: Router) -> Result<(), Error> {
    let queues = args.sqs.open().map_err(|error| Error::Queues(Box::new(error)))?;
    let ended = Box::pin(crate::lambda::run(with_defaults(args, router), queues)).await;
    ended.map_err(|source| Error::Lambda { address: address.to_owned(), source })
}

#[cfg(not(feature = "aws"))]
#[expect(clippy::unused_async, reason = "its counterpart waits")]
async fn on_lambda(_: &HostArgs, _: &str, _: Router) -> Result<(), Error> {
    Err(Error::WithoutAws)
}

/// Adds what every function answers alike: `/healthz`, which is well when all that the function needs has answered, `/metrics`, the body limit, problems for panics, wrong paths and
/// methods.
///
/// Must be called within a runtime.
pub fn with_defaults(args: &HostArgs, router: Router) -> Router {
    application(args, router, None)
}

fn application(args: &HostArgs, router: Router, exporter: Option<Exporter>) -> Router {
    let readiness = args.needs.watch(needs::PAUSE);
    let router = router
        .route(HEALTH_PATH, get(move || async move { readiness.probe().await }))
        .route(metrics::PATH, get(metrics::show))
        .fallback(fallback::no_such_path)
        .method_not_allowed_fallback(fallback::method_not_allowed);
    fallback::catch_panics(router)
        .layer(DefaultBodyLimit::max(args.body_bytes_max))
        .layer(from_fn_with_state(Observer::new(args, exporter), observe))
}

/// The socket, and whether whoever started this process holds it too.
async fn listen(port: u16) -> Result<(TcpListener, bool), Error> {
    if let Some(inherited) = ListenFd::from_env().take_tcp_listener(0).map_err(Error::Inherited)? {
        inherited.set_nonblocking(true).map_err(Error::Inherited)?;
        return Ok((TcpListener::from_std(inherited).map_err(Error::Inherited)?, true));
    }
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let listener = TcpListener::bind(address).await.map_err(|source| Error::Listen { port, source })?;
    Ok((listener, false))
}
