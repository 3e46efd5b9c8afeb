//! A control store with models in it, and the function that serves them.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use http::{HeaderMap, Request, StatusCode};
use regrove_data::{Limits, Policy};
use regrove_events::event::{Example, ModelLoaded, TrafficChanged};
use regrove_events::log::{append_decided, serving_stream};
use regrove_events::{Event, SwitchedBy, serving};
use regrove_forest::{Frame, Label, Model, RandomForestParams, Target, fit};
use regrove_host::{Gate, HostArgs, LimitArgs, with_defaults};
use regrove_predict::models::Models;
use regrove_predict::{DataAccess, Ports, PredictionLog, router};
use regrove_store::Control;
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt as _;

/// Name of the default model.
pub(crate) const NAME: &str = "Staged";
/// Its columns.
pub(crate) const COLUMNS: [&str; 3] = ["a", "b", "c"];

/// The largest body that it takes.
pub(crate) const BODY_BYTES_MAX: usize = 4 << 20;

/// Between two looks, so that looking does not hold up what is looked at.
pub(crate) async fn pause() {
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
}

pub(crate) struct Stage {
    pub(crate) control: Control,
    pub(crate) router: Router,
    pub(crate) gate: Gate,
    /// Events may name files of the folder `data` in it.
    pub(crate) home: TempDir,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.body)))
    }

    /// It is this problem, and its detail has these words.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, kind: &str, says: &str) -> Value {
        let json = self.json();
        assert_eq!(self.status.as_u16(), status, "{json}");
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(json["type"], format!("urn:regrove:problem:{kind}"), "{json}");
        let detail = json["detail"].as_str().unwrap();
        assert!(detail.contains(says), "`{detail}` does not say `{says}`");
        json
    }
}

/// Which kind of model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Numbers,
    Texts,
    Regressor,
}

/// A small forest; another seed is another model.
pub(crate) fn model(kind: Kind, seed: u32) -> (Vec<u8>, Model) {
    let n_rows = 60_u16;
    let cell = |row: u16, column: u16| f32::from((row * 7 + column * 13) % 29) - 9.5;
    let columns = (0..3).flat_map(|column| (0..n_rows).map(move |row| cell(row, column))).collect();
    let indexes = (0..n_rows).map(|row| u32::from(row % 3)).collect();
    let target = match kind {
        Kind::Numbers => Target::Classes { classes: vec![Label::Int(0), Label::Int(1), Label::Int(5)], indexes },
        Kind::Texts => Target::Classes {
            classes: ["no", "so \"so\"", "yes"].map(|text| Label::Str(text.to_owned())).into(),
            indexes,
        },
        Kind::Regressor => Target::Values((0..n_rows).map(|row| f64::from(row % 11) / 3.0).collect()),
    };
    let frame = Frame::new(COLUMNS.map(str::to_owned).into(), columns, "target", target).unwrap();
    let estimator = if kind == Kind::Regressor { "RandomForestRegressor" } else { "RandomForestClassifier" };
    let params: RandomForestParams = serde_json::from_value(
        serde_json::json!({"estimator": estimator, "n_estimators": 7, "max_depth": 4, "random_state": seed}),
    )
    .unwrap();
    let bytes = fit(&frame, &params).unwrap().to_bytes().unwrap();
    (bytes.clone(), Model::from_bytes(Arc::new(bytes)).unwrap())
}

impl Stage {
    pub(crate) fn empty() -> Self {
        Self::with(1 << 30)
    }

    pub(crate) fn with(models_bytes_max: u64) -> Self {
        Self::made(models_bytes_max, "file:", &LimitArgs::default())
    }

    /// With version 1 in service, taking on no more than this.
    pub(crate) async fn bounded(limits: &LimitArgs) -> Self {
        let stage = Self::made(1 << 30, "file:", limits);
        stage.load(NAME, "1", model(Kind::Numbers, 1).0, None).await;
        stage
    }

    /// With version 1 in service, and events that may name data sets of other places than the folder `data`.
    pub(crate) async fn reading(kind: Kind, allowed: &str) -> (Self, Model) {
        let stage = Self::made(1 << 30, allowed, &LimitArgs::default());
        let (bytes, model) = model(kind, 1);
        stage.load(NAME, "1", bytes, None).await;
        (stage, model)
    }

    fn made(models_bytes_max: u64, allowed: &str, limits: &LimitArgs) -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("data")).unwrap();
        let control = Control::embedded(home.path());
        let gate = Gate::new(&LimitArgs { concurrency_max: Some(NonZeroUsize::MIN), ..limits.clone() });
        let ports = Ports {
            models: Models::follow(control.clone(), NAME, models_bytes_max),
            model_name: NAME.to_owned(),
            gate: gate.clone(),
            log: PredictionLog::off(),
            data: DataAccess {
                policy: Policy::for_events(Some(allowed), Some(&home.path().join("data"))).unwrap(),
                limits: Limits::default(),
                spool: home.path().join("spool"),
            },
        };
        let router = with_defaults(&HostArgs { body_bytes_max: BODY_BYTES_MAX, ..HostArgs::default() }, router(ports));
        Self { control, router, gate, home }
    }

    /// With version 1 of the default model in service.
    pub(crate) async fn of(kind: Kind) -> (Self, Model) {
        let stage = Self::empty();
        let (bytes, model) = model(kind, 1);
        stage.load(NAME, "1", bytes, None).await;
        (stage, model)
    }

    /// What `load-model` records when it switches to a version.
    pub(crate) async fn load(&self, name: &str, version: &str, bytes: Vec<u8>, example: Option<Example>) {
        let loaded = self.loaded(name, version, bytes, example).await;
        self.record(name, Event::ModelLoaded(loaded)).await;
    }

    pub(crate) async fn loaded(
        &self,
        name: &str,
        version: &str,
        bytes: Vec<u8>,
        example: Option<Example>,
    ) -> ModelLoaded {
        let model = self.control.artifacts.put(bytes).await.unwrap();
        ModelLoaded { example, ..ModelLoaded::plain(name, version, model, SwitchedBy::Request) }
    }

    pub(crate) async fn traffic(&self, change: TrafficChanged) {
        let name = change.name.clone();
        self.record(&name, Event::TrafficChanged(change)).await;
    }

    pub(crate) async fn record(&self, name: &str, event: Event) {
        append_decided(&*self.control.log, &serving_stream(name), |history| {
            let id = format!("{name}/{}", history.len());
            let at = "2026-11-27T08:00:00Z".parse().unwrap();
            Ok::<_, regrove_events::log::Error>((vec![event.first(&id, "/test", name, at).unwrap()], ()))
        })
        .await
        .unwrap();
    }

    pub(crate) async fn switches(&self, name: &str) -> u64 {
        serving::replay(&self.control.log.read(&serving_stream(name), 0).await.unwrap()).switches
    }

    pub(crate) async fn ask(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Reply { status: parts.status, headers: parts.headers, body: to_bytes(body, 64 << 20).await.unwrap().to_vec() }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.ask(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, content_type: &str, body: impl Into<Body>) -> Reply {
        self.ask(Request::post(path).header("content-type", content_type).body(body.into()).unwrap()).await
    }

    pub(crate) async fn json(&self, path: &str, body: &Value) -> Reply {
        self.post(path, "application/json", body.to_string()).await
    }

    /// Asks until the version that answers is this one.
    pub(crate) async fn until_version(&self, name: &str, version: &str) {
        loop {
            let info = self.get(&format!("/models/{name}/info")).await;
            if info.status == StatusCode::OK && info.json()["model_info"]["version"] == version {
                return;
            }
            pause().await;
        }
    }

    /// The value of a line of `/metrics`.
    pub(crate) async fn metric(&self, line: &str) -> Option<f64> {
        let text = String::from_utf8(self.get("/metrics").await.body).unwrap();
        text.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok())
    }
}

/// What the model says of rows, `(n_rows, n_outputs)`.
pub(crate) fn outputs(model: &Model, rows: &[[f32; 3]]) -> Vec<f64> {
    let mut out = vec![0.0; rows.len() * model.n_outputs()];
    model.predict_proba_rows(rows.as_flattened(), rows.len(), &mut out).unwrap();
    out
}

/// The file in which the store keeps these bytes.
pub(crate) fn artifact(stage: &Stage, bytes: &[u8]) -> PathBuf {
    let mut folders = vec![stage.home.path().join("artifacts")];
    while let Some(folder) = folders.pop() {
        for path in folder.read_dir().unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if std::fs::read(&path).unwrap() == bytes {
                return path;
            }
        }
    }
    panic!("no artifact of {} bytes", bytes.len())
}
