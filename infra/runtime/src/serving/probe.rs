//! Finding out when a replica is ready, and when it no longer lives.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use regrove_knative::manifest::{Probe, ProbeAction};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::body::Body;
use super::grpc_health;
use super::pool::Pool;
use super::replica::Replica;
use super::revision::Revision;

/// Time between attempts when the probe declares no period.
const AGGRESSIVE_PERIOD: Duration = Duration::from_millis(50);
/// Bound of one attempt then.
const AGGRESSIVE_TIMEOUT: Duration = Duration::from_millis(100);
/// Time between attempts of a liveness or startup probe that declares no period, as in Kubernetes.
const LIVENESS_PERIOD: Duration = Duration::from_secs(10);
/// Bound of one attempt then.
const LIVENESS_TIMEOUT: Duration = Duration::from_secs(1);
/// Failures in a row that end the process then.
const LIVENESS_FAILURES: u32 = 3;
/// What probes say they are; functions know to leave them out of their counts.
const USER_AGENT: &str = "kube-probe/regrove";

/// Probes the process for its whole life: startup first, then readiness, which is told to the replica, and liveness.
/// Returns the reason why the process has to end.
pub(crate) async fn watch(revision: &Arc<Revision>, replica: &Arc<Replica>, inherits_socket: bool) -> String {
    if let Some(startup) = &revision.spec.startup
        && let Err(reason) = until_started(revision, replica, startup).await
    {
        return reason;
    }
    let dead = until_dead(revision, replica);
    tokio::pin!(dead);
    tokio::select! {
        reason = &mut dead => return reason,
        () = until_ready(revision, replica, inherits_socket) => replica.reached(revision),
    }
    dead.await
}

/// Returns once the replica's readiness probe has succeeded as often as it asks for.
///
/// With an inherited socket a connection always opens, so a TCP probe says nothing: then the first answer to a request
/// is what makes the replica ready. Only a revision that has to prove itself without requests is asked something. An
/// HTTP probe waits in the backlog like a request does, as long as the process lives.
async fn until_ready(revision: &Arc<Revision>, replica: &Arc<Replica>, inherits_socket: bool) {
    let probe = &revision.spec.readiness;
    if inherits_socket && matches!(probe.action, ProbeAction::Tcp { .. }) {
        if revision.has_been_ready() || !revision.proves {
            return std::future::pending().await;
        }
        while !answers(revision, replica.address()).await {
            sleep(AGGRESSIVE_PERIOD).await;
        }
        return;
    }
    let period = if probe.is_aggressive() { AGGRESSIVE_PERIOD } else { probe.period };
    let bound = if inherits_socket {
        revision.progress_deadline()
    } else if probe.is_aggressive() || probe.timeout.is_zero() {
        AGGRESSIVE_TIMEOUT
    } else {
        probe.timeout
    };
    sleep(probe.initial_delay).await;
    let mut successes = 0;
    loop {
        let succeeded = timeout(bound, attempt(revision, replica, probe)).await.unwrap_or(false);
        successes = if succeeded { successes + 1 } else { 0 };
        if successes >= probe.success_threshold.max(1) {
            return;
        }
        // A declared period is for a container that is starting on a far machine. Here the first attempt of a process
        // that has just been started fails nearly always, and nobody wants to wait a period for the second.
        sleep(period.min(AGGRESSIVE_PERIOD)).await;
    }
}

/// How often a liveness or startup probe is tried.
struct Rhythm {
    period: Duration,
    bound: Duration,
    failures_max: u32,
}

impl Rhythm {
    fn of(probe: &Probe) -> Self {
        if probe.is_aggressive() {
            Self { period: LIVENESS_PERIOD, bound: LIVENESS_TIMEOUT, failures_max: LIVENESS_FAILURES }
        } else {
            Self { period: probe.period, bound: probe.timeout, failures_max: probe.failure_threshold.max(1) }
        }
    }
}

/// Returns once the startup probe has succeeded, or why the process has had its time.
async fn until_started(revision: &Revision, replica: &Replica, probe: &Probe) -> Result<(), String> {
    let Rhythm { period, bound, failures_max } = Rhythm::of(probe);
    sleep(probe.initial_delay).await;
    // As for readiness a long period is not waited for, but the time that it gives to the process stays the same.
    let pause = period.min(AGGRESSIVE_PERIOD);
    let started = async {
        while !timeout(bound, attempt(revision, replica, probe)).await.unwrap_or(false) {
            sleep(pause).await;
        }
    };
    let allowed = period * failures_max;
    timeout(allowed, started)
        .await
        .map_err(|_| format!("a startup probe that did not succeed within {} s", allowed.as_secs_f64()))
}

/// Returns when the liveness probe has failed too often in a row; never without one.
async fn until_dead(revision: &Revision, replica: &Replica) -> String {
    let Some(probe) = &revision.spec.liveness else {
        return std::future::pending().await;
    };
    let Rhythm { period, bound, failures_max } = Rhythm::of(probe);
    sleep(probe.initial_delay).await;
    let mut failures = 0;
    loop {
        sleep(period).await;
        let succeeded = timeout(bound, attempt(revision, replica, probe)).await.unwrap_or(false);
        failures = if succeeded { 0 } else { failures + 1 };
        if failures >= failures_max {
            return format!("a liveness probe that failed {failures} times in a row");
        }
    }
}

async fn attempt(revision: &Revision, replica: &Replica, probe: &Probe) -> bool {
    let on = |port: u16| {
        let mut address: SocketAddr = replica.address();
        if port != revision.spec.container_port {
            address.set_port(port);
        }
        address
    };
    match &probe.action {
        ProbeAction::Http { path, port, headers } => {
            let status = get(on(*port), revision.spec.http2, path, headers).await;
            status.is_some_and(|status| (200..400).contains(&status))
        }
        ProbeAction::Tcp { port } => TcpStream::connect(on(*port)).await.is_ok(),
        ProbeAction::Grpc { port, service } => grpc_health::is_serving(on(*port), service, USER_AGENT).await,
        ProbeAction::Exec { command } => run(revision, replica, command).await,
    }
}

/// Whether the process answers at all, be it with an error.
async fn answers(revision: &Revision, address: SocketAddr) -> bool {
    get(address, revision.spec.http2, "/", &[]).await.is_some()
}

/// The status of an answer.
async fn get(address: SocketAddr, http2: bool, path: &str, headers: &[(String, String)]) -> Option<u16> {
    let mut request = if http2 {
        Request::get(format!("http://{address}{path}")).version(http::Version::HTTP_2)
    } else {
        let close = Request::get(path).header(header::CONNECTION, "close");
        close.header(header::HOST, address.to_string())
    };
    request = request.header(header::USER_AGENT, USER_AGENT);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Body::from(Bytes::new())).ok()?;
    let (response, _) = Arc::new(Pool::new(http2)).send(address, request).await.ok()?;
    Some(response.status().as_u16())
}

async fn run(revision: &Revision, replica: &Replica, command: &[String]) -> bool {
    let Some((program, args)) = command.split_first() else {
        return false;
    };
    let run = revision.run();
    let mut env = run.env.clone();
    env.insert("PORT".to_owned(), replica.address().port().to_string());
    let launch = super::process::Launch {
        program: program.into(),
        args: args.to_vec(),
        env,
        dir: run.command.dir.clone(),
        listener: None,
    };
    match revision.spawner.spawn(launch).await {
        Ok(child) => child.wait_with_output().await.is_ok_and(|output| output.status.success()),
        Err(_) => false,
    }
}
