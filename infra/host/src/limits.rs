//! How much a function that answers people takes on at once, and for how long.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Problem, metrics};

/// When a client that was turned away should come again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Bounds of a function that answers requests of people and programs.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// Large requests that are computed at once, the others wait; the number of processors unless set
    #[arg(long, env = "REGROVE_CONCURRENCY_MAX", value_name = "N")]
    pub concurrency_max: Option<NonZeroUsize>,
    /// Requests taken on at once, waiting ones included; more are answered 503 with Retry-After
    #[arg(long, env = "REGROVE_IN_FLIGHT_MAX", default_value = "1024", value_name = "N")]
    pub in_flight_max: NonZeroUsize,
    /// Seconds after which a request that is not answered yet is answered 504; 0 for no bound
    #[arg(long, env = "REGROVE_REQUEST_SECONDS", default_value_t = 60, value_name = "SECONDS")]
    pub request_seconds: u64,
}

impl Default for LimitArgs {
    fn default() -> Self {
        Self {
            concurrency_max: None,
            in_flight_max: NonZeroUsize::new(1024).unwrap_or(NonZeroUsize::MIN),
            request_seconds: 60,
        }
    }
}

/// Lets in what the limits allow. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    in_flight: AtomicUsize,
    in_flight_max: usize,
    time_max: Option<Duration>,
    computing: Arc<Semaphore>,
}

impl Gate {
    /// A gate with these limits.
    pub fn new(args: &LimitArgs) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let concurrency = args.concurrency_max.map_or(processors, NonZeroUsize::get).min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Inner {
            in_flight: AtomicUsize::new(0),
            in_flight_max: args.in_flight_max.get(),
            time_max: (args.request_seconds > 0).then(|| Duration::from_secs(args.request_seconds)),
            computing: Arc::new(Semaphore::new(concurrency)),
        }))
    }

    /// The router behind this gate: what is over the limit is answered 503, what takes too long 504.
    pub fn guard(&self, router: Router) -> Router {
        router.route_layer(from_fn_with_state((self.clone(), self.0.time_max), pass))
    }

    /// The same without a deadline: for those who ask with one of their own.
    pub fn admit(&self, router: Router) -> Router {
        router.route_layer(from_fn_with_state((self.clone(), None), pass))
    }

    /// A turn to compute what nobody waits for, if one is free.
    pub fn try_turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.computing).try_acquire_owned().ok()
    }

    /// Waits for a turn to compute something large. The turn ends when the permit is dropped, so whatever computes takes
    /// it along: a request that is past its deadline is still computed.
    pub async fn turn(&self) -> OwnedSemaphorePermit {
        if let Some(permit) = self.try_turn() {
            return permit;
        }
        let _queued = metrics::Up::new(&metrics::get().queue_length);
        loop {
            // Never closed.
            if let Ok(permit) = Arc::clone(&self.0.computing).acquire_owned().await {
                return permit;
            }
        }
    }
}

/// A request that is taken on, until it is answered.
struct Taken<'a>(&'a AtomicUsize);

impl<'a> Taken<'a> {
    fn try_new(in_flight: &'a AtomicUsize, max: usize) -> Option<Self> {
        if in_flight.fetch_add(1, Ordering::Relaxed) >= max {
            in_flight.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Self(in_flight))
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// 503 with `Retry-After`.
pub(crate) fn over_capacity(detail: String) -> Problem {
    Problem::new("over-capacity", StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(RETRY_AFTER)
}

async fn pass(State((gate, time_max)): State<(Gate, Option<Duration>)>, request: Request, next: Next) -> Response {
    let inner = &*gate.0;
    let Some(_taken) = Taken::try_new(&inner.in_flight, inner.in_flight_max) else {
        let detail =
            format!("{} requests are under way, no more are taken on (REGROVE_IN_FLIGHT_MAX)", inner.in_flight_max);
        return over_capacity(detail).into_response();
    };
    let answer = next.run(request);
    let Some(time_max) = time_max else { return answer.await };
    tokio::time::timeout(time_max, answer).await.unwrap_or_else(|_| {
        let detail = format!("no answer within {} s (REGROVE_REQUEST_SECONDS)", time_max.as_secs());
        Problem::new("deadline-exceeded", StatusCode::GATEWAY_TIMEOUT, detail).into_response()
    })
}
