//! Threads that share a function's connections, each with a runtime of its own.
//!
//! A runtime of several threads wakes a second one for a request that comes to an idle process, to look for more work; with
//! one request at a time there is none, and looking costs as much as the request (`benches/serving`). Here a connection stays
//! on its thread, as in nginx and Envoy. What computes for long goes to threads of its own anyway (`spawn_blocking`).

use std::io;
use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};

use tokio::net::TcpStream;
use tokio::runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// As many threads as there are processors. The first is the one that accepts; the others are started when all before them
/// have a connection, so that a process that has one client at a time stays small.
#[derive(Debug)]
pub(crate) struct Lanes {
    own: Occupied,
    others: Box<[OnceLock<Lane>]>,
}

/// Held by each connection of a lane.
#[derive(Debug, Default, Clone)]
pub(crate) struct Occupied(Arc<()>);

impl Occupied {
    fn connections(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }
}

#[derive(Debug)]
struct Lane {
    connections: UnboundedSender<Handed>,
    occupied: Occupied,
}

/// A connection on its way to its thread, and what serves it there.
struct Handed {
    stream: std::net::TcpStream,
    serve: Box<dyn FnOnce(TcpStream) + Send>,
}

impl Lanes {
    pub(crate) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self { own: Occupied::default(), others: (1..processors).map(|_| OnceLock::new()).collect() }
    }

    /// Connections that are open.
    pub(crate) fn connections(&self) -> usize {
        self.loads().sum()
    }

    fn loads(&self) -> impl Iterator<Item = usize> {
        let others = self.others.iter().map(|lane| lane.get().map_or(0, |lane| lane.occupied.connections()));
        std::iter::once(self.own.connections()).chain(others)
    }

    /// Has a connection served by the thread that has the fewest; `serve` is called within its runtime and holds what it is
    /// given for as long as the connection is open.
    ///
    /// # Errors
    /// When the connection cannot change its thread.
    pub(crate) fn serve(
        &self,
        stream: TcpStream,
        serve: impl FnOnce(TcpStream, Occupied) + Send + 'static,
    ) -> io::Result<()> {
        let (fewest, _) = self.loads().enumerate().min_by_key(|(_, load)| *load).unwrap_or_default();
        let Some(cell) = fewest.checked_sub(1).and_then(|other| self.others.get(other)) else {
            serve(stream, self.own.clone());
            return Ok(());
        };
        let lane = cell.get_or_init(|| Lane::start(fewest));
        let occupied = lane.occupied.clone();
        let handed = Handed { stream: stream.into_std()?, serve: Box::new(|stream| serve(stream, occupied)) };
        // The thread could not be started: it is served here.
        lane.connections.send(handed).or_else(|unsent| unsent.0.serve())
    }
}

impl Handed {
    fn serve(self) -> io::Result<()> {
        (self.serve)(TcpStream::from_std(self.stream)?);
        Ok(())
    }
}

impl Lane {
    fn start(number: usize) -> Self {
        let (connections, handed) = unbounded_channel();
        if let Err(error) = spawn(number, handed) {
            tracing::warn!(%error, "no further thread for connections");
        }
        Self { connections, occupied: Occupied::default() }
    }
}

/// Ends with the sender of what it is handed.
fn spawn(number: usize, mut handed: UnboundedReceiver<Handed>) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let work = async move {
        while let Some(connection) = handed.recv().await {
            if let Err(error) = connection.serve() {
                tracing::warn!(%error, "a connection was lost on its way to its thread");
            }
        }
    };
    std::thread::Builder::new().name(format!("connections-{number}")).spawn(move || runtime.block_on(work))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::mpsc;
    use std::thread::ThreadId;

    use tokio::net::TcpListener;

    use super::*;

    async fn accept(listener: &TcpListener) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        (client.unwrap(), accepted.unwrap().0)
    }

    #[tokio::test]
    async fn a_connection_goes_to_the_thread_with_the_fewest() {
        let lanes = Lanes { own: Occupied::default(), others: [OnceLock::new(), OnceLock::new()].into() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (tell, told) = mpsc::channel::<(ThreadId, Occupied)>();
        let next = async || {
            let (client, stream) = accept(&listener).await;
            let tell = tell.clone();
            let serve = move |stream, occupied| {
                tell.send((std::thread::current().id(), occupied)).unwrap();
                drop(stream);
            };
            lanes.serve(stream, serve).unwrap();
            drop(client);
            told.recv().unwrap()
        };
        let first = next().await;
        assert_eq!(first.0, std::thread::current().id());
        assert!(lanes.others.iter().all(|lane| lane.get().is_none()), "one connection needs one thread");
        let (second, third) = (next().await, next().await);
        let threads: BTreeSet<String> = [&first, &second, &third].map(|(thread, _)| format!("{thread:?}")).into();
        assert_eq!((threads.len(), lanes.connections()), (3, 3));
        drop(second.1);
        assert_eq!(next().await.0, second.0, "the one that was left");
        assert_eq!(lanes.connections(), 2, "what nobody holds is closed");
    }

    #[tokio::test]
    async fn without_its_thread_a_connection_is_served_here() {
        let (connections, _) = unbounded_channel();
        let lane = OnceLock::from(Lane { connections, occupied: Occupied::default() });
        let lanes = Lanes { own: Occupied::default(), others: [lane].into() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _first = lanes.own.clone();
        let (_client, stream) = accept(&listener).await;
        let (tell, told) = mpsc::channel();
        lanes.serve(stream, move |_, _| tell.send(std::thread::current().id()).unwrap()).unwrap();
        assert_eq!(told.recv().unwrap(), std::thread::current().id());
    }
}
