//! One revision: its replicas, and the activator that every request to it goes through.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use http::{Request, Response, StatusCode};
use regrove_knative::autoscaler::AutoscalingConfig;
use regrove_knative::manifest::Probe;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::answer::plain;
use super::body::Body;
use super::forward::{Forwarded, forward};
use super::log_book::LogBook;
use super::process::Spawner;
use super::replica::{Replica, Socket, supervise};
use super::table::{Lease, Refusal, Table, Turn};
use crate::clock::now_ms;
use crate::events_out::EventsOut;
use crate::metrics::Metrics;
use crate::runtime_event::{ColdStart, RuntimeEvent, StopReason};
use crate::status::ColdStartRecord;

/// How often a request is given a replica again because the one it got could not be reached, as often as Knative's
/// activator dials.
const REPLICAS_TRIED_MAX: i32 = 15;
/// Wait after the first time: the end of a process is noticed a little later than its connections.
const UNREACHED_BACKOFF: Duration = Duration::from_millis(50);
/// Factor on every further wait.
const UNREACHED_BACKOFF_FACTOR: f64 = 1.4;

/// What a client is told whose request took too long.
pub(crate) const TIMED_OUT: &str = "activator request timeout";

/// Starts from zero that are kept per revision.
const COLD_STARTS_KEPT: usize = 1_000;
/// Variables that a sink binding sets. A change of them is one of the template in a cluster.
const SINK_VARIABLES: [&str; 2] = ["K_SINK", "K_CE_OVERRIDES"];

/// What an image was resolved to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExecCommand {
    pub(crate) program: OsString,
    pub(crate) args: Vec<String>,
    pub(crate) dir: Option<PathBuf>,
}

/// What a process of a revision is started from. The one part of a revision that may change, as what an image, a
/// `ConfigMap` or a `Secret` stands for may; processes that run already keep theirs.
#[derive(Debug, Clone)]
pub(crate) struct RunSpec {
    pub(crate) command: ExecCommand,
    /// Variables of the process, all but `PORT` and `LISTEN_FDS`.
    pub(crate) env: BTreeMap<String, String>,
}

/// A revision as it is to be run.
#[derive(Debug, Clone)]
pub(crate) struct RevisionSpec {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Name of the revision, `<service>-00001` unless the manifest names it.
    pub(crate) revision: String,
    pub(crate) run: RunSpec,
    pub(crate) inherits_socket: bool,
    pub(crate) concurrency: u32,
    pub(crate) timeout: Duration,
    pub(crate) response_start_timeout: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) container_port: u16,
    /// Whether the process speaks HTTP/2 without TLS (`h2c`) rather than HTTP/1.1.
    pub(crate) http2: bool,
    pub(crate) readiness: Probe,
    pub(crate) liveness: Option<Probe>,
    pub(crate) startup: Option<Probe>,
    /// As of the start; see [`Revision::autoscaling`].
    pub(crate) autoscaling: AutoscalingConfig,
}

impl RevisionSpec {
    /// `namespace/service`, as events and listings name it.
    pub(crate) fn service(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// A revision at work.
#[derive(Debug)]
pub(crate) struct Revision {
    pub(crate) spec: RevisionSpec,
    pub(crate) table: Arc<Table>,
    pub(crate) spawner: Spawner,
    pub(crate) events: EventsOut,
    pub(crate) logs: Arc<LogBook>,
    pub(crate) metrics: Arc<Metrics>,
    /// Whether it has to become ready before it gets traffic, as an earlier revision still serves.
    pub(crate) proves: bool,
    /// Told when a request has to wait: the autoscaler need not wait for its tick.
    pub(crate) poked: Notify,
    /// Told when a replica becomes ready or is gone.
    pub(crate) changed: Notify,
    /// Told when the revision becomes reachable, or no longer is.
    pub(crate) rerouted: Notify,
    /// Cancelled when the first replica becomes ready.
    pub(crate) ready: CancellationToken,
    /// Cancelled when nothing leads to the revision any more: its autoscaler ends.
    pub(crate) retired: CancellationToken,
    /// Told when the autoscaler is to work with other numbers.
    pub(crate) rescaled: Notify,
    run: RwLock<Arc<RunSpec>>,
    autoscaling: RwLock<Arc<AutoscalingConfig>>,
    reachable: AtomicBool,
    tasks: TaskTracker,
    main: Handle,
    kill: CancellationToken,
    closing: OnceLock<Closing>,
    cold_starts: Mutex<VecDeque<ColdStartRecord>>,
    cold_start_count: AtomicUsize,
}

/// Why and how fast a revision ends.
#[derive(Debug)]
struct Closing {
    bound: Duration,
    reason: &'static str,
}

/// How the runtime as a whole bears on a revision.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    pub(crate) spawner: Spawner,
    pub(crate) events: EventsOut,
    pub(crate) logs: Arc<LogBook>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) tasks: TaskTracker,
    /// Where replicas are looked after, whichever thread found that there is none.
    pub(crate) main: Handle,
    pub(crate) kill: CancellationToken,
}

/// The waits between attempts to reach a replica, as many as there are attempts.
pub(crate) fn waits() -> impl Iterator<Item = Duration> {
    (0..REPLICAS_TRIED_MAX).map(|attempt| UNREACHED_BACKOFF.mul_f64(UNREACHED_BACKOFF_FACTOR.powi(attempt)))
}

impl Revision {
    pub(crate) fn new(spec: RevisionSpec, proves: bool, around: Surroundings) -> Arc<Self> {
        Arc::new(Self {
            table: Arc::new(Table::new(spec.concurrency)),
            run: RwLock::new(Arc::new(spec.run.clone())),
            autoscaling: RwLock::new(Arc::new(spec.autoscaling.clone())),
            spec,
            spawner: around.spawner,
            events: around.events,
            logs: around.logs,
            metrics: around.metrics,
            proves,
            poked: Notify::new(),
            changed: Notify::new(),
            rerouted: Notify::new(),
            rescaled: Notify::new(),
            ready: CancellationToken::new(),
            retired: CancellationToken::new(),
            reachable: AtomicBool::new(true),
            tasks: around.tasks,
            main: around.main,
            kill: around.kill,
            closing: OnceLock::new(),
            cold_starts: Mutex::default(),
            cold_start_count: AtomicUsize::new(0),
        })
    }

    /// What the next process is started from.
    pub(crate) fn run(&self) -> Arc<RunSpec> {
        Arc::clone(&self.run.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What processes are started from after now. A changed sink also replaces those that run: in a cluster a sink
    /// binding changes the template.
    pub(crate) fn set_run(&self, run: RunSpec) {
        let run = Arc::new(run);
        let mut current = self.run.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *current, Arc::clone(&run));
        drop(current);
        if SINK_VARIABLES.iter().any(|name| before.env.get(*name) != run.env.get(*name)) {
            for replica in self.table.drain_down_to(0) {
                replica.retire.cancel();
            }
            self.changed.notify_one();
        }
    }

    /// What the autoscaler works with.
    pub(crate) fn autoscaling(&self) -> Arc<AutoscalingConfig> {
        Arc::clone(&self.autoscaling.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the autoscaler works with from now on: the one part of a revision, beside [`RunSpec`], that follows the
    /// cluster's settings while it is at work.
    pub(crate) fn set_autoscaling(&self, config: AutoscalingConfig) {
        let mut current = self.autoscaling.write().unwrap_or_else(PoisonError::into_inner);
        if **current != config {
            *current = Arc::new(config);
            self.rescaled.notify_one();
        }
    }

    /// Says whether a route leads to the revision.
    pub(crate) fn set_reachable(&self, reachable: bool) {
        if self.reachable.swap(reachable, Ordering::AcqRel) != reachable {
            self.rerouted.notify_one();
        }
    }

    pub(crate) fn is_reachable(&self) -> bool {
        self.reachable.load(Ordering::Acquire)
    }

    /// How long a replica may take to become ready.
    pub(crate) fn progress_deadline(&self) -> Duration {
        self.autoscaling().progress_deadline
    }

    /// How long requests under way may keep a replica that has to go.
    pub(crate) fn drain_time(&self) -> Duration {
        self.closing.get().map_or(self.spec.timeout, |closing| self.spec.timeout.min(closing.bound))
    }

    /// Time between SIGTERM and SIGKILL.
    pub(crate) fn grace_period(&self) -> Duration {
        self.drain_time()
    }

    /// Whether any replica ever became ready.
    pub(crate) fn has_been_ready(&self) -> bool {
        self.ready.is_cancelled()
    }

    /// Starts from zero since the revision is at work.
    pub(crate) fn cold_start_count(&self) -> usize {
        self.cold_start_count.load(Ordering::Relaxed)
    }

    pub(crate) fn last_cold_start(&self) -> Option<ColdStartRecord> {
        self.cold_starts.lock().unwrap_or_else(PoisonError::into_inner).back().cloned()
    }

    /// The latest starts from zero, oldest first.
    pub(crate) fn cold_starts(&self) -> Vec<ColdStartRecord> {
        self.cold_starts.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Sends one request through, holding it while there is no replica, and answers in any case.
    pub(crate) async fn serve(self: &Arc<Self>, request: Request<Body>) -> Response<Body> {
        let arrived = Instant::now();
        let mut deadline = Box::pin(tokio::time::sleep_until((arrived + self.spec.timeout).into()));
        let arrival = self.table.arrive();
        let served = self.serve_in_time(request, arrived);
        // One timer for both bounds unless they differ.
        let answer = if let Some(bound) = self.spec.response_start_timeout {
            tokio::time::timeout_at((arrived + bound).into(), served).await.ok()
        } else {
            tokio::select! {
                biased;
                answer = served => Some(answer),
                () = deadline.as_mut() => None,
            }
        };
        match answer {
            Some(Ok(forwarded)) => forwarded.into_response(deadline, self.spec.idle_timeout, arrival),
            Some(Err(response)) => response,
            None => plain(StatusCode::GATEWAY_TIMEOUT, TIMED_OUT),
        }
    }

    async fn serve_in_time(
        self: &Arc<Self>,
        mut request: Request<Body>,
        arrived: Instant,
    ) -> Result<Forwarded, Response<Body>> {
        for wait in waits() {
            let lease = match self.lease(arrived).await {
                Ok(lease) => lease,
                Err(refusal) => return Err(plain(StatusCode::SERVICE_UNAVAILABLE, refusal.to_string())),
            };
            match forward(self, lease, request).await {
                Ok(forwarded) => return Ok(forwarded),
                Err(failed) => match failed.unsent {
                    Some(unsent) => {
                        request = *unsent;
                        tokio::time::sleep(wait).await;
                    }
                    None => return Err(plain(StatusCode::BAD_GATEWAY, failed.reason)),
                },
            }
        }
        Err(plain(StatusCode::BAD_GATEWAY, self.unreached()))
    }

    /// What a client is told when no replica could be reached.
    pub(crate) fn unreached(&self) -> String {
        format!("{}: no replica could be reached", self.spec.revision)
    }

    /// Gets a slot of a replica, now or when there is one. `arrived` is when the request came.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(crate) async fn lease(self: &Arc<Self>, arrived: Instant) -> Result<Lease, Refusal> {
        match self.table.enter()? {
            Turn::Now(lease) => Ok(lease),
            Turn::Later { lease, starts } => {
                if let Some(closing) = self.closing.get() {
                    return Err(Refusal::Unavailable(closing.reason.to_owned()));
                }
                if starts {
                    self.start_one(1, Some(arrived));
                }
                self.poked.notify_one();
                lease.await.unwrap_or_else(|_| Err(Refusal::Unavailable("the runtime is shutting down".to_owned())))
            }
        }
    }

    /// Starts a replica for requests that a vanished one left behind.
    pub(crate) fn start_for_waiting(self: &Arc<Self>) {
        if self.closing.get().is_none() {
            self.start_one(1, Some(Instant::now()));
        }
    }

    fn start_one(self: &Arc<Self>, at_most: usize, cause: Option<Instant>) -> bool {
        let made = |number| {
            let kill = self.kill.child_token();
            let socket = Socket { inherited: self.spec.inherits_socket, http2: self.spec.http2 };
            Replica::new(&self.spec.revision, number, socket, cause, kill)
        };
        let mut failure = None;
        let added = self
            .table
            .try_add(at_most, |number| made(number).map(Arc::new).map_err(|error| failure = Some(error)).ok());
        if let Some(error) = failure {
            let reason = format!("{}: cannot open a socket: {error}", self.spec.revision);
            tracing::error!("{reason}");
            self.table.refuse_waiting(&Refusal::Unavailable(reason));
        }
        let Some(replica) = added else {
            return false;
        };
        self.tasks.spawn_on(supervise(Arc::clone(self), replica), &self.main);
        true
    }

    /// Brings the number of replicas to `wanted`: starts the missing ones, drains those that are too many.
    pub(crate) fn scale_to(self: &Arc<Self>, wanted: usize) {
        if self.closing.get().is_some() {
            return;
        }
        while self.start_one(wanted, None) {}
        for replica in self.table.drain_down_to(wanted) {
            replica.retire.cancel();
        }
    }

    /// Starts no more replicas and drains those there are, each within `bound`. Who waits gets the reason.
    pub(crate) fn close(&self, bound: Duration, reason: &'static str) {
        // A second call changes nothing.
        self.closing.get_or_init(|| Closing { bound, reason });
        self.table.refuse_waiting(&Refusal::Unavailable(reason.to_owned()));
        for replica in self.table.drain_down_to(0) {
            replica.retire.cancel();
        }
    }

    /// A response has come from a replica.
    pub(crate) fn answered(&self, replica: &Arc<Replica>) {
        if !replica.has_answered() {
            replica.reached(self);
        }
        if let Some(split) = replica.take_cold_start() {
            self.note_cold_start(replica, split);
        }
    }

    fn note_cold_start(&self, replica: &Replica, split: ColdStart) {
        self.metrics.note_cold_start(&self.spec.service(), &split);
        let record = ColdStartRecord {
            at_ms: now_ms(),
            service: self.spec.service(),
            revision: self.spec.revision.clone(),
            replica: replica.name.clone(),
            split,
        };
        self.cold_start_count.fetch_add(1, Ordering::Relaxed);
        let mut kept = self.cold_starts.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == COLD_STARTS_KEPT {
            kept.pop_front();
        }
        kept.push_back(record);
        drop(kept);
        self.events.send(|| RuntimeEvent::ColdStart {
            service: self.spec.service(),
            replica: replica.name.clone(),
            split,
        });
    }

    /// A replica has passed its probe.
    pub(crate) fn mark_ready(&self) {
        self.ready.cancel();
    }

    /// Tells that a replica is gone.
    pub(crate) fn tell_stopped(&self, replica: &Replica, reason: StopReason) {
        self.events.send(|| RuntimeEvent::ReplicaStopped {
            service: self.spec.service(),
            replica: replica.name.clone(),
            reason,
        });
        self.changed.notify_one();
    }
}
