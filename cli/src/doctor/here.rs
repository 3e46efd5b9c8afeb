//! What is reached from this machine: the stores, MLflow, the broker, the functions behind the gateway.

use http::StatusCode;
use http::header::{DATE, HOST};
use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};
use regrove_events::with_causes;
use regrove_mlflow::{Client, Error, MlflowArgs};
use regrove_runtime::dead_letters;
use reqwest::Response;

use super::Finding;
use crate::reach::Reach;

/// How far two clocks may be apart before somebody should look: a `Date` header counts whole seconds, and a job's times
/// are compared with the tick's.
pub(crate) const SKEW_MAX: SignedDuration = SignedDuration::from_secs(5);
/// How long one answer may take, a cold start included.
const ANSWER_MAX: std::time::Duration = std::time::Duration::from_secs(20);
/// Dead letters that are counted.
const DEAD_MAX: usize = 1000;
/// Asked through the gateway: it needs no model to be well.
const PROBED: &str = "predict";

/// Looks at everything.
pub(crate) async fn examine(reach: &Reach, mlflow: &MlflowArgs, now: impl Fn() -> Timestamp) -> Vec<Finding> {
    let mut findings = vec![state(reach).await, record(mlflow).await];
    findings.extend(broker(reach, &now).await);
    findings.extend(gateway(reach, &now).await);
    findings.push(dead(reach));
    findings
}

async fn state(reach: &Reach) -> Finding {
    let control = match reach.control() {
        Ok(control) => control,
        Err(error) => return Finding::wrong("state", format!("{error:#}"), "correct the setting that is named"),
    };
    let what = format!("state ({} at {})", control.kind(), control.place());
    match control.check().await {
        Ok(()) => Finding::well(what, "answers"),
        Err(error) => {
            let mend = "start Redis, or correct REDIS_URL, REDIS_USERNAME and REDIS_PASSWORD; without REDIS_URL, --home \
                        has to be a folder that this user may write to";
            Finding::wrong(what, with_causes(&error), mend)
        }
    }
}

async fn record(args: &MlflowArgs) -> Finding {
    let what = "MLflow";
    let client = match Client::new(args) {
        Ok(client) => client,
        Err(error) => return Finding::wrong(what, error.to_string(), "correct the setting that is named"),
    };
    // Anybody may ask for the version; the host name and the password count from the first real question on.
    let version = match client.server_version().await {
        Ok(version) => version,
        Err(error) => return refused(what, &error),
    };
    match client.search_model_versions("", "", 1).await {
        Ok(_) => Finding::well(what, format!("version {version}")),
        Err(error) => refused(what, &error),
    }
}

/// The errors of MLflow's client say what to do about most of them.
fn refused(what: &str, error: &Error) -> Finding {
    let mend = match error {
        Error::HostRefused { .. } => {
            "start the server with that MLFLOW_SERVER_ALLOWED_HOSTS; k8s/mlflow/values.yaml has it"
        }
        Error::Unauthorized { .. } => "set those variables, for the functions in the Secret regrove-secrets",
        Error::NoSuchEndpoint { .. } | Error::NotMlflow { .. } => "correct MLFLOW_TRACKING_URI, or upgrade MLflow",
        _ => "start MLflow (`regrove up` brings an embedded one), or correct MLFLOW_TRACKING_URI",
    };
    Finding::wrong(what, with_causes(error), mend)
}

/// A broker takes POST only: 405 tells that it is there, 404 that it is not.
async fn broker(reach: &Reach, now: &impl Fn() -> Timestamp) -> Vec<Finding> {
    let what = format!("broker {}", reach.broker);
    let answer = match ask(reach.broker.as_str(), None).await {
        Ok(answer) => answer,
        Err(error) => {
            let mend = "start one with `regrove up`, forward its port (`skaffold dev` does), or say --broker";
            return vec![Finding::wrong(what, error, mend)];
        }
    };
    let state = match answer.status() {
        StatusCode::METHOD_NOT_ALLOWED => Finding::well(&*what, "takes events"),
        StatusCode::NOT_FOUND => {
            let mend = "the path is /NAMESPACE/BROKER: correct --broker, or apply k8s/eventing/broker.yaml";
            Finding::wrong(&*what, "there is no such broker", mend)
        }
        status => Finding::wrong(&*what, format!("answered {status}"), "look at what listens there"),
    };
    [Some(state), skew(&what, &answer, now())].into_iter().flatten().collect()
}

/// A function by its host name: 404 tells that the domain is another one.
async fn gateway(reach: &Reach, now: &impl Fn() -> Timestamp) -> Vec<Finding> {
    let host = reach.host(PROBED);
    let what = format!("gateway {} for {host}", reach.gateway);
    let address = match reach.gateway.join("/healthz") {
        Ok(address) => address,
        Err(error) => return vec![Finding::wrong(what, error.to_string(), "correct --gateway")],
    };
    let answer = match ask(address.as_str(), Some(&host)).await {
        Ok(answer) => answer,
        Err(error) => {
            let mend = "start a runtime with `regrove up`, forward the gateway's port, or say --gateway";
            return vec![Finding::wrong(what, error, mend)];
        }
    };
    let status = answer.status();
    let skew = skew(&what, &answer, now());
    let state = if status.is_success() {
        Finding::well(what, "answers")
    } else if status == StatusCode::NOT_FOUND {
        let mend = "--domain has to be the cluster's, which `regrove doctor --cluster` looks at; or --namespace is another \
                    one";
        Finding::wrong(what, "no function has this host name", mend)
    } else {
        let said = answer.text().await.unwrap_or_default();
        let problem: serde_json::Value = serde_json::from_str(&said).unwrap_or_default();
        let detail = problem.get("detail").and_then(serde_json::Value::as_str).unwrap_or(said.trim()).to_owned();
        Finding::wrong(what, format!("answered {status}: {detail}"), "the function's log says more")
    };
    [Some(state), skew].into_iter().flatten().collect()
}

async fn ask(address: &str, host: Option<&str>) -> Result<Response, String> {
    let client =
        reqwest::Client::builder().timeout(ANSWER_MAX).no_proxy().build().map_err(|error| with_causes(&error))?;
    let mut request = client.get(address);
    if let Some(host) = host {
        request = request.header(HOST, host);
    }
    request.send().await.map_err(|error| with_causes(&error))
}

/// How far the other side's clock is from this one's, if that is too far.
fn skew(what: &str, answer: &Response, now: Timestamp) -> Option<Finding> {
    let theirs = read_date(answer.headers().get(DATE)?.to_str().ok()?)?;
    let apart = theirs.duration_since(now);
    (apart.abs() > SKEW_MAX).then(|| {
        let detail = format!("its clock is {apart:#} from this one's");
        let mend = "let both machines follow one time server (NTP): overdue shards are told by the clock";
        Finding::doubt(format!("clock of {what}"), detail, mend)
    })
}

fn read_date(text: &str) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

fn dead(reach: &Reach) -> Finding {
    let what = "dead letters of the local broker";
    match dead_letters(&reach.store.home, DEAD_MAX) {
        Ok(letters) if letters.is_empty() => Finding::well(what, "none"),
        Ok(letters) => {
            let more = if letters.len() == DEAD_MAX { " or more" } else { "" };
            let newest = letters.first().map(|letter| letter.event.id().to_owned()).unwrap_or_default();
            let detail = format!("{}{more} are waiting, the newest is event `{newest}`", letters.len());
            Finding::doubt(what, detail, "`regrove event dead` says why, `regrove event redrive` delivers them again")
        }
        Err(error) => Finding::wrong(what, with_causes(&error), "--home names the folder of `regrove up`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_header_is_read() {
        let date = read_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(date, "1994-11-06T08:49:37Z".parse().unwrap());
        assert_eq!(read_date("yesterday"), None);
    }
}
