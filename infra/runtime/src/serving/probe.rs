//! Finding out when a replica is ready.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use regrove_knative::manifest::{Probe, ProbeAction};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::body::Body;
use super::pool::Pool;
use super::replica::Replica;
use super::revision::Revision;

/// Time between attempts when the probe declares no period.
const AGGRESSIVE_PERIOD: Duration = Duration::from_millis(50);
/// Bound of one attempt then.
const AGGRESSIVE_TIMEOUT: Duration = Duration::from_millis(100);
/// What probes say they are; functions know to leave them out of their counts.
const USER_AGENT: &str = "kube-probe/regrove";

/// Returns once the replica's readiness probe has succeeded as often as it asks for.
///
/// With an inherited socket a connection always opens, so a TCP probe says nothing: then the first answer to a request
/// is what makes the replica ready, and this never returns. An HTTP probe waits in the backlog like a request does, as
/// long as the process lives.
pub(crate) async fn until_ready(revision: &Arc<Revision>, replica: &Arc<Replica>, inherits_socket: bool) {
    let probe = &revision.spec.readiness;
    if inherits_socket && matches!(probe.action, ProbeAction::Tcp { .. } | ProbeAction::Grpc { .. }) {
        return std::future::pending().await;
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

async fn attempt(revision: &Revision, replica: &Replica, probe: &Probe) -> bool {
    let on = |port: u16| {
        let mut address: SocketAddr = replica.address();
        if port != revision.spec.container_port {
            address.set_port(port);
        }
        address
    };
    match &probe.action {
        ProbeAction::Http { path, port, headers } => get(on(*port), path, headers).await,
        // The gRPC health protocol is not spoken here; `Runtime::warnings` says so.
        ProbeAction::Tcp { port } | ProbeAction::Grpc { port, .. } => TcpStream::connect(on(*port)).await.is_ok(),
        ProbeAction::Exec { command } => run(revision, replica, command).await,
    }
}

async fn get(address: SocketAddr, path: &str, headers: &[(String, String)]) -> bool {
    let mut request = Request::get(path)
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::HOST, address.to_string())
        .header(header::CONNECTION, "close");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let Ok(request) = request.body(Body::from(Bytes::new())) else {
        return false;
    };
    match Arc::new(Pool::default()).send(address, request).await {
        Ok((response, _)) => (200..400).contains(&response.status().as_u16()),
        Err(_) => false,
    }
}

async fn run(revision: &Revision, replica: &Replica, command: &[String]) -> bool {
    let Some((program, args)) = command.split_first() else {
        return false;
    };
    let mut env = revision.spec.env.clone();
    env.insert("PORT".to_owned(), replica.address().port().to_string());
    let launch = super::process::Launch {
        program: program.into(),
        args: args.to_vec(),
        env,
        dir: revision.spec.command.dir.clone(),
        listener: None,
    };
    match revision.spawner.spawn(launch).await {
        Ok(child) => child.wait_with_output().await.is_ok_and(|output| output.status.success()),
        Err(_) => false,
    }
}
