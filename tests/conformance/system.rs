//! What is under test: a broker and an ingress of the user's, or `regrove up`.

use std::env;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Client, Method, Response};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use regrove_test_support::RedisServer;
use regrove_test_support::programs::{binary, workspace};

use crate::subscriber::{Received, Subscriber};

const BROKER: &str = "REGROVE_CONFORMANCE_BROKER";
const LISTEN: &str = "REGROVE_CONFORMANCE_LISTEN";
const INGRESS: &str = "REGROVE_CONFORMANCE_INGRESS";
const HOST: &str = "REGROVE_CONFORMANCE_HOST";

/// Host name of the manifest's Service when none is given.
const HOST_DEFAULT: &str = "display.conformance.localhost";
/// How long one request may take, the start of a function included.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(2);

/// Type of the events that the plain trigger wants, whose delivery is that of the broker.
pub(crate) const PLAIN: &str = "conformance.plain";

/// Attributes of an event, as headers without `ce-`.
pub(crate) type Attributes<'a> = Vec<(&'a str, &'a str)>;

/// Our own runtime.
struct Own {
    folder: TempDir,
    child: Child,
}

/// Whether this is the program that runs the suite with the journal in Redis.
fn wants_redis() -> bool {
    env!("CARGO_CRATE_NAME") == "conformance_redis"
}

/// What is under test, and a subscriber that it delivers to.
pub(crate) struct System {
    pub(crate) subscriber: Subscriber,
    broker: String,
    ingress: Option<String>,
    pub(crate) host: String,
    pub(crate) client: Client,
    own: Option<Own>,
    redis: Option<RedisServer>,
    run: String,
    events: AtomicUsize,
}

fn variable(name: &str) -> Option<String> {
    env::vars().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value)
}

#[expect(clippy::disallowed_methods, reason = "ids that no earlier run has used")]
fn run_name() -> String {
    format!("{}-{}", jiff::Timestamp::now().as_microsecond(), std::process::id())
}

impl System {
    /// Connects to what the environment names, or starts our own.
    pub(crate) async fn start() -> Self {
        let broker = variable(BROKER);
        let address = match variable(LISTEN) {
            Some(text) => text.parse().unwrap_or_else(|error| panic!("{LISTEN}={text}: {error}")),
            None if broker.is_some() => panic!("{LISTEN} is missing: where is the subscriber of the manifest?"),
            None => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        };
        let subscriber = Subscriber::start(address).await;
        let client = Client::builder()
            .no_proxy()
            .timeout(REQUEST_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        let mut system = Self {
            broker: broker.clone().unwrap_or_default(),
            ingress: variable(INGRESS),
            host: variable(HOST).unwrap_or_else(|| HOST_DEFAULT.to_owned()),
            client,
            own: None,
            redis: (broker.is_none() && wants_redis()).then(|| RedisServer::start().unwrap()),
            run: run_name(),
            events: AtomicUsize::new(0),
            subscriber,
        };
        if broker.is_none() {
            let folder = tempfile::Builder::new().prefix("regrove-conformance-").tempdir().unwrap();
            system.launch(folder).await;
        }
        system
    }

    async fn launch(&mut self, folder: TempDir) {
        let manifest = include_str!("manifest.yaml")
            .replace("SUBSCRIBER", &format!("http://{}", self.subscriber.address))
            .replace("IMAGE", "display");
        let file = folder.path().join("manifest.yaml");
        std::fs::write(&file, manifest).unwrap();
        let function = workspace().join("examples/functions/display.js");
        let mut command = Command::new(binary("regrove").unwrap());
        command
            .args(["up", "--json", "--gateway-port", "0", "--ingress-port", "0", "--record-port", "0", "--file"])
            .arg(file)
            .arg("--exec")
            .arg(format!("display=node {}", function.display()))
            .arg("--home")
            .arg(folder.path().join("home"))
            .env_remove("CARGO")
            .env_remove("REDIS_URL")
            .env_remove("MLFLOW_TRACKING_URI")
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        if let Some(redis) = &self.redis {
            command.env("REDIS_URL", redis.url());
        }
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next_line().await.unwrap().expect("`regrove up` starts");
        // Its reports are read to the end, so that it never waits for a reader.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let started: Value = serde_json::from_str(&first).unwrap_or_else(|error| panic!("{error}: {first}"));
        let address = |name: &str| started[name].as_str().unwrap_or_else(|| panic!("{started}")).to_owned();
        self.broker = format!("{}/conformance/conformance", address("ingress"));
        self.ingress = Some(address("gateway"));
        self.own = Some(Own { folder, child });
    }

    /// Kills the runtime and starts it again, if it is ours to kill; without its folder if that is not what holds events.
    pub(crate) async fn crash(&mut self) {
        if let Some(mut own) = self.own.take() {
            own.child.kill().await.unwrap();
            if self.redis.is_some() {
                std::fs::remove_dir_all(own.folder.path().join("home")).unwrap();
            }
            self.launch(own.folder).await;
        }
    }

    /// The ingress for HTTP requests.
    pub(crate) fn ingress(&self) -> &str {
        self.ingress.as_deref().unwrap_or_else(|| panic!("{INGRESS} is missing: where is the Knative ingress?"))
    }

    /// An id that no other event has.
    pub(crate) fn id(&self) -> String {
        format!("{}-{}", self.run, self.events.fetch_add(1, Ordering::Relaxed))
    }

    /// Any request to the broker, with exactly these headers.
    pub(crate) async fn request(&self, method: Method, headers: &[(&str, &[u8])], body: Vec<u8>) -> Response {
        let mut request = self.client.request(method, &self.broker).body(body);
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            request = request.header(name, HeaderValue::from_bytes(value).unwrap());
        }
        request.send().await.unwrap()
    }

    /// Sends an event in binary mode.
    pub(crate) async fn send(&self, id: &str, ty: &str, more: &Attributes<'_>, body: &[u8]) -> u16 {
        let mut headers = vec![
            ("ce-specversion".to_owned(), "1.0"),
            ("ce-id".to_owned(), id),
            ("ce-source".to_owned(), "/conformance"),
            ("ce-type".to_owned(), ty),
        ];
        for (name, value) in more {
            let name = if *name == "content-type" { (*name).to_owned() } else { format!("ce-{name}") };
            headers.push((name, value));
        }
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        self.request(Method::POST, &headers, body.to_vec()).await.status().as_u16()
    }

    /// Sends an event in structured mode.
    pub(crate) async fn send_structured(&self, event: &Value) -> u16 {
        let headers = [("content-type", &b"application/cloudevents+json; charset=utf-8"[..])];
        self.request(Method::POST, &headers, event.to_string().into_bytes()).await.status().as_u16()
    }

    /// Sends an event that must be accepted, without data.
    #[track_caller]
    pub(crate) fn emit<'a>(&'a self, id: &'a str, ty: &'a str) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let status = self.send(id, ty, &Vec::new(), b"").await;
            assert!((200..300).contains(&status), "{caller}: {ty} was answered with {status}");
        }
    }

    /// Sends another event of the type and waits for it at the path: what a broker was to do at once about events before
    /// it is then done.
    pub(crate) async fn fence(&self, ty: &str, path: &str) {
        let id = self.id();
        self.emit(&id, ty).await;
        self.subscriber.wait_for(path, &id, 1).await;
    }

    /// Waits for an event at a path.
    pub(crate) async fn arrival(&self, path: &str, id: &str) -> Received {
        self.subscriber.wait_for(path, id, 1).await.swap_remove(0)
    }
}
