//! A console over a log in a folder of its own, and a broker that stands for `aggregate`: it records train requests.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, State};
use axum::routing::any;
use http::header::{CONTENT_TYPE, HOST, SET_COOKIE};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use regrove_console::{AccessArgs, Ports, ReachArgs, router};
use regrove_events::log::{job_stream, serving_stream, sweep_stream};
use regrove_events::{CloudEvent, Event, http_binding, json_format};
use regrove_mlflow::MlflowArgs;
use regrove_store::{Control, StoreArgs};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket};
use tower::ServiceExt as _;

/// An address of this machine, and one of another.
pub(crate) const HERE: &str = "127.0.0.1:50000";
pub(crate) const ELSEWHERE: &str = "192.0.2.7:50000";
pub(crate) const TOKEN: &str = "a-token-of-the-tests";

pub(crate) struct World {
    pub(crate) control: Control,
    router: Router,
    said: Arc<Mutex<Vec<CloudEvent>>>,
    _folder: TempDir,
    /// Has the address at which MLflow would be.
    _nobody: TcpSocket,
}

/// An answer whose body was read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The value of a cookie that the answer sets.
    pub(crate) fn cookie(&self, name: &str) -> String {
        let prefix = format!("{name}=");
        let mut set = self.headers.get_all(SET_COOKIE).iter().map(|value| value.to_str().unwrap());
        let found = set.find_map(|value| value.strip_prefix(&prefix));
        found.unwrap_or_else(|| panic!("no cookie {name}: {:?}", self.headers)).split(';').next().unwrap().to_owned()
    }

    /// Asserts a refusal.
    pub(crate) fn refuses(&self, status: u16, kind: &str) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        let problem = self.json();
        assert_eq!(problem["type"], format!("urn:regrove:problem:{kind}"), "{problem}");
        problem["detail"].as_str().unwrap().to_owned()
    }
}

async fn take(
    State((control, said)): State<(Control, Arc<Mutex<Vec<CloudEvent>>>)>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let event = http_binding::from_http(&headers, body).unwrap();
    if let Ok(Event::TrainRequested(_)) = Event::read(&event) {
        let stream = job_stream(event.subject().unwrap());
        if control.log.read(&stream, 0).await.unwrap().is_empty() {
            control.log.append(&stream, 0, std::slice::from_ref(&event)).await.unwrap();
        }
    }
    said.lock().unwrap().push(event);
    StatusCode::ACCEPTED
}

impl World {
    pub(crate) async fn new(token: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let control = Control::embedded(folder.path());
        let said: Arc<Mutex<Vec<CloudEvent>>> = Arc::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sink = format!("http://{}/", listener.local_addr().unwrap());
        let broker = Router::new().route("/", any(take)).with_state((control.clone(), Arc::clone(&said)));
        tokio::spawn(async move { axum::serve(listener, broker).await });
        // It does not listen: the console has to say what it does not know.
        let nobody = TcpSocket::new_v4().unwrap();
        nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let ports = Ports::open(
            &StoreArgs::embedded(folder.path()),
            &MlflowArgs::for_uri(format!("http://{}", nobody.local_addr().unwrap())),
            &AccessArgs { token: token.map(|token| token.parse().unwrap()) },
            &ReachArgs { gateway: None, runtime: None, namespace: "regrove".to_owned() },
            Some(sink.parse().unwrap()),
        );
        Self { control, router: router(ports.unwrap()), said, _folder: folder, _nobody: nobody }
    }

    /// What the broker was told.
    pub(crate) fn said(&self) -> Vec<CloudEvent> {
        self.said.lock().unwrap().clone()
    }

    /// Records an event of `events/testdata` for another job, after `change` of its JSON.
    pub(crate) async fn record(&self, job: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let path = format!("{}/../../events/testdata/{name}.v1.json", env!("CARGO_MANIFEST_DIR"));
        let mut json: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        json["subject"] = job.into();
        json["id"] = format!("{job}/{name}").into();
        change(&mut json);
        let event = json_format::from_slice(json.to_string().as_bytes()).unwrap();
        let stream = job_stream(job);
        let version = self.control.log.read(&stream, 0).await.unwrap().len() as u64;
        self.control.log.append(&stream, version, &[event]).await.unwrap();
    }

    /// A job that succeeded: asked for, one shard, whole, registered.
    pub(crate) async fn succeeded(&self, job: &str) {
        for (name, cause) in [
            ("train-requested", None),
            ("shard-requested", Some("train-requested")),
            ("shard-trained", Some("shard-requested")),
            ("model-aggregated", Some("shard-trained")),
            ("model-registered", Some("model-aggregated")),
        ] {
            self.record(job, name, |event| {
                match cause {
                    Some(cause) => event["causationid"] = format!("{job}/{cause}").into(),
                    None => drop(event.as_object_mut().unwrap().remove("causationid")),
                }
                if name == "shard-requested" {
                    event["data"]["shard"] = 0.into();
                    event["data"]["attempt"] = 1.into();
                    event["data"]["trees"] = serde_json::json!({"from": 0, "to": 75});
                }
                if name == "shard-trained" {
                    event["data"]["shard"] = 0.into();
                    event["data"]["trees"] = serde_json::json!({"from": 0, "to": 75});
                }
            })
            .await;
        }
    }

    /// Has the version of a job that succeeded served, with a confusion matrix and a column of categories.
    pub(crate) async fn served(&self, job: &str) {
        self.record_model(job).await;
        let path = format!("{}/../../events/testdata/model-loaded.v1.json", env!("CARGO_MANIFEST_DIR"));
        let mut json: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        json["subject"] = "RandomForestClassifierModel".into();
        json["data"]["name"] = "RandomForestClassifierModel".into();
        json["data"]["version"] = "7".into();
        let event = json_format::from_slice(json.to_string().as_bytes()).unwrap();
        self.control.log.append(&serving_stream("RandomForestClassifierModel"), 0, &[event]).await.unwrap();
    }

    /// Records what a sweep was asked for with, as `aggregate` does.
    pub(crate) async fn record_sweep(&self, sweep: &str, request: &CloudEvent) {
        self.control.log.append(&sweep_stream(sweep), 0, std::slice::from_ref(request)).await.unwrap();
    }

    async fn record_model(&self, job: &str) {
        self.record(job, "train-requested", |_| {}).await;
        self.record(job, "model-aggregated", |event| {
            let data = &mut event["data"];
            data["dataset"]["classes"] = serde_json::json!(["<no>", "yes"]);
            data["dataset"]["categories"] = serde_json::json!({"größe €": ["large", "small"]});
            data["input_example"] = serde_json::json!([14.25, 1.0]);
            data["confusion_matrix"] = serde_json::json!({"of": "holdout", "counts": [[41, 2], [1, 70]]});
        })
        .await;
        self.record(job, "model-registered", |_| {}).await;
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    /// The router, for answers that do not end.
    pub(crate) fn router(&self) -> Router {
        self.router.clone()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(request("GET", path, HERE, &[], "")).await
    }

    pub(crate) async fn page(&self, path: &str) -> Answer {
        self.send(request("GET", path, HERE, &[("accept", "text/html")], "")).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        let json = [("content-type", "application/json")];
        self.send(request("POST", path, HERE, &json, &body.to_string())).await
    }

    /// Sends a form as the page at `from` holds it.
    pub(crate) async fn form(&self, from: &str, path: &str, fields: &str) -> Answer {
        let key = self.page(from).await.cookie("regrove_form");
        let headers = [
            ("cookie", format!("regrove_form={key}")),
            (CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded".to_owned()),
            ("origin", "http://localhost:8265".to_owned()),
            ("accept", "text/html".to_owned()),
        ];
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.send(request("POST", path, HERE, &headers, &format!("form_key={key}&{fields}"))).await
    }
}

/// A request as it reaches the function.
pub(crate) fn request(method: &str, path: &str, from: &str, headers: &[(&str, &str)], body: &str) -> Request<Body> {
    let mut builder = Request::builder().method(method).uri(path);
    if headers.iter().all(|(name, _)| !name.eq_ignore_ascii_case("host")) {
        builder = builder.header(HOST, "localhost:8265");
    }
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    let mut request = builder.body(Body::from(body.to_owned())).unwrap();
    request.extensions_mut().insert(ConnectInfo(from.parse::<SocketAddr>().unwrap()));
    request
}
