//! A real MLflow under the contract. One test, since starting the server takes ten seconds and test runners give each
//! test its own process.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::python::{self, venv_program};
use crate::{cases, fixture, push};

/// How long the server may take to start on a busy machine.
const START_TIMEOUT: Duration = Duration::from_mins(3);

/// A real server; it and its workers are killed when dropped.
struct Real {
    uri: String,
    group: Pid,
    child: std::process::Child,
    /// Keeps the port from everybody else.
    _port: tokio::net::TcpSocket,
    folder: tempfile::TempDir,
}

impl Real {
    async fn start() -> Self {
        use std::os::unix::process::CommandExt as _;
        let folder = tempfile::tempdir().unwrap();
        // The server takes no port 0: it gets one that is held by a socket which does not listen.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = socket.local_addr().unwrap().port();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = std::process::Command::new(venv_program("mlflow"))
            .args(["server", "--workers", "1", "--host", "127.0.0.1", "--port", &port.to_string()])
            .arg("--backend-store-uri")
            .arg(format!("sqlite:///{}", folder.path().join("mlflow.db").display()))
            .arg("--artifacts-destination")
            .arg(folder.path().join("artifacts"))
            .current_dir(folder.path())
            .env("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
            .env("MLFLOW_DISABLE_TELEMETRY", "true")
            .env("DO_NOT_TRACK", "true")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap();
        let group = Pid::from_child(&child);
        let mut server = Self { uri: format!("http://127.0.0.1:{port}"), group, child, _port: socket, folder };
        server.wait().await;
        server
    }

    /// Asks until it answers; the pause keeps the asking from slowing the start down.
    async fn wait(&mut self) {
        let client = fixture::client(&self.uri);
        let started = Instant::now();
        while client.health().await.is_err() {
            let gone = self.child.try_wait().unwrap();
            let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(gone.is_none(), "mlflow server ended: {gone:?}\n{}", log());
            assert!(started.elapsed() < START_TIMEOUT, "mlflow server did not start\n{}", log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = kill_process_group(self.group, Signal::KILL);
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_mlflow_keeps_the_contract_and_python_loads_from_it() {
    let server = Real::start().await;
    let version = fixture::client(&server.uri).server_version().await.unwrap();
    assert!(version.starts_with("3."), "{version}");
    python::loads_and_lists(&server.uri).await;
    cases::run_all(&server.uri).await;
    push::arrives_once(&server.uri, "pushed").await;
    python::loads_what_was_pushed(&server.uri).await;
}
