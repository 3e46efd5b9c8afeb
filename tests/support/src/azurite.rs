//! A stand-in for Azure Blob Storage: Microsoft's `azurite`, which keeps blobs in memory.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::programs::azurite_script;

/// What the server says when it listens, before its address.
const LISTENS: &str = "successfully listens on ";

/// Azure Blob Storage on a free port of 127.0.0.1, with the account and the key that every emulator has.
#[derive(Debug)]
pub struct AzuriteServer {
    child: Child,
    endpoint: String,
}

impl AzuriteServer {
    /// Starts a server and waits until it listens.
    ///
    /// # Errors
    /// When azurite is missing or does not start; `cargo xtask test` installs it.
    pub fn start() -> Result<Self> {
        let mut child = Command::new("node")
            .arg(azurite_script()?)
            .args(["--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence"])
            .args(["--disableTelemetry", "--silent"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .context("node cannot be started; `cargo xtask test` installs it")?;
        let output = child.stdout.take().context("no standard output of azurite")?;
        let mut lines = BufReader::new(output).lines();
        let mut said = Vec::new();
        for line in lines.by_ref().map_while(Result::ok) {
            if let Some((_, address)) = line.split_once(LISTENS) {
                let endpoint = address.trim().to_owned();
                // A full pipe would stop the server.
                std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
                return Ok(Self { child, endpoint });
            }
            said.push(line);
        }
        child.wait()?;
        bail!("azurite does not listen: {}", said.join("\n"))
    }

    /// What `AZURITE_BLOB_STORAGE_URL` is to be.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }
}

impl Drop for AzuriteServer {
    #[expect(clippy::print_stderr, reason = "nobody can be told otherwise, and the server may outlive the test")]
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("azurite may still be running: {error}");
        }
    }
}
