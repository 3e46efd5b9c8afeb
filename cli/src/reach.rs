//! How commands reach what runs: the event log directly, broker and functions over HTTP.

use std::time::Duration;

use anyhow::{Context as _, bail};
use http::header::HOST;
use regrove_events::{CloudEvent, http_binding};
use regrove_mlflow::Secret;
use regrove_store::{Control, StoreArgs};
use serde_json::Value;
use url::Url;

/// Where events of this command come from.
pub(crate) const SOURCE: &str = "/regrove/cli";

/// How long a request may take, a cold start included.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);

/// A function answered, but not with what was asked for.
#[derive(Debug, thiserror::Error)]
#[error("{function} answered {status}: {detail}")]
pub(crate) struct Refused {
    function: String,
    /// Its status: 503 may be another one a moment later.
    pub(crate) status: http::StatusCode,
    detail: String,
}

/// Where things are.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Reach {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    #[cfg(feature = "aws")]
    #[command(flatten)]
    pub(crate) sqs: regrove_sqs::SqsArgs,
    /// The broker's address
    #[arg(
        long,
        global = true,
        env = "REGROVE_BROKER",
        default_value = "http://localhost:8081/regrove/default",
        value_name = "URL",
        help_heading = "Addresses"
    )]
    pub(crate) broker: Url,
    /// The gateway's address; functions are found behind it by host name
    #[arg(
        long,
        global = true,
        env = "REGROVE_GATEWAY",
        default_value = "http://localhost:8000",
        value_name = "URL",
        help_heading = "Addresses"
    )]
    pub(crate) gateway: Url,
    /// Namespace of the functions
    #[arg(
        long,
        global = true,
        env = "REGROVE_NAMESPACE",
        default_value = "regrove",
        value_name = "NAME",
        help_heading = "Addresses"
    )]
    pub(crate) namespace: String,
    /// Domain of the functions' host names, `FUNCTION.NAMESPACE.DOMAIN`
    #[arg(
        long,
        global = true,
        env = "REGROVE_DOMAIN",
        default_value = "localhost",
        value_name = "NAME",
        help_heading = "Addresses"
    )]
    pub(crate) domain: String,
    /// A console to ask about jobs and to give orders to, instead of the event log and the broker
    #[arg(long, global = true, env = "REGROVE_CONSOLE", value_name = "URL", help_heading = "Addresses")]
    pub(crate) console: Option<Url>,
    /// The console's token
    #[arg(
        long,
        global = true,
        env = "REGROVE_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN",
        help_heading = "Addresses"
    )]
    pub(crate) console_token: Option<Secret>,
}

impl Reach {
    pub(crate) fn control(&self) -> anyhow::Result<Control> {
        Ok(Control::open(&self.store)?)
    }

    /// The host name of a function behind the gateway.
    pub(crate) fn host(&self, function: &str) -> String {
        format!("{function}.{}.{}", self.namespace, self.domain)
    }

    /// Sends an event to the broker, or to the queues in its place.
    pub(crate) async fn emit(&self, event: &CloudEvent) -> anyhow::Result<()> {
        #[cfg(feature = "aws")]
        if let Some(queues) = self.sqs.open()? {
            return Ok(Box::pin(queues.send(std::slice::from_ref(event))).await?);
        }
        let (headers, body) = http_binding::to_binary(event)?;
        let response =
            client()?.post(self.broker.clone()).headers(headers).body(body).send().await.with_context(|| {
                format!("the broker at {} does not answer; start one with `regrove up`, or say --broker", self.broker)
            })?;
        let status = response.status();
        if !status.is_success() {
            bail!("the broker answered {status}: {}", response.text().await.unwrap_or_default().trim());
        }
        Ok(())
    }

    /// Calls a function through the gateway and returns its JSON answer.
    pub(crate) async fn call(
        &self,
        function: &str,
        method: http::Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let address = self.gateway.join(path)?;
        let mut request = client()?.request(method, address).header(HOST, self.host(function));
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.with_context(|| {
            format!("the gateway at {} does not answer; start one with `regrove up`, or say --gateway", self.gateway)
        })?;
        let status = response.status();
        let text = response.text().await?;
        if !status.is_success() {
            let problem: Value = serde_json::from_str(&text).unwrap_or_default();
            let detail = problem.get("detail").and_then(Value::as_str).unwrap_or(text.trim());
            return Err(Refused { function: function.to_owned(), status, detail: detail.to_owned() }.into());
        }
        serde_json::from_str(&text).with_context(|| format!("{function} did not answer with JSON"))
    }
}

fn client() -> anyhow::Result<reqwest::Client> {
    Ok(reqwest::Client::builder().timeout(REQUEST_TIMEOUT).no_proxy().build()?)
}
