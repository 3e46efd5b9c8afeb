//! `regrove up` as a child of the test: free ports, a home of its own, gone when the test is over.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use regrove_store::{Control, StoreArgs};
use regrove_test_support::programs::workspace;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::own_mlflow::path_with;
use crate::polling::{DEADLINE, until_blocking};
use crate::processes::{self, Process};
use crate::regrove;

/// How long `regrove up` may take to end after SIGTERM.
const STOPPED_WITHIN: Duration = Duration::from_mins(2);
/// Lines of the runtime's own report that a failed test shows.
const LINES_SHOWN: usize = 150;

/// How `regrove up` is to be started.
#[derive(Debug, Clone, Default)]
pub(crate) struct UpOptions {
    pub(crate) redis: Option<String>,
    pub(crate) mlflow: Option<String>,
    /// `--mlflow`, with this folder first in the path.
    pub(crate) mlflow_found_in: Option<PathBuf>,
    pub(crate) fast_time: Option<f64>,
    /// Further variables of the runtime's environment.
    pub(crate) env: Vec<(String, String)>,
    /// A copy of our manifests, which is watched.
    pub(crate) watched: Option<PathBuf>,
    /// Somebody else's application instead of ours.
    pub(crate) application: Option<Foreign>,
}

/// An application of the namespace `default` with a broker `default`.
#[derive(Debug, Clone)]
pub(crate) struct Foreign {
    pub(crate) manifests: PathBuf,
    /// `IMAGE=COMMAND`.
    pub(crate) exec: Vec<String>,
}

/// An HTTP answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// The body; null when it is not JSON.
    pub(crate) json: Value,
}

struct Running {
    child: Child,
    gateway: String,
    ingress: String,
    record: Option<String>,
    console: Option<String>,
}

/// A local runtime.
pub(crate) struct Up {
    options: UpOptions,
    folder: TempDir,
    running: Option<Running>,
    /// What the runtime reported, over all its restarts.
    events: Arc<Mutex<Vec<Value>>>,
    client: reqwest::Client,
}

impl Up {
    /// Starts `regrove up` with the manifests of this repository and waits until it listens.
    pub(crate) fn start(options: UpOptions) -> Self {
        let folder = tempfile::Builder::new().prefix("regrove-e2e-").tempdir().unwrap();
        fs::create_dir(folder.path().join("home")).unwrap();
        let client = reqwest::Client::builder().no_proxy().timeout(DEADLINE).build().unwrap();
        let mut up = Self { options, folder, running: None, events: Arc::default(), client };
        up.run();
        up
    }

    /// Kills the runtime at once; its functions die with it.
    pub(crate) fn kill(&mut self) {
        let mut running = self.running.take().expect("it runs");
        running.child.kill().unwrap();
        running.child.wait().unwrap();
        processes::assert_none_left(&self.home());
    }

    /// Starts it again after [`kill`](Self::kill): same home, other ports.
    pub(crate) fn run(&mut self) {
        let (started, first) = mpsc::channel();
        let mut child = self.command().spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let events = Arc::clone(&self.events);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let value: Value = serde_json::from_str(&line).unwrap_or_else(|_| json!({"event": "?", "line": line}));
                if value["event"] == "started" {
                    started.send(value).unwrap_or_default();
                } else {
                    events.lock().unwrap().push(value);
                }
            }
        });
        let Ok(value) = first.recv_timeout(DEADLINE) else {
            child.kill().unwrap_or_default();
            child.wait().unwrap();
            panic!("`regrove up` does not start: {}", self.errors());
        };
        let address = |name: &str| value[name].as_str().map(str::to_owned);
        self.running = Some(Running {
            child,
            gateway: address("gateway").unwrap(),
            ingress: address("ingress").unwrap(),
            record: address("record").or_else(|| address("mlflow")),
            console: address("console"),
        });
    }

    /// Waits until it ends by itself. Returns its exit code and what it has written to standard error.
    pub(crate) fn wait(&mut self) -> (Option<i32>, String) {
        let mut running = self.running.take().expect("it runs");
        let status = until_blocking(STOPPED_WITHIN, || running.child.try_wait().transpose());
        if status.is_err() {
            running.child.kill().unwrap();
        }
        (status.unwrap().unwrap().code(), self.errors())
    }

    fn command(&self) -> Command {
        let errors = File::options().create(true).append(true).open(self.folder.path().join("errors")).unwrap();
        let mut command = regrove::command(self.folder.path());
        command.args([
            "up",
            "--json",
            "--gateway-port",
            "0",
            "--ingress-port",
            "0",
            "--record-port",
            "0",
            "--console-port",
            "0",
        ]);
        command.arg("--home").arg(self.home()).arg("--file");
        match &self.options.application {
            None => match &self.options.watched {
                Some(copy) => command.arg(copy).arg("--watch"),
                None => command.arg(workspace().join("k8s")),
            },
            Some(foreign) => {
                command.arg(&foreign.manifests).args(foreign.exec.iter().flat_map(|exec| ["--exec", exec]))
            }
        };
        command.envs(self.options.env.iter().map(|(name, value)| (name, value)));
        // So that the runtime itself is found by its environment, too.
        command.env("REGROVE_HOME", self.home());
        if let Some(factor) = self.options.fast_time {
            command.arg("--fast-time").arg(factor.to_string());
        }
        if let Some(redis) = &self.options.redis {
            command.env("REDIS_URL", redis);
        }
        if let Some(mlflow) = &self.options.mlflow {
            command.env("MLFLOW_TRACKING_URI", mlflow);
        }
        if let Some(folder) = &self.options.mlflow_found_in {
            command.arg("--mlflow").env("PATH", path_with(folder));
        }
        // Away from the terminal's group: Ctrl-C ends the test, and the test ends it.
        command.stdout(Stdio::piped()).stderr(errors).process_group(0);
        command
    }

    /// Where state is kept.
    pub(crate) fn home(&self) -> PathBuf {
        self.folder.path().join("home").canonicalize().unwrap()
    }

    /// A folder for the test's own files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("it runs")
    }

    /// Address of the gateway.
    pub(crate) fn gateway(&self) -> &str {
        &self.running().gateway
    }

    /// Where the broker takes events.
    pub(crate) fn broker(&self) -> String {
        format!("{}/{}/default", self.running().ingress, self.namespace())
    }

    fn namespace(&self) -> &'static str {
        if self.options.application.is_some() { "default" } else { "regrove" }
    }

    /// Address of the console.
    pub(crate) fn console(&self) -> String {
        self.running().console.clone().expect("there is a console")
    }

    /// Address of MLflow, embedded or not.
    pub(crate) fn tracking_uri(&self) -> String {
        self.options.mlflow.clone().or_else(|| self.running().record.clone()).expect("there is a record")
    }

    /// The event log, leases and artifacts that the functions use.
    pub(crate) fn control(&self) -> Control {
        match &self.options.redis {
            Some(url) => Control::open(&StoreArgs::redis(url, self.home())).unwrap(),
            None => Control::embedded(&self.home()),
        }
    }

    /// The functions that run now.
    pub(crate) fn functions(&self) -> Vec<Process> {
        let runtime = self.running.as_ref().map(|running| running.child.id().cast_signed());
        processes::of_home(&self.home()).into_iter().filter(|process| Some(process.pid) != runtime).collect()
    }

    /// What the runtime reported under this name, about this service if one is given.
    pub(crate) fn reported(&self, event: &str, service: Option<&str>) -> Vec<Value> {
        let service = service.map(|name| format!("{}/{name}", self.namespace()));
        let events = self.events.lock().unwrap();
        let about = |value: &&Value| service.as_deref().is_none_or(|name| value["service"] == name);
        events.iter().filter(|value| value["event"] == event).filter(about).cloned().collect()
    }

    /// `regrove` with arguments, against this runtime.
    pub(crate) async fn regrove(&self, arguments: &[&str]) -> regrove::Said {
        let mut command = regrove::command(self.folder.path());
        command.args(arguments).env("REGROVE_HOME", self.home());
        if let Some(running) = &self.running {
            command.env("REGROVE_GATEWAY", &running.gateway).env("REGROVE_BROKER", self.broker());
        }
        if let Some(redis) = &self.options.redis {
            command.env("REDIS_URL", redis);
        }
        regrove::run(command).await
    }

    /// Calls a function through the gateway by its host name.
    pub(crate) async fn call(&self, function: &str, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let mut request = self.client.request(method, format!("{}{path}", self.gateway()));
        request = request.header(http::header::HOST, format!("{function}.{}.localhost", self.namespace()));
        if let Some(body) = body {
            request = request.json(body);
        }
        answer(request).await
    }

    /// `POST /predict`, or that of a model by name.
    pub(crate) async fn predict(&self, model: Option<&str>, rows: &Value) -> Answer {
        let path = model.map_or_else(|| "/predict".to_owned(), |name| format!("/models/{name}/predict"));
        self.call("predict", Method::POST, &path, Some(&json!({"features": rows}))).await
    }

    /// What a function says at `/metrics`.
    pub(crate) async fn metrics(&self, function: &str) -> String {
        let request = self.client.get(format!("{}/metrics", self.gateway()));
        let request = request.header(http::header::HOST, format!("{function}.{}.localhost", self.namespace()));
        request.send().await.unwrap().text().await.unwrap()
    }

    /// Posts to the broker what the test has written itself.
    pub(crate) async fn post_event(&self, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Answer {
        let mut request = self.client.post(self.broker()).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request).await
    }

    /// Posts nothing but headers to a function through the gateway, as an event in binary mode without data is, by the name
    /// that it has inside a cluster.
    pub(crate) async fn post_to(&self, function: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.client.post(format!("{}{path}", self.gateway()));
        request = request.header(http::header::HOST, format!("{function}.{}.svc.cluster.local", self.namespace()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request).await
    }

    fn errors(&self) -> String {
        fs::read_to_string(self.folder.path().join("errors")).unwrap_or_default()
    }

    /// Ends the runtime as `kill PID` does and waits for it.
    fn stop(running: &mut Running) -> Result<(), String> {
        kill_process(Pid::from_child(&running.child), Signal::TERM).map_err(|error| error.to_string())?;
        let ended = until_blocking(STOPPED_WITHIN, || running.child.try_wait().transpose());
        match ended {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(other) => Err(format!("`regrove up` ended with {other:?} after SIGTERM")),
            Err(waited) => {
                running.child.kill().unwrap_or_default();
                running.child.wait().map_err(|error| error.to_string())?;
                Err(format!("`regrove up` after SIGTERM: {waited}"))
            }
        }
    }

    fn show(&self) {
        let events = self.events.lock().unwrap();
        for event in events.iter().skip(events.len().saturating_sub(LINES_SHOWN)) {
            eprintln!("  {event}");
        }
        eprintln!("{}", self.errors());
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let stopped = self.running.take().map_or(Ok(()), |mut running| Self::stop(&mut running));
        if std::thread::panicking() {
            self.show();
            for process in processes::of_home(&self.home()) {
                process.kill();
            }
            return;
        }
        if let Err(reason) = stopped {
            self.show();
            panic!("{reason}");
        }
        processes::assert_none_left(&self.home());
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.bytes().await.unwrap();
    Answer { status, headers, json: serde_json::from_slice(&body).unwrap_or_default() }
}
