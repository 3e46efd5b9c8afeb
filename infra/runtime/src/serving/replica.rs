//! One replica: a place for a process that is started, started again when it crashes, and stopped.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::process::Child;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::log_book::Label;
use super::output::capture;
use super::pool::Pool;
use super::process::{Launch, signal_group};
use super::revision::Revision;
use super::table::{Phase, Refusal};
use super::{port, probe};
use crate::runtime_event::{ColdStart, RuntimeEvent, StopReason, Stream, millis};

/// Wait after the first crash; doubles with each further one.
const CRASH_BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// Longest wait between two starts. A cluster goes up to 5 min; here somebody is watching.
const CRASH_BACKOFF_MAX: Duration = Duration::from_secs(5);
/// A process that lived this long has not crashed on start: the wait begins anew.
const CRASH_FORGOTTEN_AFTER: Duration = Duration::from_secs(30);
/// Connections that may wait in an inherited socket.
const BACKLOG: i32 = 1024;

/// When the stages of a start from zero were reached.
#[derive(Debug, Clone, Copy)]
struct Stages {
    /// Arrival of the request that caused the start.
    arrived: Instant,
    started: Instant,
    spawned: Option<Instant>,
    ready: Option<Instant>,
}

/// How a replica is reached.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Socket {
    /// Whether it takes the listening socket from the runtime.
    pub(crate) inherited: bool,
    /// Whether it speaks HTTP/2 rather than HTTP/1.1.
    pub(crate) http2: bool,
}

/// A replica of a revision.
#[derive(Debug)]
pub(crate) struct Replica {
    /// `<revision>-<number>`.
    pub(crate) name: String,
    /// Counted from 1 within the revision.
    pub(crate) number: u64,
    /// Kept connections.
    pub(crate) pool: Arc<Pool>,
    /// Told when the last request of a draining replica ends.
    pub(crate) drained: Notify,
    /// Ends the replica after its requests.
    pub(crate) retire: CancellationToken,
    /// Ends the replica at once.
    pub(crate) kill: CancellationToken,
    listener: Option<Arc<TcpListener>>,
    port: AtomicU16,
    answered: AtomicBool,
    stages: Mutex<Option<Stages>>,
}

impl Replica {
    /// `cause` is the arrival of the request that found no replica, if one did.
    pub(crate) fn new(
        revision: &str,
        number: u64,
        socket: Socket,
        cause: Option<Instant>,
        kill: CancellationToken,
    ) -> io::Result<Self> {
        let listener = if socket.inherited { Some(listen_free()?) } else { None };
        let port = match &listener {
            Some(listener) => listener.local_addr()?.port(),
            None => 0,
        };
        Ok(Self {
            name: format!("{revision}-{number}"),
            number,
            pool: Arc::new(Pool::new(socket.http2)),
            drained: Notify::new(),
            retire: CancellationToken::new(),
            kill,
            listener: listener.map(Arc::new),
            port: AtomicU16::new(port),
            answered: AtomicBool::new(false),
            stages: Mutex::new(cause.map(|arrived| Stages {
                arrived,
                started: Instant::now(),
                spawned: None,
                ready: None,
            })),
        })
    }

    /// Where the process listens.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port.load(Ordering::Acquire)))
    }

    /// Whether anything has come back from the process yet; a cheap check before [`Replica::reached`].
    pub(crate) fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Acquire)
    }

    fn stage(&self, note: impl FnOnce(&mut Stages)) {
        if let Some(stages) = self.stages.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            note(stages);
        }
    }

    /// Where the time of a start from zero went; given out once, with the first byte of an answer.
    pub(crate) fn take_cold_start(&self) -> Option<ColdStart> {
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        let Stages { arrived, started, spawned: Some(spawned), ready: Some(ready) } = (*stages)? else {
            return None;
        };
        *stages = None;
        Some(ColdStart {
            queue_ms: millis(started.saturating_duration_since(arrived)),
            spawn_ms: millis(spawned.saturating_duration_since(started)),
            ready_ms: millis(ready.saturating_duration_since(spawned)),
            first_byte_ms: millis(ready.elapsed()),
        })
    }

    /// The process has answered: a probe, or a request.
    pub(crate) fn reached(self: &Arc<Self>, revision: &Revision) {
        self.stage(|stages| stages.ready = stages.ready.or_else(|| Some(Instant::now())));
        revision.mark_ready();
        if revision.table.set_phase(self, Phase::Ready) {
            revision
                .events
                .send(|| RuntimeEvent::ReplicaReady { service: revision.spec.service(), replica: self.name.clone() });
            revision.changed.notify_one();
        }
        // Last: whoever sees it on another thread finds the rest done, such as the stage of a cold start.
        self.answered.store(true, Ordering::Release);
    }
}

fn listen_free() -> io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    // The standard library's backlog is 128; a second `listen` sets it anew.
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener)
}

/// How one life of the process ended.
enum Ended {
    Crashed(String),
    Stopped(StopReason),
}

/// Keeps the replica's process alive until the replica is retired or killed. Removes the replica in the end.
pub(crate) async fn supervise(revision: Arc<Revision>, replica: Arc<Replica>) {
    let mut backoff = CRASH_BACKOFF_FIRST;
    let deadline = Instant::now() + revision.progress_deadline();
    let mut last_crash = String::new();
    let reason = loop {
        let began = Instant::now();
        let ended = match start(&revision, &replica).await {
            Ok(child) => live(&revision, &replica, child, deadline).await,
            Err(error) => {
                let run = revision.run();
                let program = run.command.program.to_string_lossy();
                let reason = format!("{}: cannot start `{program}`: {error}", revision.spec.revision);
                tracing::error!("{reason}");
                // Nobody waits for a command that is not there; it is tried again all the same, someone may put it there.
                revision.table.refuse_waiting(&Refusal::Unavailable(reason.clone()));
                Ended::Crashed(reason)
            }
        };
        match ended {
            Ended::Stopped(StopReason::NeverReady) => {
                never_ready(&revision, &last_crash);
                break StopReason::NeverReady;
            }
            Ended::Stopped(reason) => break reason,
            Ended::Crashed(status) => last_crash = status,
        }
        replica.answered.store(false, Ordering::Release);
        replica.stage(|stages| stages.ready = None);
        revision.table.set_phase(&replica, Phase::Down);
        replica.pool.clear();
        revision.changed.notify_one();
        if began.elapsed() > CRASH_FORGOTTEN_AFTER {
            backoff = CRASH_BACKOFF_FIRST;
        }
        revision.metrics.note_crash(&revision.spec.service());
        tracing::warn!(replica = replica.name, status = last_crash, ?backoff, "the process ended by itself");
        revision.events.send(|| RuntimeEvent::ReplicaCrashed {
            service: revision.spec.service(),
            replica: replica.name.clone(),
            status: last_crash.clone(),
            backoff_ms: u64::try_from(backoff.as_millis()).unwrap_or(u64::MAX),
        });
        tokio::select! {
            () = tokio::time::sleep(backoff) => backoff = (backoff * 2).min(CRASH_BACKOFF_MAX),
            () = replica.retire.cancelled() => break StopReason::ScaledDown,
            () = replica.kill.cancelled() => break StopReason::ScaledDown,
        }
        if Instant::now() >= deadline && !revision.has_been_ready() {
            never_ready(&revision, &last_crash);
            break StopReason::NeverReady;
        }
    };
    revision.table.remove(&replica);
    replica.pool.clear();
    revision.tell_stopped(&replica, reason);
    if left_requests_waiting(&revision) {
        revision.start_for_waiting();
    }
}

/// Requests may have queued up behind the last replica just as it went.
fn left_requests_waiting(revision: &Revision) -> bool {
    let counts = revision.table.counts();
    counts.waiting > 0 && counts.ready + counts.starting == 0
}

fn never_ready(revision: &Revision, last_crash: &str) {
    let last =
        if last_crash.is_empty() { String::new() } else { format!("; its last process ended with {last_crash}") };
    let reason = format!(
        "{} did not become ready within {} s{last}",
        revision.spec.revision,
        revision.progress_deadline().as_secs_f64()
    );
    tracing::error!("{reason}");
    revision.table.refuse_waiting(&Refusal::Unavailable(reason));
}

async fn start(revision: &Arc<Revision>, replica: &Arc<Replica>) -> io::Result<Child> {
    revision
        .events
        .send(|| RuntimeEvent::ReplicaStarting { service: revision.spec.service(), replica: replica.name.clone() });
    let run = revision.run();
    let mut env = run.env.clone();
    if replica.listener.is_some() {
        env.insert("LISTEN_FDS".to_owned(), "1".to_owned());
    } else {
        replica.port.store(port::free()?, Ordering::Release);
    }
    // As a pod knows its own name.
    env.entry("HOSTNAME".to_owned()).or_insert_with(|| replica.name.clone());
    env.insert("PORT".to_owned(), replica.port.load(Ordering::Acquire).to_string());
    let launch = Launch {
        program: run.command.program.clone(),
        args: run.command.args.clone(),
        env,
        dir: run.command.dir.clone(),
        listener: replica.listener.clone(),
    };
    let mut child = revision.spawner.spawn(launch).await?;
    replica.stage(|stages| stages.spawned = Some(Instant::now()));
    let label = |stream| Label { service: revision.spec.service(), replica: replica.name.clone(), stream };
    if let Some(pipe) = child.stdout.take() {
        let (logs, label) = (Arc::clone(&revision.logs), label(Stream::Stdout));
        tokio::spawn(async move { capture(pipe, label, &logs).await });
    }
    if let Some(pipe) = child.stderr.take() {
        let (logs, label) = (Arc::clone(&revision.logs), label(Stream::Stderr));
        tokio::spawn(async move { capture(pipe, label, &logs).await });
    }
    if replica.listener.is_some() {
        revision.table.set_phase(replica, Phase::Early);
    }
    Ok(child)
}

/// One life of the process, until it ends or has to.
async fn live(revision: &Arc<Revision>, replica: &Arc<Replica>, mut child: Child, deadline: Instant) -> Ended {
    let probes = probe::watch(revision, replica, replica.listener.is_some());
    tokio::pin!(probes);
    tokio::select! {
        reason = &mut probes => {
            // No new requests; those under way share the fate of the process.
            revision.table.set_phase(replica, Phase::Down);
            end(replica, child, revision.grace_period()).await;
            Ended::Crashed(reason)
        }
        exit = child.wait() => {
            Ended::Crashed(exit.map_or_else(|error| error.to_string(), |status| status.to_string()))
        }
        () = replica.retire.cancelled() => {
            stop(revision, replica, child).await;
            Ended::Stopped(StopReason::ScaledDown)
        }
        () = replica.kill.cancelled() => {
            kill(child).await;
            Ended::Stopped(StopReason::ScaledDown)
        }
        () = not_ready_in_time(replica, deadline) => {
            revision.table.set_phase(replica, Phase::Draining);
            kill(child).await;
            Ended::Stopped(StopReason::NeverReady)
        }
    }
}

/// Returns at the deadline if nothing has come from the replica by then.
async fn not_ready_in_time(replica: &Replica, deadline: Instant) {
    tokio::time::sleep_until(deadline.into()).await;
    if replica.has_answered() {
        std::future::pending::<()>().await;
    }
}

/// Waits for the requests under way, then SIGTERM, then SIGKILL after the grace period.
async fn stop(revision: &Arc<Revision>, replica: &Arc<Replica>, mut child: Child) {
    tokio::select! {
        () = replica.drained.notified() => {}
        _ = child.wait() => return,
        () = tokio::time::sleep(revision.drain_time()) => {
            tracing::warn!(replica = replica.name, "requests were still under way when the time to drain was over");
        }
        () = replica.kill.cancelled() => return kill(child).await,
    }
    end(replica, child, revision.grace_period()).await;
}

/// SIGTERM, then SIGKILL after the grace period, or at once when the replica is killed.
async fn end(replica: &Arc<Replica>, mut child: Child, grace: Duration) {
    signal_group(&child, Signal::TERM);
    tokio::select! {
        _ = child.wait() => {}
        () = tokio::time::sleep(grace) => {
            tracing::warn!(replica = replica.name, "still alive after SIGTERM and its grace period: killed");
            kill(child).await;
        }
        () = replica.kill.cancelled() => kill(child).await,
    }
}

async fn kill(mut child: Child) {
    signal_group(&child, Signal::KILL);
    if let Err(error) = child.wait().await {
        tracing::warn!(%error, "a killed process was not waited for");
    }
}
