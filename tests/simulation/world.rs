//! Functions, record, log and broker, all in this process.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use base64::Engine as _;
use http::{HeaderMap, Request, Response, StatusCode};
use jiff::Timestamp;
use rand_mt::Mt;
use regrove_events::event::TrainRequested;
use regrove_events::log::{job_stream, serving_stream};
use regrove_events::{CloudEvent, Event, Job, Serving, http_binding, job, names, serving};
use regrove_host::{Emitter, Gate, HostArgs, LimitArgs, with_defaults};
use regrove_mlflow::record::JOB_TAG;
use regrove_mlflow::{Client, MlflowArgs, Record, Run, RunsQuery, filter};
use regrove_store::Control;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt as _;

/// Deliveries after which a simulation has gone wrong.
const DELIVERIES_MAX: usize = 2_000;
/// Largest body that a test reads.
const BODY_BYTES_MAX: usize = 16 << 20;
/// Bytes of models that `predict` keeps.
const MODELS_BYTES_MAX: u64 = 1 << 30;

/// How the broker behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Each event once, in the order of emission.
    Fair,
    /// Each event twice.
    Twice,
    /// What is pending is delivered newest first.
    Reversed,
    /// Shuffled, repeated, answers lost, by this seed.
    Stormy(u32),
}

/// Functions by name.
pub(crate) struct World {
    pub(crate) control: Control,
    pub(crate) record: Record,
    pub(crate) functions: BTreeMap<&'static str, Router>,
    queue: Arc<Mutex<VecDeque<CloudEvent>>>,
    /// What no retry could have helped, with the status and body that said so.
    pub(crate) dead: Vec<(CloudEvent, StatusCode, Value)>,
    /// With the record's files in `record`, and log and artifacts in `state`.
    pub(crate) home: TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let store = regrove_record::Store::open(&home.path().join("record")).unwrap();
        let record_address = serve(regrove_record::router(store)).await;
        let queue: Arc<Mutex<VecDeque<CloudEvent>>> = Arc::default();
        let accepted = Arc::clone(&queue);
        let sink = serve(Router::new().route(
            "/",
            axum::routing::post(move |headers: HeaderMap, body: Bytes| {
                let event = http_binding::from_http(&headers, body).unwrap();
                accepted.lock().unwrap().push_back(event);
                async { StatusCode::ACCEPTED }
            }),
        ))
        .await;
        let emitter = || Emitter::new(Some(sink.parse().unwrap()));
        let control = Control::embedded(&home.path().join("state"));
        let record = Record::new(Client::new(&MlflowArgs::for_uri(record_address.as_str())).unwrap());
        let functions = functions(&control, &record, home.path(), emitter);
        Self { control, record, functions, queue, dead: Vec::new(), home }
    }

    /// Emits a train request, as a user does.
    pub(crate) fn request(&self, job: &str, request: &TrainRequested) {
        let event = Event::TrainRequested(request.clone());
        let at: Timestamp = "2026-11-23T08:00:00Z".parse().unwrap();
        self.emit(event.first(&format!("{job}/request"), "/test", job, at).unwrap());
    }

    /// Asks for the usual forest, grown from this state, and sees it through.
    pub(crate) async fn train(&mut self, job: &str, random_state: u32) {
        let mut wish = crate::request();
        wish.params.insert("random_state".to_owned(), json!(random_state));
        self.request(job, &wish);
        self.settle(Weather::Fair).await;
    }

    pub(crate) fn emit(&self, event: CloudEvent) {
        self.queue.lock().unwrap().push_back(event);
    }

    /// Delivers until nothing is pending.
    pub(crate) async fn settle(&mut self, weather: Weather) {
        let mut luck = Mt::new(if let Weather::Stormy(seed) = weather { seed } else { 0 });
        for _ in 0..DELIVERIES_MAX {
            let pending: Vec<CloudEvent> = self.queue.lock().unwrap().drain(..).collect();
            if pending.is_empty() {
                return;
            }
            for event in arrange(pending, weather, &mut luck) {
                self.deliver(&event, weather, &mut luck).await;
            }
        }
        unreachable!("the simulation does not come to rest under {weather:?}");
    }

    async fn deliver(&mut self, event: &CloudEvent, weather: Weather, luck: &mut Mt) {
        for function in subscribers(event.ty()) {
            let response = post(&self.functions[function], "/", event).await;
            let status = response.status();
            let lost = matches!(weather, Weather::Stormy(_)) && luck.next_u32().is_multiple_of(4);
            let again = lost || status.is_server_error() || matches!(status.as_u16(), 404 | 408 | 409 | 429);
            if again {
                self.emit(event.clone());
                // One subscription of several would be retried alone; the others hear it twice here, which is harder.
            } else if !status.is_success() {
                self.bury(event, response).await;
            }
        }
    }

    async fn bury(&mut self, event: &CloudEvent, response: Response<Body>) {
        let status = response.status();
        let body = to_bytes(response.into_body(), BODY_BYTES_MAX).await.unwrap();
        self.give_up(event, status, &body).await;
        self.dead.push((event.clone(), status, serde_json::from_slice(&body).unwrap()));
    }

    /// The dead letter sink hears of an event whose trigger has given it up after this answer.
    pub(crate) async fn give_up(&self, event: &CloudEvent, status: StatusCode, body: &[u8]) {
        let mut letter = event.clone();
        letter.set_extension("knativeerrorcode", i32::from(status.as_u16())).unwrap();
        letter.set_extension("knativeerrordata", base64::engine::general_purpose::STANDARD.encode(body)).unwrap();
        let answer = post(&self.functions["aggregate"], "/dead-letters", &letter).await;
        assert!(answer.status().is_success(), "the dead letter sink answers {}", answer.status());
    }

    /// Delivers what is pending once, and returns what was said because of it instead of delivering that.
    pub(crate) async fn step(&mut self) -> Vec<CloudEvent> {
        let pending: Vec<CloudEvent> = self.queue.lock().unwrap().drain(..).collect();
        for event in pending {
            self.deliver(&event, Weather::Fair, &mut Mt::new(0)).await;
        }
        self.queue.lock().unwrap().drain(..).collect()
    }

    pub(crate) async fn job(&self, id: &str) -> Job {
        job::replay(&self.control.log.read(&job_stream(id), 0).await.unwrap())
    }

    pub(crate) async fn serving(&self, name: &str) -> Serving {
        serving::replay(&self.control.log.read(&serving_stream(name), 0).await.unwrap())
    }

    /// `POST /model/load`, as a person does.
    pub(crate) async fn load(&self, wish: &Value) -> (StatusCode, Value) {
        self.ask("/model/load", wish).await
    }

    /// Any order to `load-model`.
    pub(crate) async fn ask(&self, path: &str, wish: &Value) -> (StatusCode, Value) {
        let request = Request::post(path).header("content-type", "application/json");
        let request = request.body(Body::from(wish.to_string())).unwrap();
        let answer = self.functions["load-model"].clone().oneshot(request).await.unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), BODY_BYTES_MAX).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    /// What `load-model` hears once a minute.
    pub(crate) async fn tick(&self) -> StatusCode {
        let tick = CloudEvent::builder("tick", "/simulation", "dev.knative.sources.ping").build().unwrap();
        post(&self.functions["load-model"], "/tick", &tick).await.status()
    }

    /// All runs that the record has for a job.
    pub(crate) async fn runs(&self, job: &str) -> Vec<Run> {
        let client = self.record.client();
        let experiment = client.experiment_by_name("simulation").await.unwrap();
        let query = RunsQuery {
            experiment_ids: vec![experiment.experiment_id],
            filter: filter::tag(JOB_TAG, job).unwrap(),
            order_by: Vec::new(),
            max_results: 100,
            page_token: None,
        };
        client.search_runs(&query).await.unwrap().runs
    }

    /// How many versions the registered model has.
    pub(crate) async fn versions(&self, name: &str) -> usize {
        let filter = format!("name = '{name}'");
        self.record.client().search_model_versions(&filter, "", 100).await.unwrap().len()
    }
}

/// Files of this machine may be read.
fn data_access(home: &Path) -> regrove_aggregate::dataset::DataAccess {
    regrove_aggregate::dataset::DataAccess {
        policy: regrove_data::Policy::for_events(Some("file:"), None).unwrap(),
        limits: regrove_data::Limits::default(),
        spool: home.join("spool"),
        frame_bytes_max: 1 << 20,
    }
}

fn functions(
    control: &Control,
    record: &Record,
    home: &Path,
    emitter: impl Fn() -> Emitter,
) -> BTreeMap<&'static str, Router> {
    let control = || control.clone();
    let aggregate = regrove_aggregate::Ports { control: control(), emitter: emitter(), data: data_access(home) };
    let train_shard = regrove_train_shard::Ports { control: control(), emitter: emitter(), worker: None };
    let register = regrove_register::Ports { control: control(), emitter: emitter(), record: record.clone() };
    let load_model = regrove_load_model::Ports {
        control: control(),
        emitter: emitter(),
        record: record.clone(),
        model_name: "Simulated".to_owned(),
    };
    let predict = regrove_predict::Ports {
        models: regrove_predict::models::Models::follow(control(), "Simulated", MODELS_BYTES_MAX),
        model_name: "Simulated".to_owned(),
        gate: Gate::new(&LimitArgs::default()),
        log: regrove_predict::PredictionLog::off(),
        data: regrove_predict::DataAccess {
            policy: regrove_data::Policy::for_events(Some("file:"), None).unwrap(),
            limits: regrove_data::Limits::default(),
            spool: home.join("spool"),
        },
    };
    let host = HostArgs { body_bytes_max: 1 << 20, ..HostArgs::default() };
    [
        ("aggregate", regrove_aggregate::router(aggregate)),
        ("train-shard", regrove_train_shard::router(train_shard)),
        ("register", regrove_register::router(register)),
        ("load-model", regrove_load_model::router(load_model)),
        ("predict", regrove_predict::router(predict)),
    ]
    .map(|(name, router)| (name, with_defaults(&host, router)))
    .into()
}

/// Who hears what: the same as `k8s/eventing/triggers.yaml` says.
fn subscribers(ty: &str) -> &'static [&'static str] {
    match ty.strip_prefix(regrove_events::TYPE_PREFIX).unwrap_or_default() {
        names::TRAIN_REQUESTED | names::SHARD_TRAINED | names::SWEEP_REQUESTED => &["aggregate", "register"],
        names::TRAIN_CANCELLED => &["aggregate"],
        names::SHARD_REQUESTED => &["train-shard"],
        names::MODEL_AGGREGATED | names::JOB_FAILED | names::JOB_CANCELLED | names::SWEEP_COMPLETED => &["register"],
        names::MODEL_REGISTERED => &["load-model"],
        names::PREDICT_REQUESTED => &["predict"],
        _ => &[],
    }
}

fn arrange(mut pending: Vec<CloudEvent>, weather: Weather, luck: &mut Mt) -> Vec<CloudEvent> {
    match weather {
        Weather::Fair => pending,
        Weather::Twice => pending.iter().flat_map(|event| [event.clone(), event.clone()]).collect(),
        Weather::Reversed => {
            pending.reverse();
            pending
        }
        Weather::Stormy(_) => {
            let repeats: Vec<CloudEvent> =
                pending.iter().filter(|_| luck.next_u32().is_multiple_of(3)).cloned().collect();
            pending.extend(repeats);
            for at in (1..pending.len()).rev() {
                let other = luck.next_u32() as usize % (at + 1);
                pending.swap(at, other);
            }
            pending
        }
    }
}

/// Posts an event to a function, in binary mode.
pub(crate) async fn post(function: &Router, path: &str, event: &CloudEvent) -> Response<Body> {
    let (headers, body) = http_binding::to_binary(event).unwrap();
    let mut request = Request::post(path).body(Body::from(body)).unwrap();
    *request.headers_mut() = headers;
    function.clone().oneshot(request).await.unwrap()
}

/// Serves a router on a free port of this machine; returns its address.
async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}
