//! A real MLflow beside the local runtime: `regrove up --mlflow`.

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use regrove_mlflow::{Client, MlflowArgs};
use tokio::net::TcpSocket;
use tokio::process::{Child, ChildStdin, Command};

use crate::output::{Output, Usage};

/// What is installed where there is no MLflow; the version that the contract tests run.
const REQUIREMENT: &str = "mlflow==3.17.2";
/// Logged models, which are half of a registered version, came with this one.
const MAJOR_MIN: u64 = 3;
/// How long the server may take to answer: its imports alone take seconds, and more on a busy machine.
const START_TIMEOUT: Duration = Duration::from_mins(3);
/// Time between two looks whether it answers.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// How long it may take to end before it is killed: a little longer than the process above it waits.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);
/// Ends the server with this program, also when this program is killed.
const SUPERVISOR: &str = include_str!("mlflow_server.py");

/// An MLflow server that ends with this program. Runs, models and artifacts are kept below the home.
#[derive(Debug)]
pub(crate) struct MlflowServer {
    supervisor: Child,
    /// Closed, it ends the server. Kept apart from the process: to wait for that one would close it.
    life: ChildStdin,
    /// Keeps its port from everybody else while it starts, which takes seconds.
    _port: TcpSocket,
    uri: String,
    log: PathBuf,
}

impl MlflowServer {
    /// Starts the `mlflow` of the path, or one that is installed below `home` first, and waits until it answers.
    ///
    /// # Errors
    /// When the port is taken ([`Usage`]), it cannot be installed, does not answer, or is too old.
    pub(crate) async fn start(home: &Path, address: SocketAddr, output: &Output) -> anyhow::Result<Self> {
        let folder = home.join("mlflow");
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let folder = folder.canonicalize().with_context(|| folder.display().to_string())?;
        let program = match on_path("mlflow") {
            Some(program) => program,
            None => installed(&folder, output).await?,
        };
        let mut server = Self::spawn(&program, &folder, reserve(address)?)?;
        output.progress(format_args!("starting MLflow ({}) at {}", program.display(), server.uri));
        server.wait_until_it_answers().await?;
        Ok(server)
    }

    /// Where it answers this machine: what `MLFLOW_TRACKING_URI` is to be.
    pub(crate) fn uri(&self) -> &str {
        &self.uri
    }

    /// Returns when it has ended by itself, with what is to be told.
    pub(crate) async fn ended(&mut self) -> anyhow::Error {
        let status = self.supervisor.wait().await;
        self.end_of(status)
    }

    /// Lets it end.
    pub(crate) async fn stop(mut self, output: &Output) {
        drop(self.life);
        if tokio::time::timeout(STOP_TIMEOUT, self.supervisor.wait()).await.is_err() {
            output.progress(format_args!("MLflow has not ended within {} s", STOP_TIMEOUT.as_secs()));
        }
    }

    fn spawn(program: &Path, folder: &Path, port: TcpSocket) -> anyhow::Result<Self> {
        let address = port.local_addr()?;
        let log = folder.join("server.log");
        let lines = File::create(&log).with_context(|| log.display().to_string())?;
        let mut supervisor = Command::new("python3")
            .args(["-c", SUPERVISOR])
            .arg(program)
            .args(["server", "--workers", "1", "--host", &address.ip().to_string()])
            .args(["--port", &address.port().to_string(), "--backend-store-uri"])
            .arg(format!("sqlite:///{}", folder.join("mlflow.db").display()))
            .arg("--artifacts-destination")
            .arg(folder.join("artifacts"))
            .current_dir(folder)
            // Its page's own background jobs, which nothing here uses: they are four more processes.
            .env("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
            .env("MLFLOW_DISABLE_TELEMETRY", "true")
            .stdin(Stdio::piped())
            .stdout(lines.try_clone()?)
            .stderr(lines)
            // Ctrl-C on the terminal reaches this program only: the functions may still have something to record.
            .process_group(0)
            .spawn()
            .context("python3 cannot be run")?;
        let life = supervisor.stdin.take().context("its standard input is a pipe")?;
        // What listens everywhere answers here, too.
        let here = if address.ip().is_unspecified() { IpAddr::from([127, 0, 0, 1]) } else { address.ip() };
        let uri = format!("http://{}", SocketAddr::new(here, address.port()));
        Ok(Self { supervisor, life, _port: port, uri, log })
    }

    async fn wait_until_it_answers(&mut self) -> anyhow::Result<()> {
        let client = Client::new(&MlflowArgs::for_uri(&self.uri))?;
        let answers = async {
            while client.health().await.is_err() {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        };
        tokio::select! {
            () = answers => {}
            status = self.supervisor.wait() => return Err(self.end_of(status)),
            () = tokio::time::sleep(START_TIMEOUT) => {
                bail!("MLflow does not answer within {} s; {} says why", START_TIMEOUT.as_secs(), self.log.display())
            }
        }
        let version = client.server_version().await?;
        let major = version.split('.').next().and_then(|major| major.parse::<u64>().ok());
        ensure!(
            major.is_some_and(|major| major >= MAJOR_MIN),
            "MLflow {version} is too old, {MAJOR_MIN}.0 is the first that records models as we do: upgrade it, or take it out \
             of the PATH and {REQUIREMENT} is installed"
        );
        Ok(())
    }

    fn end_of(&self, status: std::io::Result<ExitStatus>) -> anyhow::Error {
        let log = self.log.display();
        match status {
            Ok(status) => anyhow::anyhow!("MLflow has ended ({status}); {log} says why"),
            Err(error) => anyhow::Error::new(error).context(format!("MLflow cannot be waited for; its log is {log}")),
        }
    }
}

/// A socket that has the address, with a free port instead of 0: MLflow cannot be asked which one it got. It does not listen,
/// so that MLflow can.
fn reserve(address: SocketAddr) -> anyhow::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket
        .bind(address)
        .map_err(|error| Usage(format!("MLflow cannot listen at {address}: {error}; choose another --record-port")))?;
    Ok(socket)
}

/// A program of the path.
fn on_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// The program of an environment below `folder`, which is made when there is none or one of another version.
async fn installed(folder: &Path, output: &Output) -> anyhow::Result<PathBuf> {
    let venv = folder.join("venv");
    let program = venv.join("bin/mlflow");
    // Written last: what was broken off is made anew.
    let stamp = venv.join("regrove-installed");
    if std::fs::read_to_string(&stamp).is_ok_and(|found| found == REQUIREMENT) {
        return Ok(program);
    }
    output.progress(format_args!("installing {REQUIREMENT} in {}: once, some minutes", venv.display()));
    let mut make = Command::new("python3");
    make.args(["-m", "venv", "--clear"]).arg(&venv);
    run(make, "python3 -m venv", "Debian has it in python3-venv").await?;
    let mut pip = Command::new(venv.join("bin/python"));
    pip.args(["-m", "pip", "install", "--no-input", "--disable-pip-version-check", REQUIREMENT]);
    run(pip, "pip install", "or install MLflow by other means and put it into the PATH").await?;
    std::fs::write(&stamp, REQUIREMENT).with_context(|| stamp.display().to_string())?;
    Ok(program)
}

/// Runs a command whose lines go to standard error; standard output is for results.
async fn run(mut command: Command, name: &str, hint: &str) -> anyhow::Result<()> {
    let lines = std::io::stderr().as_fd().try_clone_to_owned()?;
    let status = command.stdin(Stdio::null()).stdout(lines).kill_on_drop(true).status().await;
    let status = status.with_context(|| format!("{name} cannot be run"))?;
    ensure!(status.success(), "MLflow cannot be installed: `{name}` failed ({status}); {hint}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::REQUIREMENT;

    #[test]
    fn what_is_installed_is_what_the_tests_run() {
        let tested = include_str!("../../tests/python/requirements.in");
        assert!(tested.lines().any(|line| line.split_whitespace().next() == Some(REQUIREMENT)), "{REQUIREMENT}");
    }
}
