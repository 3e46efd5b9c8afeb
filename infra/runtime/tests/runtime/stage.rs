//! What the tests share: an application from YAML, a running runtime, a client.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use regrove_knative::manifest::{Application, Source};
use regrove_runtime::{Runtime, RuntimeConfig, RuntimeEvent};
use tempfile::TempDir;
use tokio::sync::broadcast::Receiver;

/// Longest wait for anything, on a machine that is slow and has other work. Reaching it is a failure, never a measurement.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// Folder of the examples, which are the programs that services run.
pub(crate) fn programs() -> PathBuf {
    let test = std::env::current_exe().expect("own path");
    test.parent().and_then(Path::parent).expect("target folder").join("examples")
}

pub(crate) fn application(yaml: &str) -> Application {
    Application::parse(&[Source { name: "test.yaml", text: yaml }]).unwrap_or_else(|problems| panic!("{problems}"))
}

/// A Service of the image `test_function`. `env` and `annotations` are (name, value); `spec` are further lines of its spec.
pub(crate) fn service(name: &str, annotations: &[(&str, &str)], env: &[(&str, &str)], spec: &[&str]) -> String {
    let lines = |head: &str, lines: Vec<String>| {
        if lines.is_empty() { String::new() } else { format!("{head}{}\n", lines.join("\n")) }
    };
    let annotations = annotations.iter().map(|(name, value)| format!("        {name}: \"{value}\"")).collect();
    let env = env.iter().map(|(name, value)| format!("            - {{name: {name}, value: \"{value}\"}}")).collect();
    let spec = spec.iter().map(|line| format!("      {line}")).collect();
    format!(
        "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  template:\n    \
         metadata:\n      labels: {{a: b}}\n{}    spec:\n{}      containers:\n        - image: test_function\n{}---\n",
        lines("      annotations:\n", annotations),
        lines("", spec),
        lines("          env:\n", env),
    )
}

/// The template annotation for an inherited socket.
pub(crate) const LISTEN_FDS: (&str, &str) = ("regrove.io/listen-fds", "true");

/// A runtime with a folder of its own.
pub(crate) struct Stage {
    pub(crate) runtime: Runtime,
    pub(crate) home: TempDir,
    pub(crate) events: Receiver<RuntimeEvent>,
}

pub(crate) fn config(yaml: &str, home: &Path) -> RuntimeConfig {
    let mut config = RuntimeConfig::new(application(yaml), home).on_free_ports();
    config.record = None;
    config.bin_dirs = vec![programs()];
    config
}

impl Stage {
    pub(crate) async fn up(yaml: &str) -> Self {
        Self::up_with(yaml, |_| {}).await
    }

    pub(crate) async fn up_with(yaml: &str, adjust: impl FnOnce(&mut RuntimeConfig)) -> Self {
        let home = TempDir::new().expect("temporary folder");
        let mut config = config(yaml, home.path());
        adjust(&mut config);
        let runtime = Runtime::start(config).await.expect("start");
        let events = runtime.watch();
        Self { runtime, home, events }
    }

    /// A runtime in a folder that others used before.
    pub(crate) async fn up_in(home: TempDir, yaml: &str) -> Self {
        let runtime = Runtime::start(config(yaml, home.path())).await.expect("start");
        let events = runtime.watch();
        Self { runtime, home, events }
    }

    /// Ends the runtime and hands its folder on.
    pub(crate) async fn down(self) -> TempDir {
        self.runtime.shutdown().await;
        self.home
    }

    /// The revision that answers for a host, from its `K_REVISION`.
    pub(crate) async fn revision(&self, host: &str) -> String {
        let answer = get(&self.gateway(), &format!("{host}.default.localhost"), "/env").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()["K_REVISION"].as_str().expect("K_REVISION").to_owned()
    }

    /// Waits until all requests to the first service go to one revision. By its state: what happened while the runtime
    /// started is not announced to those who watch from then on.
    pub(crate) async fn all_to(&self, revision: &str) {
        eventually("traffic moves", || self.has_all(revision)).await;
    }

    /// Whether all requests to the first service go to one revision.
    pub(crate) fn has_all(&self, revision: &str) -> bool {
        let status = self.runtime.status();
        status.services[0].revisions.iter().any(|it| it.revision == revision && it.percent > 99.99)
    }

    /// GET on a service in the namespace `default`.
    pub(crate) async fn get(&self, service: &str, path: &str) -> Answer {
        let host = format!("{service}.default.localhost");
        get(&self.gateway(), &host, path).await
    }

    /// Asks a service until it answers. One whose requests may take a second only is not always started within that.
    pub(crate) async fn warm(&self, service: &str) {
        let began = Instant::now();
        loop {
            let answer = self.get(service, "/").await;
            if answer.status == 200 {
                return;
            }
            assert_eq!(answer.status, 504, "{}", answer.text);
            assert!(began.elapsed() < PATIENCE, "{service} never answers in time");
        }
    }

    pub(crate) fn gateway(&self) -> String {
        self.runtime.addresses().gateway.to_string()
    }

    /// Posts an event to broker `default` in namespace `default`.
    pub(crate) async fn emit(&self, id: &str, ty: &str) -> Answer {
        emit(&self.runtime.addresses().ingress.to_string(), id, ty).await
    }

    /// Waits for an event of the runtime.
    pub(crate) async fn wait_for(&mut self, what: &str, matches: impl Fn(&RuntimeEvent) -> bool) -> RuntimeEvent {
        let found = async {
            loop {
                let event = self.events.recv().await.expect("runtime gone or test too slow");
                if matches(&event) {
                    return event;
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("never happened: {what}"))
    }

    pub(crate) async fn stopped(&mut self) -> RuntimeEvent {
        self.wait_for("replica stopped", |event| matches!(event, RuntimeEvent::ReplicaStopped { .. })).await
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

pub(crate) async fn send(request: Request<Full<Bytes>>) -> Answer {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let response: Response<_> = client.request(request).await.expect("response");
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("body").to_bytes();
    Answer { status, text: String::from_utf8_lossy(&body).into_owned() }
}

pub(crate) async fn get(address: &str, host: &str, path: &str) -> Answer {
    let request = Request::get(format!("http://{address}{path}")).header("host", host);
    send(request.body(Full::default()).expect("request")).await
}

pub(crate) async fn emit(ingress: &str, id: &str, ty: &str) -> Answer {
    emit_to(ingress, "default/default", id, ty).await
}

/// Posts an event to a broker or channel, named as `namespace/name`.
pub(crate) async fn emit_to(ingress: &str, broker: &str, id: &str, ty: &str) -> Answer {
    send(event(ingress, broker, id, ty).body(Full::from("{\"n\":1}")).expect("request")).await
}

/// Posts an event with a partition key.
pub(crate) async fn emit_keyed(ingress: &str, id: &str, key: &str) -> Answer {
    let event = event(ingress, "default/default", id, "t").header("ce-partitionkey", key);
    send(event.body(Full::default()).expect("request")).await
}

fn event(ingress: &str, broker: &str, id: &str, ty: &str) -> http::request::Builder {
    Request::builder()
        .method(Method::POST)
        .uri(format!("http://{ingress}/{broker}"))
        .header("ce-specversion", "1.0")
        .header("ce-id", id)
        .header("ce-source", "/test")
        .header("ce-type", ty)
        .header("content-type", "application/json")
        .header("x-request-id", "request-7")
        .header("x-b3-traceid", "463ac35c9f6413ad")
        .header("knative-hop", "first")
        .header("x-stranger", "1")
}

/// Waits until `holds`. For states that nothing announces, such as the end of a foreign process.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "never became true: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Whether a process is there and no zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Process ids that the function wrote to its `STARTS` file.
pub(crate) fn started(file: &Path) -> Vec<u32> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}
