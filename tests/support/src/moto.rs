//! A stand-in for AWS: the `moto` server, which keeps queues and buckets in memory.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::programs::platform_program;

/// What the server says when it listens, before its address.
const LISTENS: &str = "Running on ";

/// SQS and S3 on a free port of 127.0.0.1.
#[derive(Debug)]
pub struct MotoServer {
    child: Child,
    endpoint: String,
}

impl MotoServer {
    /// Starts a server and waits until it listens.
    ///
    /// # Errors
    /// When moto is missing or does not start; `cargo xtask test` installs it.
    pub fn start() -> Result<Self> {
        let mut child = Command::new(platform_program("moto_server")?)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("moto_server cannot be started; `cargo xtask test` installs it")?;
        let output = child.stderr.take().context("no standard error of moto_server")?;
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
        bail!("moto_server does not listen: {}", said.join("\n"))
    }

    /// What `AWS_ENDPOINT_URL` is to be.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }
}

impl Drop for MotoServer {
    #[expect(clippy::print_stderr, reason = "nobody can be told otherwise, and the server may outlive the test")]
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("moto_server may still be running: {error}");
        }
    }
}
