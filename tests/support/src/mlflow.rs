//! A real MLflow tracking server.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::port::Port;
use crate::programs::venv_program;

/// How long the server may take to start on a busy machine.
const START_TIMEOUT: Duration = Duration::from_mins(3);
/// Time between two looks whether it has started: looking costs the starting server time.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How long one look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// An MLflow with one worker, SQLite and artifacts in a temporary directory, on a port of 127.0.0.1 that stays its own while
/// it is away.
#[derive(Debug)]
pub struct MlflowServer {
    directory: TempDir,
    port: Port,
    child: Option<Child>,
}

impl MlflowServer {
    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// When MLflow is missing or does not start; `cargo xtask test` installs it.
    pub fn start() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("regrove-mlflow-").tempdir()?;
        // The server takes no port 0.
        let mut server = Self { directory, port: Port::reserve()?, child: None };
        server.run()?;
        Ok(server)
    }

    /// What `MLFLOW_TRACKING_URI` is to be.
    pub fn uri(&self) -> String {
        format!("http://{}", self.port.address())
    }

    /// Where it keeps its data: `mlflow.db` and `artifacts`.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Kills the server and its workers at once (SIGKILL). What it has answered is in its files.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            match kill_process_group(Pid::from_child(&child), Signal::KILL) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(error).context("signal to mlflow"),
            }
            child.wait()?;
        }
        Ok(())
    }

    /// Starts a killed server again: same port, same data.
    ///
    /// # Errors
    /// When it does not start.
    pub fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.run()
    }

    fn run(&mut self) -> Result<()> {
        let folder = self.directory.path();
        let log = File::options().create(true).append(true).open(folder.join("log"))?;
        let child = Command::new(venv_program("mlflow")?)
            .args(["server", "--workers", "1", "--host", "127.0.0.1", "--port", &self.port.number().to_string()])
            .arg("--backend-store-uri")
            .arg(format!("sqlite:///{}", folder.join("mlflow.db").display()))
            .arg("--artifacts-destination")
            .arg(folder.join("artifacts"))
            .current_dir(folder)
            .env("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
            .env("MLFLOW_DISABLE_TELEMETRY", "true")
            .env("DO_NOT_TRACK", "true")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .context("mlflow cannot be started; `cargo xtask test` installs it")?;
        self.child = Some(child);
        let deadline = Instant::now() + START_TIMEOUT;
        while !self.answers() {
            let ended = self.child.as_mut().map(Child::try_wait).transpose()?.flatten();
            if ended.is_some() || Instant::now() > deadline {
                let said = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
                bail!("mlflow server does not answer on port {} ({ended:?}):\n{said}", self.port.number());
            }
            thread::sleep(LOOK_INTERVAL);
        }
        Ok(())
    }

    fn answers(&self) -> bool {
        let ask = || -> std::io::Result<bool> {
            let mut stream = TcpStream::connect(self.port.address())?;
            stream.set_read_timeout(Some(LOOK_TIMEOUT))?;
            stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer)?;
            Ok(answer.starts_with(b"HTTP/1.1 200"))
        };
        ask().unwrap_or(false)
    }
}

impl Drop for MlflowServer {
    #[expect(clippy::print_stderr, reason = "nobody can be told otherwise, and the server may outlive the test")]
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("mlflow may still be running: {error}");
        }
    }
}
