//! `regrove up` as a user runs it: changed files, files of variables, a terminal. The function is a few lines of Python.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{ChildStderr, ChildStdout, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Instant;

use crate::reading::{IN_A_TERMINAL, PATIENCE, Running, forward, wait_for, wait_for_drawing};

/// Answers with two of its variables; what is asked of `/held/FILE` is answered once there is such a file.
const FUNCTION: &str = "import http.server, os, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith('/held'):
            print('held by', os.getpid(), 'now', flush=True)
            while not os.path.exists(self.path[5:]): time.sleep(0.02)
        body = (os.environ['VERSION'] + ' ' + os.environ.get('COLOUR', '')).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments): pass
http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()
";

fn manifest(version: &str) -> String {
    format!(
        "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {{name: hello}}\nspec:\n  template:\n    spec:\n      \
         containers: [{{image: hello, env: [{{name: VERSION, value: {version}}}]}}]\n"
    )
}

const TWO_REPLICAS: &str = "---
apiVersion: v1
kind: ConfigMap
metadata: {name: config-autoscaler, namespace: knative-serving}
data: {min-scale: \"2\"}
";

/// `regrove up` in a folder with the function and its manifest.
fn up(folder: &Path, more: &[&str]) -> Command {
    fs::write(folder.join("function.py"), FUNCTION).unwrap();
    fs::write(folder.join("app.yaml"), manifest("one")).unwrap();
    let function = format!("hello=python3 {}", folder.join("function.py").display());
    let mut command = Command::new("python3");
    // A terminal for those who want one, and nothing but a program in between for the others.
    let run = "import os,sys; os.execv(sys.argv[1], sys.argv[1:])";
    let (terminals, more): (Vec<&str>, Vec<&str>) = more.iter().partition(|word| **word == "terminal");
    command.args(["-c", if terminals.is_empty() { run } else { IN_A_TERMINAL }, env!("CARGO_BIN_EXE_regrove"), "up"]);
    command.arg("--file").arg(folder.join("app.yaml")).args(["--exec", &function]);
    command.args(["--gateway-port", "0", "--ingress-port", "0", "--record-port", "0", "--home"]);
    command.arg(folder.join("home")).args(more).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_remove("REDIS_URL").env_remove("MLFLOW_TRACKING_URI").env("TERM", "xterm").env("COLUMNS", "160");
    command
}

impl Running {
    fn lines(&mut self) -> (Receiver<String>, Receiver<String>) {
        let (stdout, stderr): (ChildStdout, ChildStderr) =
            (self.0.stdout.take().unwrap(), self.0.stderr.take().unwrap());
        (forward(stdout), forward(stderr))
    }
}

/// A connection on which this path was asked for.
fn ask(address: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: hello.default.localhost\r\nConnection: close\r\n\r\n").unwrap();
    stream
}

/// Body of the answer to GET /.
fn get(address: &str) -> String {
    body(ask(address, "/"))
}

fn body(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// Address of the gateway, once it listens.
fn gateway(stdout: &Receiver<String>) -> String {
    let started = wait_for(stdout, &["\"started\""]);
    started.split("\"gateway\":\"http://").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

/// Puts another manifest in the place of the one that is watched: what is seen half written would be a third.
fn replace(folder: &Path, text: &str) {
    fs::write(folder.join("app.yaml.new"), text).unwrap();
    fs::rename(folder.join("app.yaml.new"), folder.join("app.yaml")).unwrap();
}

#[test]
fn changed_manifests_are_taken_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let variables = folder.path().join("variables");
    fs::write(&variables, "# a comment\nCOLOUR=green\n").unwrap();
    let more = ["--json", "--watch", "--env-file", variables.to_str().unwrap()];
    let mut running = Running(up(folder.path(), &more).spawn().unwrap());
    let (stdout, stderr) = running.lines();
    let address = gateway(&stdout);
    assert_eq!(get(&address), "one green");

    replace(folder.path(), &manifest("two"));
    wait_for(&stdout, &["reloaded", "hello-00002"]);
    wait_for(&stdout, &["traffic-assigned", "[{\"revision\":\"hello-00002\",\"percent\":100.0}]"]);
    assert_eq!(get(&address), "two green");

    replace(folder.path(), "kind: [");
    wait_for(&stderr, &["the changed manifests are not taken", "app.yaml"]);
    assert_eq!(get(&address), "two green");

    replace(folder.path(), &manifest("three"));
    wait_for(&stdout, &["traffic-assigned", "[{\"revision\":\"hello-00003\",\"percent\":100.0}]"]);
    assert_eq!(get(&address), "three green");

    // Changed defaults of the cluster: a second replica of the same revision, without a request.
    replace(folder.path(), &(manifest("three") + TWO_REPLICAS));
    let reloaded = wait_for(&stdout, &["\"reloaded\""]);
    assert!(reloaded.contains("\"revisions\":[]"), "{reloaded}");
    wait_for(&stdout, &["replica-starting", "hello-00003"]);
    assert_eq!(get(&address), "three green");
}

#[test]
fn wrong_arguments_end_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let variables = folder.path().join("variables");
    fs::write(&variables, "COLOUR=green\nPORT=80\n").unwrap();
    let faulty = up(folder.path(), &["--env-file", variables.to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8_lossy(&faulty.stderr);
    assert_eq!(faulty.status.code(), Some(2), "{said}");
    assert!(said.contains("variables:2: PORT is set for every process"), "{said}");
    let piped = Command::new(env!("CARGO_BIN_EXE_regrove"))
        .args(["up", "--watch", "--file", "-"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(piped.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&piped.stderr).contains("--watch needs files"));
}

#[test]
fn a_terminal_shows_a_live_view() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = Running(up(folder.path(), &["terminal"]).spawn().unwrap());
    let mut terminal = running.0.stdout.take().unwrap();
    // Drawn once a second as long as it runs, so reading never ends early.
    let start = wait_for_drawing(&mut terminal, &["SERVICE", "REPLICAS", "P99 MS", "default/hello", "events/s"]);
    let address = start.split("gateway  http://").nth(1).unwrap().split_whitespace().next().unwrap();
    assert_eq!(get(address), "one ");
    // The row now has one replica; a line of the log would say that it is ready.
    let row = "default/hello  hello-00001  1 ";
    let later = wait_for_drawing(&mut terminal, &[row]);
    assert!(!later.contains("is ready"), "{later}");
}

/// A runtime with a request that its function holds until there is a file, and that was told to end.
struct Ending {
    running: Running,
    stderr: Receiver<String>,
    held: TcpStream,
    /// The function's process.
    function: String,
}

fn ending(folder: &Path, file: &Path) -> Ending {
    let mut running = Running(up(folder, &["--json"]).spawn().unwrap());
    let (stdout, stderr) = running.lines();
    let held = ask(&gateway(&stdout), &format!("/held{}", file.display()));
    let line = wait_for(&stdout, &["held by"]);
    let function = line.split("held by ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    interrupt(&running);
    wait_for(&stderr, &["requests under way may end; Ctrl-C again does not wait"]);
    Ending { running, stderr, held, function }
}

fn interrupt(running: &Running) {
    assert!(Command::new("kill").args(["-INT", &running.0.id().to_string()]).status().unwrap().success());
}

/// Waits until `regrove up` has ended well, and makes sure that its function has.
fn assert_ended(mut running: Running, stderr: &Receiver<String>, function: &str) {
    // Its end closes the pipe.
    let deadline = Instant::now() + PATIENCE;
    while stderr.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok() {}
    assert!(Instant::now() < deadline, "`regrove up` goes on");
    assert!(running.0.wait().unwrap().success());
    assert!(!Path::new("/proc").join(function).exists(), "process {function} is left");
}

#[test]
fn an_interrupt_lets_requests_under_way_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("answer");
    let Ending { running, stderr, held, function } = ending(folder.path(), &file);
    fs::write(&file, "").unwrap();
    assert_eq!(body(held), "one ");
    assert_ended(running, &stderr, &function);
}

#[test]
fn a_second_interrupt_does_not_wait_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let Ending { running, stderr, mut held, function } = ending(folder.path(), &folder.path().join("never"));
    interrupt(&running);
    assert_ended(running, &stderr, &function);
    let mut answer = Vec::new();
    assert!(held.read_to_end(&mut answer).is_err() || !answer.starts_with(b"HTTP/1.1 200"), "it was answered");
}
