//! Lambda's runtime API for one function, and the process that asks it for work.
//!
//! `GET /2018-06-01/runtime/invocation/next` waits for an invocation; `POST …/invocation/ID/response` and `…/error` end it
//! (AWS Lambda Developer Guide, "Using the Lambda runtime API for custom runtimes").

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::{Path as Segment, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use http::StatusCode;
use regrove_test_support::programs::binary;
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};

use super::template::{ACCOUNT, Function, REGION};

type Outcome = Result<Value, Value>;

/// A function that Lambda has started.
pub(crate) struct Lambda {
    name: String,
    timeout: Duration,
    work: mpsc::UnboundedSender<Invocation>,
    server: tokio::task::JoinHandle<()>,
    /// Killed when this is dropped.
    _process: Child,
}

struct Invocation {
    payload: Value,
    /// Time until its deadline.
    left: Duration,
    answer: oneshot::Sender<Outcome>,
}

/// What the runtime API knows.
struct Api {
    name: String,
    work: tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>,
    pending: Mutex<BTreeMap<String, oneshot::Sender<Outcome>>>,
}

impl Lambda {
    /// Starts the function's binary in `folder`, with the template's environment and `extra` over it.
    pub(crate) async fn start(function: &Function, folder: &Path, extra: &BTreeMap<String, String>) -> Self {
        let (work, received) = mpsc::unbounded_channel();
        let timeout = Duration::from_secs(function.timeout_seconds);
        let api = Arc::new(Api {
            name: function.name.clone(),
            work: tokio::sync::Mutex::new(received),
            pending: Mutex::default(),
        });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(responded))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(failed))
            .with_state(api);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let log = std::fs::File::create(folder.join(format!("{}.log", function.name))).unwrap();
        let process = Command::new(binary(&function.name).unwrap())
            .current_dir(folder)
            .env_clear()
            .envs(&function.environment)
            .env("AWS_LAMBDA_RUNTIME_API", address)
            .env("AWS_LAMBDA_FUNCTION_NAME", &function.name)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1024")
            .env("AWS_REGION", REGION)
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .envs(extra)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { name: function.name.clone(), timeout, work, server, _process: process }
    }

    /// One invocation: the answer, or what Lambda would report as the function's error.
    pub(crate) async fn invoke(&self, payload: Value) -> Outcome {
        self.invoke_with(payload, self.timeout).await
    }

    /// An invocation that is told of so much time.
    pub(crate) async fn invoke_with(&self, payload: Value, left: Duration) -> Outcome {
        let (answer, answered) = oneshot::channel();
        self.work.send(Invocation { payload, left, answer }).unwrap_or_else(|_| panic!("{} has ended", self.name));
        match tokio::time::timeout(self.timeout, answered).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => panic!("{} has ended", self.name),
            Err(_) => Err(Value::from("Task timed out")),
        }
    }
}

impl Drop for Lambda {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn next(State(api): State<Arc<Api>>) -> Response {
    let Some(invocation) = api.work.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };
    let id = uuid::Uuid::new_v4().to_string();
    api.pending.lock().unwrap().insert(id.clone(), invocation.answer);
    let deadline = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + invocation.left;
    let headers = [
        ("lambda-runtime-aws-request-id", id),
        ("lambda-runtime-deadline-ms", deadline.as_millis().to_string()),
        ("lambda-runtime-invoked-function-arn", format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{}", api.name)),
    ];
    (headers, invocation.payload.to_string()).into_response()
}

async fn responded(State(api): State<Arc<Api>>, Segment(id): Segment<String>, body: String) -> StatusCode {
    api.end(&id, Ok(serde_json::from_str(&body).unwrap()))
}

async fn failed(State(api): State<Arc<Api>>, Segment(id): Segment<String>, body: String) -> StatusCode {
    api.end(&id, Err(serde_json::from_str(&body).unwrap()))
}

impl Api {
    fn end(&self, id: &str, outcome: Outcome) -> StatusCode {
        let Some(answer) = self.pending.lock().unwrap().remove(id) else { return StatusCode::NOT_FOUND };
        // Whoever waited may have timed out.
        answer.send(outcome).unwrap_or_default();
        StatusCode::ACCEPTED
    }
}
