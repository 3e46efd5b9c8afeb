//! The gateway's way for ordinary HTTP/1.1: heads are read and written anew, bodies are passed on as they come, and one
//! task does all of it for a connection. What is not ordinary goes to the general server, beginning with the same bytes.
//!
//! Gates are threads of their own, each with its sockets and its kept connections to replicas: a request never changes
//! threads, and one look at the sockets finds the work of many connections.

mod alarm;
mod attempt;
mod buffer;
mod connection;
mod framing;
mod replay;
mod request;
mod response;
mod transfer;
mod upload;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use self::connection::Connection;
use super::gateway::Gateway;
use crate::http_server::accept;

/// Threads at most; each keeps its own connections to every replica.
pub(crate) const GATES_MAX: usize = 4;
/// How long requests under way may keep a gate that is to end.
const LINGER_MAX: Duration = Duration::from_secs(5);

/// One thread's share in the gateway.
#[derive(Debug)]
struct Gate {
    gateway: Arc<Gateway>,
    /// Which of the kept connections to a replica are its own; below [`GATES_MAX`].
    index: usize,
    stop: CancellationToken,
}

/// Half of the processors: the other half is for what stands behind the gateway.
fn gates() -> usize {
    std::thread::available_parallelism().map_or(1, |count| count.get() / 2).clamp(1, GATES_MAX)
}

/// Serves the gateway until `stop`. The future is ready when the last request has ended, or has to.
///
/// # Errors
/// The socket cannot be shared out, or a thread cannot be started.
pub(crate) fn serve(
    listener: TcpListener,
    gateway: &Arc<Gateway>,
    stop: &CancellationToken,
) -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let listener = listener.into_std()?;
    let mut ends = Vec::new();
    for index in 0..gates() {
        let gate = Gate { gateway: Arc::clone(gateway), index, stop: stop.clone() };
        ends.push(open(gate, listener.try_clone()?)?);
    }
    Ok(async move {
        for end in ends {
            end.await.unwrap_or_default();
        }
    })
}

/// Starts a gate's thread and waits until it can serve. Nothing is ever sent through what comes back; it ends with the thread.
fn open(gate: Gate, listener: std::net::TcpListener) -> io::Result<oneshot::Receiver<()>> {
    let name = format!("gate-{}", gate.index);
    let (ended, end) = oneshot::channel();
    let (opened, opening) = mpsc::channel();
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
        let (runtime, error) = match runtime {
            Ok(runtime) => (Some(runtime), Ok(())),
            Err(error) => (None, Err(error)),
        };
        if opened.send(error).is_ok()
            && let Some(runtime) = runtime
        {
            runtime.block_on(run(Arc::new(gate), listener));
        }
        drop(ended);
    };
    std::thread::Builder::new().name(name).spawn(work)?;
    opening.recv().map_err(io::Error::other)??;
    Ok(end)
}

async fn run(gate: Arc<Gate>, listener: std::net::TcpListener) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the gateway does not listen"),
    };
    let connected = |stream: TcpStream, peer: SocketAddr| Connection::new(Arc::clone(&gate), stream, peer).serve();
    let late = async {
        gate.stop.cancelled().await;
        tokio::time::sleep(LINGER_MAX).await;
    };
    tokio::select! {
        () = accept(listener, &gate.stop, connected) => {}
        () = late => {}
    }
}
