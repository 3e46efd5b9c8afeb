//! One revision: its replicas, and the activator that every request to it goes through.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use http::{Request, Response, StatusCode};
use regrove_knative::autoscaler::AutoscalingConfig;
use regrove_knative::manifest::Probe;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::answer::plain;
use super::body::Body;
use super::forward::{Forwarded, forward};
use super::output::LogTail;
use super::process::Spawner;
use super::replica::{Replica, supervise};
use super::table::{Lease, Refusal, Table, Turn};
use crate::events_out::EventsOut;
use crate::runtime_event::{ColdStart, RuntimeEvent, StopReason};

/// How often a request is given another replica because the one it got could not be reached.
const REPLICAS_TRIED_MAX: usize = 3;

/// What an image was resolved to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExecCommand {
    pub(crate) program: OsString,
    pub(crate) args: Vec<String>,
    pub(crate) dir: Option<PathBuf>,
}

/// A revision as it is to be run.
#[derive(Debug, Clone)]
pub(crate) struct RevisionSpec {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Name of the revision, `<service>-00001` unless the manifest names it.
    pub(crate) revision: String,
    pub(crate) cluster_local: bool,
    pub(crate) command: ExecCommand,
    /// Variables of the process, all but `PORT` and `LISTEN_FDS`.
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) inherits_socket: bool,
    pub(crate) concurrency: u32,
    pub(crate) timeout: Duration,
    pub(crate) response_start_timeout: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) container_port: u16,
    pub(crate) readiness: Probe,
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
    pub(crate) tail: LogTail,
    /// Told when a request has to wait: the autoscaler need not wait for its tick.
    pub(crate) poked: Notify,
    /// Told when a replica becomes ready or is gone.
    pub(crate) changed: Notify,
    tasks: TaskTracker,
    kill: CancellationToken,
    ready_once: AtomicBool,
    closing: OnceLock<Duration>,
    cold_starts: Mutex<Vec<f64>>,
}

/// How the runtime as a whole bears on a revision.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    pub(crate) spawner: Spawner,
    pub(crate) events: EventsOut,
    pub(crate) tasks: TaskTracker,
    pub(crate) kill: CancellationToken,
}

impl Revision {
    pub(crate) fn new(spec: RevisionSpec, around: Surroundings) -> Arc<Self> {
        Arc::new(Self {
            table: Arc::new(Table::new(spec.concurrency)),
            spec,
            spawner: around.spawner,
            events: around.events,
            tail: LogTail::default(),
            poked: Notify::new(),
            changed: Notify::new(),
            tasks: around.tasks,
            kill: around.kill,
            ready_once: AtomicBool::new(false),
            closing: OnceLock::new(),
            cold_starts: Mutex::new(Vec::new()),
        })
    }

    /// How long a replica may take to become ready.
    pub(crate) fn progress_deadline(&self) -> Duration {
        self.spec.autoscaling.progress_deadline
    }

    /// How long requests under way may keep a replica that has to go.
    pub(crate) fn drain_time(&self) -> Duration {
        self.closing.get().map_or(self.spec.timeout, |bound| self.spec.timeout.min(*bound))
    }

    /// Time between SIGTERM and SIGKILL.
    pub(crate) fn grace_period(&self) -> Duration {
        self.drain_time()
    }

    /// Whether any replica ever became ready.
    pub(crate) fn has_been_ready(&self) -> bool {
        self.ready_once.load(Ordering::Acquire)
    }

    /// Milliseconds that each start from zero cost the request which caused it, its own work left out.
    pub(crate) fn cold_starts(&self) -> Vec<f64> {
        self.cold_starts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends one request through, holding it while there is no replica, and answers in any case.
    pub(crate) async fn serve(self: &Arc<Self>, request: Request<Body>) -> Response<Body> {
        let arrived = Instant::now();
        let deadline = Box::pin(tokio::time::sleep_until((arrived + self.spec.timeout).into()));
        let arrival = self.table.arrive();
        let bound = self.spec.response_start_timeout.unwrap_or(self.spec.timeout);
        let timeout = tokio::time::sleep_until((arrived + bound).into());
        let served = self.serve_in_time(request, arrived);
        let answer = tokio::select! {
            answer = served => answer,
            () = timeout => Err(plain(StatusCode::GATEWAY_TIMEOUT, "activator request timeout")),
        };
        match answer {
            Ok(forwarded) => forwarded.into_response(deadline, self.spec.idle_timeout, arrival),
            Err(response) => response,
        }
    }

    async fn serve_in_time(
        self: &Arc<Self>,
        mut request: Request<Body>,
        arrived: Instant,
    ) -> Result<Forwarded, Response<Body>> {
        for _ in 0..REPLICAS_TRIED_MAX {
            let lease = match self.lease(arrived).await {
                Ok(lease) => lease,
                Err(refusal) => return Err(plain(StatusCode::SERVICE_UNAVAILABLE, refusal.to_string())),
            };
            match forward(self, lease, request).await {
                Ok(forwarded) => return Ok(forwarded),
                Err(failed) => match failed.unsent {
                    Some(unsent) => request = *unsent,
                    None => return Err(plain(StatusCode::BAD_GATEWAY, failed.reason)),
                },
            }
        }
        Err(plain(StatusCode::BAD_GATEWAY, format!("{}: no replica could be reached", self.spec.revision)))
    }

    async fn lease(self: &Arc<Self>, arrived: Instant) -> Result<Lease, Refusal> {
        match self.table.enter()? {
            Turn::Now(lease) => Ok(lease),
            Turn::Later { lease, starts } => {
                if self.closing.get().is_some() {
                    return Err(Refusal::Unavailable("the runtime is shutting down".to_owned()));
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
            Replica::new(&self.spec.revision, number, self.spec.inherits_socket, cause, kill)
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
        self.tasks.spawn(supervise(Arc::clone(self), replica));
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

    /// Starts no more replicas and drains those there are, each within `bound`.
    pub(crate) fn close(&self, bound: Duration) {
        // A second call changes nothing.
        self.closing.get_or_init(|| bound);
        self.table.refuse_waiting(&Refusal::Unavailable("the runtime is shutting down".to_owned()));
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
        self.cold_starts.lock().unwrap_or_else(PoisonError::into_inner).push(split.start_ms());
        self.events.send(|| RuntimeEvent::ColdStart {
            service: self.spec.service(),
            replica: replica.name.clone(),
            split,
        });
    }

    /// A replica has passed its probe.
    pub(crate) fn mark_ready(&self) {
        self.ready_once.store(true, Ordering::Release);
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
