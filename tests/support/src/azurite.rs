//! A stand-in for Azure Blob Storage: Microsoft's `azurite`, which keeps blobs in memory.

use std::process::Command;

use anyhow::{Result, anyhow};

use crate::listening::{Listening, Says};
use crate::programs::azurite_script;

/// Azure Blob Storage on a free port of 127.0.0.1, with the account and the key that every emulator has.
#[derive(Debug)]
pub struct AzuriteServer {
    process: Listening,
}

impl AzuriteServer {
    /// Starts a server and waits until it listens.
    ///
    /// # Errors
    /// When azurite is missing or does not start; `cargo xtask test` installs it.
    pub fn start() -> Result<Self> {
        let mut command = Command::new("node");
        command.arg(azurite_script()?).args(["--blobHost", "127.0.0.1", "--blobPort", "0"]);
        command.args(["--inMemoryPersistence", "--disableTelemetry", "--silent"]);
        let started = Listening::start("azurite", &mut command, Says::Output, "successfully listens on ")?;
        Ok(Self { process: started.map_err(|said| anyhow!("azurite does not listen: {said}"))? })
    }

    /// What `AZURITE_BLOB_STORAGE_URL` is to be.
    pub fn endpoint(&self) -> &str {
        &self.process.told
    }
}
