//! What the console reaches for.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::header::HOST;
use http::{Method, StatusCode};
use regrove_host::{Emitter, Problem, http_client};
use regrove_jobs::Jobs;
use regrove_mlflow::{Client, MlflowArgs, Record};
use regrove_store::{Control, StoreArgs};
use serde_json::Value;
use url::Url;

use crate::FUNCTION;
use crate::access::{AccessArgs, Sessions};
use crate::index::Index;
use crate::runtime::Runtime;

/// How long another function may take to answer, a cold start included.
const CALL_TIMEOUT: Duration = Duration::from_mins(1);

/// Where other functions are.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Addresses")]
pub struct ReachArgs {
    /// Gateway through which the other functions are reached; in a cluster they have names of their own
    #[arg(long, env = "REGROVE_GATEWAY", value_name = "URL")]
    pub gateway: Option<Url>,
    /// What can be asked about the local runtime; `regrove up` sets it, a cluster has no such thing
    #[arg(long, env = "REGROVE_RUNTIME", value_name = "URL")]
    pub runtime: Option<Url>,
    /// Namespace of the other functions
    #[arg(long, env = "REGROVE_NAMESPACE", default_value = "regrove", value_name = "NAME")]
    pub namespace: String,
}

/// Why the console does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The arguments name no store.
    #[error(transparent)]
    Store(#[from] regrove_store::OpenError),
    /// The arguments name no MLflow.
    #[error(transparent)]
    Mlflow(#[from] regrove_mlflow::Error),
}

/// What this function reaches for.
#[derive(Debug)]
pub struct Ports {
    pub(crate) control: Control,
    pub(crate) emitter: Emitter,
    pub(crate) sink: Sink,
    pub(crate) record: Record,
    pub(crate) functions: Functions,
    pub(crate) runtime: Runtime,
    pub(crate) jobs: Jobs,
    pub(crate) index: Index,
    /// `None` when no token is set.
    pub(crate) sessions: Option<Sessions>,
}

impl Ports {
    /// Takes what the arguments name; contacts nothing.
    ///
    /// # Errors
    /// [`OpenError`] when the arguments cannot name a store or an MLflow.
    pub fn open(
        store: &StoreArgs,
        mlflow: &MlflowArgs,
        access: &AccessArgs,
        reach: &ReachArgs,
        sink: Option<Url>,
    ) -> Result<Self, OpenError> {
        let control = Control::open(store)?;
        Ok(Self {
            index: Index::new(Arc::clone(&control.log)),
            emitter: Emitter::new(sink.clone()),
            sink: Sink(sink),
            record: Record::new(Client::new(mlflow)?),
            runtime: Runtime::new(reach.runtime.clone()),
            jobs: Jobs::new(Arc::clone(&control.log), format!("/regrove/{FUNCTION}")),
            control,
            functions: Functions { reach: reach.clone(), client: OnceLock::new() },
            sessions: access.sessions(),
        })
    }

    /// Event log and artifacts.
    pub fn control(&self) -> &Control {
        &self.control
    }
}

/// Where events go, to see whether anybody is there.
#[derive(Debug)]
pub(crate) struct Sink(Option<Url>);

impl Sink {
    /// Its address when it answers at all, else what is wrong. Brokers answer `OPTIONS` without taking anything.
    pub(crate) async fn check(&self) -> Result<String, String> {
        let missing = "K_SINK is not set: bind the console to a broker with a SinkBinding";
        let sink = self.0.as_ref().ok_or(missing)?;
        let client = http_client(sink, CALL_TIMEOUT).map_err(|error| error.without_url().to_string())?;
        let asked = client.request(Method::OPTIONS, sink.clone()).send().await;
        let place = without_userinfo(sink);
        asked.map(|_| place.clone()).map_err(|_| format!("{place} does not answer"))
    }
}

/// An address as it may be shown.
fn without_userinfo(address: &Url) -> String {
    let host = address.host_str().unwrap_or_default();
    let port = address.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{host}{port}{}", address.scheme(), address.path())
}

/// The other functions, over HTTP.
#[derive(Debug)]
pub(crate) struct Functions {
    reach: ReachArgs,
    client: OnceLock<reqwest::Client>,
}

/// What another function answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// Its body; a text that is no JSON is a JSON string.
    pub(crate) body: Value,
}

impl Answer {
    /// What a refusal says, for people.
    pub(crate) fn detail(&self) -> &str {
        self.body.get("detail").and_then(Value::as_str).or(self.body.as_str()).unwrap_or("no reason given")
    }
}

impl Functions {
    /// Calls another function by its name inside the cluster.
    ///
    /// # Errors
    /// 503 when it does not answer.
    pub(crate) async fn call(
        &self,
        function: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, Problem> {
        let host = format!("{function}.{}.svc.cluster.local", self.reach.namespace);
        let base = match &self.reach.gateway {
            Some(gateway) => gateway.clone(),
            None => Url::parse(&format!("http://{host}")).map_err(|error| Problem::internal(&error))?,
        };
        let address = base.join(path).map_err(|error| Problem::internal(&error))?;
        let unreachable = |error: reqwest::Error| Problem::unavailable(function, &error.without_url());
        let client = if let Some(client) = self.client.get() {
            client
        } else {
            let client = http_client(&base, CALL_TIMEOUT).map_err(unreachable)?;
            self.client.get_or_init(|| client)
        };
        let mut request = client.request(method, address).header(HOST, host);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let text = response.text().await.map_err(unreachable)?;
        Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) })
    }
}
