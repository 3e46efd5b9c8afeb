//! A function that lacks something says what, and serves nothing until it has it.

use std::process::{Child, Command, Stdio};

use http::StatusCode;
use regrove_test_support::programs::binary;
use regrove_test_support::{Port, RedisServer};
use serde_json::Value;

use crate::polling::until;

/// A function as a process of its own.
pub(crate) struct Function {
    child: Child,
    port: Port,
}

impl Function {
    /// Starts a function on a free port with this environment and no other.
    pub(crate) fn start(name: &str, environment: &[(&str, &str)]) -> Self {
        Self::start_logging(name, environment, Stdio::null())
    }

    /// Starts one whose log goes there.
    pub(crate) fn start_logging(name: &str, environment: &[(&str, &str)], log: Stdio) -> Self {
        let port = Port::reserve().unwrap();
        let mut command = Command::new(binary(name).unwrap());
        command.env_clear().env("PORT", port.number().to_string()).envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Self { child: command.spawn().unwrap(), port }
    }

    /// An address of it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.port.address())
    }

    /// What it says of its health; `None` while it does not listen.
    pub(crate) async fn health(&self) -> Option<(StatusCode, Value)> {
        let answer = reqwest::get(self.url("/healthz")).await.ok()?;
        let status = answer.status();
        Some((status, serde_json::from_str(&answer.text().await.ok()?).unwrap_or_default()))
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// What a function says when it does not even start, and its exit code.
fn refusal(name: &str, environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(binary(name).unwrap());
    command.env_clear().env("PORT", "0").envs(environment.iter().copied()).stdin(Stdio::null());
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// Every function, with what it needs besides a store.
const FUNCTIONS: [(&str, &[&str]); 6] = [
    ("aggregate", &["K_SINK"]),
    ("train-shard", &["K_SINK"]),
    ("register", &["K_SINK", "MLFLOW_TRACKING_URI"]),
    ("load-model", &["K_SINK", "MLFLOW_TRACKING_URI"]),
    ("predict", &[]),
    ("console", &["K_SINK"]),
];

/// Those that are not ready before MLflow has answered. The console's pages say themselves that it does not.
const WAIT_FOR_MLFLOW: [&str; 2] = ["register", "load-model"];
/// Where nobody listens.
const NOWHERE: &str = "http://127.0.0.1:1/";

/// Waits until the function answers that it is not ready because of this setting: the reason.
async fn waits_for(name: &str, function: &Function, setting: &str) -> String {
    until(&format!("a refusal of {name} that names {setting}"), async || {
        let (status, problem) = function.health().await?;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{name}: {problem}");
        problem["detail"].as_str()?.strip_prefix(setting)?.strip_prefix(": ").map(str::to_owned)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_function_is_ready_while_its_store_does_not_answer() {
    let redis = "redis://:s3cret@127.0.0.1:1/0";
    for (name, _) in FUNCTIONS {
        let settings = [("REDIS_URL", redis), ("MLFLOW_TRACKING_URI", NOWHERE), ("K_SINK", NOWHERE)];
        let function = Function::start(name, &settings);
        let reason = waits_for(name, &function, "REDIS_URL").await;
        assert!(reason.contains("127.0.0.1:1") && !reason.contains("s3cret"), "{name}: {reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_keeps_the_record_waits_for_mlflow_and_nobody_else() {
    let redis = RedisServer::start().unwrap();
    let url = redis.url();
    for (name, _) in FUNCTIONS {
        let settings = [("REDIS_URL", url.as_str()), ("MLFLOW_TRACKING_URI", NOWHERE), ("K_SINK", NOWHERE)];
        let function = Function::start(name, &settings);
        if WAIT_FOR_MLFLOW.contains(&name) {
            waits_for(name, &function, "MLFLOW_TRACKING_URI").await;
        } else {
            until(&format!("{name} is ready"), async || {
                let (status, problem) = function.health().await?;
                // It may still be asking Redis.
                assert!(!problem["detail"].as_str().is_some_and(|why| why.starts_with("MLFLOW")), "{name}: {problem}");
                (status == StatusCode::OK).then_some(())
            })
            .await;
        }
    }
}

#[test]
fn every_function_names_a_missing_or_wrong_setting_at_start() {
    for (name, needs) in FUNCTIONS {
        let sink = ("K_SINK", NOWHERE);
        // Who emits only when told to is told to.
        let draws = [("REGROVE_PREDICTION_LOG_RATE", "1")];
        let (code, said) = refusal(name, if needs.contains(&"K_SINK") { &[] } else { &draws });
        assert_eq!(code, Some(1), "{name}: {said}");
        assert!(said.contains("K_SINK is not set: bind this function to a broker"), "{name}: {said}");
        let (code, said) = refusal(name, &[("K_SINK", "not an address")]);
        assert_eq!(code, Some(2), "{name}: {said}");
        assert!(said.contains("invalid value 'not an address' for '--sink"), "{name}: {said}");
        let mut wrong = vec![("REDIS_URL", "http://redis", 1, "REDIS_URL `http://redis` is invalid")];
        wrong.push(("REGROVE_BODY_BYTES_MAX", "many", 2, "invalid value 'many'"));
        if needs.contains(&"MLFLOW_TRACKING_URI") {
            wrong.push(("MLFLOW_TRACKING_URI", "ftp://mlflow", 1, "MLFLOW_TRACKING_URI"));
        }
        for (setting, value, exit, says) in wrong {
            let (code, said) = refusal(name, &[sink, (setting, value)]);
            assert_eq!(code, Some(exit), "{name} with {setting}: {said}");
            assert!(said.contains(says), "{name} with {setting}: {said}");
        }
        // Its files would be gone with the instance.
        let (code, said) = refusal(name, &[sink, ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:1")]);
        assert_eq!(code, Some(1), "{name}: {said}");
        assert!(said.contains("REDIS_URL is not set"), "{name}: {said}");
    }
}

#[test]
fn queues_that_cannot_be_used_are_named_at_start() {
    let queues = ("REGROVE_SQS_QUEUES", "http://127.0.0.1:1/123456789012/x-");
    let (code, said) = refusal("aggregate", &[queues, ("REGROVE_SQS_MANIFESTS", "/nowhere")]);
    assert_eq!(code, Some(1));
    assert!(said.contains("REGROVE_SQS_MANIFESTS /nowhere"), "{said}");
    let (code, said) = refusal("aggregate", &[queues, ("K_SINK", "http://b/")]);
    assert_eq!(code, Some(1));
    assert!(said.contains("K_SINK and REGROVE_SQS_QUEUES are both set"), "{said}");
}
