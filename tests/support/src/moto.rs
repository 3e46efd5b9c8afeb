//! A stand-in for AWS: the `moto` server, which keeps queues and buckets in memory.

use std::process::Command;

use anyhow::{Result, anyhow};

use crate::listening::{Listening, Says};
use crate::programs::platform_program;

/// SQS and S3 on a free port of 127.0.0.1.
#[derive(Debug)]
pub struct MotoServer {
    process: Listening,
}

impl MotoServer {
    /// Starts a server and waits until it listens.
    ///
    /// # Errors
    /// When moto is missing or does not start; `cargo xtask test` installs it.
    pub fn start() -> Result<Self> {
        let mut command = Command::new(platform_program("moto_server")?);
        command.args(["-H", "127.0.0.1", "-p", "0"]);
        let started = Listening::start("moto_server", &mut command, Says::Error, "Running on ")?;
        Ok(Self { process: started.map_err(|said| anyhow!("moto_server does not listen: {said}"))? })
    }

    /// What `AWS_ENDPOINT_URL` is to be.
    pub fn endpoint(&self) -> &str {
        &self.process.told
    }
}
