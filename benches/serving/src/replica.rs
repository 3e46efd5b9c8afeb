//! A process of `predict`, and a client that never stops asking it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use regrove_store::StoreArgs;

use crate::GIVE_UP;

/// Between two questions, so that asking does not take the processor from what is asked.
const PAUSE: Duration = Duration::from_micros(500);

/// The first answer from a version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) version: u64,
    pub(crate) at: Instant,
}

/// A process and its client. Dropped, the process is killed.
pub(crate) struct Replica {
    process: Child,
    stop: Arc<AtomicBool>,
    client: Option<JoinHandle<u64>>,
}

impl Replica {
    pub(crate) fn start(
        program: &Path,
        store: &StoreArgs,
        model: &str,
        number: usize,
        told: mpsc::Sender<anyhow::Result<Seen>>,
    ) -> anyhow::Result<Self> {
        // A port that was free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new(program);
        command.env("PORT", address.port().to_string()).env("REGROVE_MODEL_NAME", model).env("RUST_LOG", "error");
        command.env("REGROVE_HOME", &store.home);
        match &store.redis_url {
            Some(url) => command.env("REDIS_URL", url),
            None => command.env_remove("REDIS_URL"),
        };
        let process = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let client = thread::Builder::new().name(format!("client-{number}")).spawn(move || {
            let (answers, ended) = ask_until(address, &stopped, &told);
            if let Err(error) = ended {
                // Nobody listens any more when the measurement is over.
                drop(told.send(Err(error.context(format!("replica {number}")))));
            }
            answers
        })?;
        Ok(Self { process, stop, client: Some(client) })
    }

    /// How many answers there were.
    pub(crate) fn stop(mut self) -> anyhow::Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let Some(client) = self.client.take() else { return Ok(0) };
        client.join().ok().context("a client panicked")
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // It may have ended by itself, which its client has told.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn ask_until(
    address: SocketAddr,
    stop: &AtomicBool,
    told: &mpsc::Sender<anyhow::Result<Seen>>,
) -> (u64, anyhow::Result<()>) {
    let mut answers = 0;
    let mut ask = || -> anyhow::Result<()> {
        let mut stream = connect(address)?;
        let mut before = 0;
        while !stop.load(Ordering::Relaxed) {
            let version = predict(&mut stream)?;
            answers += 1;
            if version != before {
                before = version;
                told.send(Ok(Seen { version, at: Instant::now() }))?;
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    };
    let ended = ask();
    (answers, ended)
}

fn connect(address: SocketAddr) -> anyhow::Result<BufReader<TcpStream>> {
    let deadline = Instant::now() + GIVE_UP;
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(GIVE_UP))?;
                return Ok(BufReader::new(stream));
            }
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

/// Asks for one row. Says which version answered.
fn predict(stream: &mut BufReader<TcpStream>) -> anyhow::Result<u64> {
    const BODY: &str = r#"{"features": [[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]]}"#;
    let length = BODY.len();
    let request = format!(
        "POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{BODY}"
    );
    stream.get_mut().write_all(request.as_bytes())?;
    let mut status = String::new();
    stream.read_line(&mut status)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            bail!("the connection ended");
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        if line.trim_end().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let body = String::from_utf8(body)?;
    let version = body.split_once("\"model_version\":\"").and_then(|(_, rest)| rest.split('"').next());
    match version {
        Some(version) if status.starts_with("HTTP/1.1 200") => Ok(version.parse()?),
        _ => bail!("{status}{body}"),
    }
}
