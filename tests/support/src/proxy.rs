//! A network that loses answers when it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Bytes that are passed on at once.
const BLOCK: usize = 64 * 1024;

/// Passes bytes between clients and a server on this machine, and can swallow answers.
#[derive(Debug)]
pub struct FaultyProxy {
    port: u16,
    to_lose: Arc<AtomicUsize>,
    lost: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl FaultyProxy {
    /// Listens on a free port for clients of the server on `port`.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(port: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let proxy_port = listener.local_addr()?.port();
        let (to_lose, lost) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counters = (Arc::clone(&to_lose), Arc::clone(&lost));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (to_lose, lost) = (Arc::clone(&counters.0), Arc::clone(&counters.1));
                tokio::spawn(async move {
                    // An end of either side is the end of both: there is nobody to tell.
                    drop(pass(client, port, &to_lose, &lost).await);
                });
            }
        });
        Ok(Self { port: proxy_port, to_lose, lost, task })
    }

    /// The port that clients connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Lets the next `count` answers to a request that holds `EVAL` come to nothing: the server does its work, then
    /// the client's connection breaks.
    pub fn lose_answers(&self, count: usize) {
        self.to_lose.store(count, Ordering::SeqCst);
    }

    /// How many answers were lost.
    pub fn lost(&self) -> usize {
        self.lost.load(Ordering::SeqCst)
    }
}

impl Drop for FaultyProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(mut client: TcpStream, port: u16, to_lose: &AtomicUsize, lost: &AtomicUsize) -> Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut request, mut answer) = (vec![0; BLOCK], vec![0; BLOCK]);
    let mut doomed = false;
    loop {
        tokio::select! {
            length = client.read(&mut request) => {
                let bytes = request.get(..length?).unwrap_or_default();
                if bytes.is_empty() {
                    return Ok(());
                }
                let changes = bytes.windows(4).any(|word| word == b"EVAL");
                doomed = changes && to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
                server.write_all(bytes).await?;
            }
            length = server.read(&mut answer) => {
                let bytes = answer.get(..length?).unwrap_or_default();
                // An error is no effect that could be lost: the script is not known yet.
                if doomed && !bytes.starts_with(b"-") {
                    lost.fetch_add(1, Ordering::SeqCst);
                    return Ok(());
                }
                if doomed {
                    doomed = false;
                    to_lose.fetch_add(1, Ordering::SeqCst);
                }
                if bytes.is_empty() {
                    return Ok(());
                }
                client.write_all(bytes).await?;
            }
        }
    }
}
