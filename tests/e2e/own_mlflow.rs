//! `regrove up --mlflow`: a real MLflow that lives as long as the runtime does.

use std::path::Path;

use regrove_test_support::programs::venv_program;

use crate::jobs::small;
use crate::record::versions_of_job;
use crate::regrove;
use crate::up::{Up, UpOptions};

const MODEL: &str = "Recorded";

#[tokio::test(flavor = "multi_thread")]
async fn a_real_mlflow_comes_and_goes_with_the_runtime_and_keeps_what_it_was_told() {
    let mlflow = venv_program("mlflow").unwrap();
    let found_in = mlflow.parent().unwrap().to_owned();
    let mut up = Up::start(UpOptions { mlflow_found_in: Some(found_in), ..UpOptions::default() });
    up.request("kept", &small(MODEL, 1)).await;
    up.job_end("kept").await;
    let kept = versions_of_job(&up.tracking_uri(), MODEL, "kept").await;
    assert_eq!(kept.len(), 1, "{kept:?}");
    let version = regrove_mlflow::Client::new(&regrove_mlflow::MlflowArgs::for_uri(up.tracking_uri()))
        .unwrap()
        .server_version()
        .await
        .unwrap();
    assert!(version.starts_with("3."), "{version}");
    assert!(up.home().join("mlflow/mlflow.db").is_file());
    assert!(!up.home().join("record").exists(), "the embedded record is not there beside it");

    // SIGKILL of the runtime leaves no server behind, which `kill` looks for.
    up.kill();
    up.run();
    assert_eq!(versions_of_job(&up.tracking_uri(), MODEL, "kept").await, kept);

    // Without its record the runtime is not what was asked for: it says so and ends.
    for process in up.functions() {
        if is_server(process.pid) {
            process.kill();
        }
    }
    let (code, said) = up.wait();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("MLflow has ended") && said.contains("server.log"), "{said}");
}

/// Whether this process is MLflow's, and not the one that watches over it.
fn is_server(pid: i32) -> bool {
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = command.split(|&byte| byte == 0).collect();
    words.iter().any(|word| word.ends_with(b"/mlflow")) && !words.contains(&b"-c".as_slice())
}

#[tokio::test]
async fn a_port_that_is_taken_and_two_records_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    // Nothing is started: any program will do.
    std::fs::write(folder.path().join("mlflow"), "").unwrap();
    let up = |more: &[&str]| {
        let mut command = regrove::command(folder.path());
        command.args(["up", "--mlflow", "--record-port", &port]).args(more).env("PATH", path_with(folder.path()));
        regrove::run(command)
    };
    let said = up(&[]).await;
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains(&format!("127.0.0.1:{port}")) && said.err.contains("--record-port"), "{said:?}");
    let said = up(&["--mlflow-tracking-uri", "http://localhost:5000"]).await;
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("--mlflow-tracking-uri"), "{said:?}");
}

/// What installs it gives up with what is missing, and says what else can be done.
#[tokio::test]
async fn an_mlflow_that_cannot_be_installed_says_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    script(&folder.path().join("python3"), "#!/bin/sh\necho \"no module named ensurepip\" >&2\nexit 7\n");
    let mut command = regrove::command(folder.path());
    command.args(["up", "--mlflow", "--record-port", "0"]).env("PATH", folder.path());
    let said = regrove::run(command).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("no module named ensurepip") && said.err.contains("python3-venv"), "{said:?}");
}

/// One that was installed long ago answers, and records models as nobody here does.
#[tokio::test]
async fn an_mlflow_that_is_too_old_is_not_used() {
    const OLD: &str = "#!/usr/bin/env python3
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'2.22.1' if self.path == '/version' else b'OK')
address = sys.argv[sys.argv.index('--host') + 1], int(sys.argv[sys.argv.index('--port') + 1])
http.server.ThreadingHTTPServer(address, Handler).serve_forever()
";
    let folder = tempfile::tempdir().unwrap();
    script(&folder.path().join("mlflow"), OLD);
    let mut command = regrove::command(folder.path());
    command.args(["up", "--mlflow", "--record-port", "0"]).env("PATH", path_with(folder.path()));
    let said = regrove::run(command).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("MLflow 2.22.1 is too old") && said.err.contains("3.0"), "{said:?}");
}

fn script(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}

/// This folder before the others.
pub(crate) fn path_with(folder: &Path) -> std::ffi::OsString {
    let others = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(folder.to_owned()).chain(std::env::split_paths(&others))).unwrap()
}
