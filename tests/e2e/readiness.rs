//! A function that lacks something says what, and serves nothing until it has it.

use std::process::{Child, Command, Stdio};

use http::StatusCode;
use regrove_test_support::RedisServer;
use regrove_test_support::programs::binary;
use serde_json::Value;

use crate::polling::until;

/// A function as a process of its own.
pub(crate) struct Function {
    child: Child,
    port: u16,
}

impl Function {
    /// Starts a function on a free port with this environment and no other.
    pub(crate) fn start(name: &str, environment: &[(&str, &str)]) -> Self {
        Self::start_logging(name, environment, Stdio::null())
    }

    /// Starts one whose log goes there.
    pub(crate) fn start_logging(name: &str, environment: &[(&str, &str)], log: Stdio) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(binary(name).unwrap());
        command.env_clear().env("PORT", port.to_string()).envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Self { child: command.spawn().unwrap(), port }
    }

    /// An address of it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
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

#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_ready_when_redis_and_mlflow_have_answered() {
    let function = Function::start("predict", &[("REDIS_URL", "redis://:s3cret@127.0.0.1:1/0")]);
    let problem = until("a refusal that names Redis", async || {
        let (status, problem) = function.health().await?;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
        problem["detail"].as_str().is_some_and(|detail| detail.starts_with("REDIS_URL: ")).then_some(problem)
    })
    .await;
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("127.0.0.1:1") && !detail.contains("s3cret"), "{detail}");

    let redis = RedisServer::start().unwrap();
    let url = redis.url();
    let environment =
        [("REDIS_URL", url.as_str()), ("MLFLOW_TRACKING_URI", "http://127.0.0.1:1"), ("K_SINK", "http://127.0.0.1:1/")];
    let function = Function::start("register", &environment);
    until("a refusal that names MLflow", async || {
        let (status, problem) = function.health().await?;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
        problem["detail"].as_str().is_some_and(|detail| detail.starts_with("MLFLOW_TRACKING_URI: ")).then_some(())
    })
    .await;
    // Not needing MLflow, another one is ready at once.
    let function = Function::start("predict", &[("REDIS_URL", &url)]);
    let status = until("an answer", async || Some(function.health().await?.0)).await;
    assert_eq!(status, StatusCode::OK);
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

#[tokio::test(flavor = "multi_thread")]
async fn no_function_is_ready_while_its_store_does_not_answer() {
    let nowhere = "redis://127.0.0.1:1/0";
    let settings =
        [("REDIS_URL", nowhere), ("MLFLOW_TRACKING_URI", "http://127.0.0.1:1"), ("K_SINK", "http://127.0.0.1:1/")];
    for (name, _) in FUNCTIONS {
        let function = Function::start(name, &settings);
        until(&format!("a refusal of {name} that names Redis"), async || {
            let (status, problem) = function.health().await?;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{name}: {problem}");
            problem["detail"].as_str().is_some_and(|detail| detail.starts_with("REDIS_URL: ")).then_some(())
        })
        .await;
    }
}

#[test]
fn every_function_names_a_missing_or_wrong_setting_at_start() {
    for (name, needs) in FUNCTIONS {
        let sink = ("K_SINK", "http://127.0.0.1:1/");
        if needs.contains(&"K_SINK") {
            let (code, said) = refusal(name, &[]);
            assert_eq!(code, Some(1), "{name}: {said}");
            assert!(said.contains("K_SINK is not set: bind this function to a broker"), "{name}: {said}");
        }
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
fn a_missing_or_wrong_setting_is_named_at_start() {
    let (code, said) = refusal("aggregate", &[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("K_SINK is not set: bind this function to a broker"), "{said}");
    let (code, said) = refusal("aggregate", &[("K_SINK", "http://b/"), ("REDIS_URL", "http://redis")]);
    assert_eq!(code, Some(1));
    assert!(said.contains("REDIS_URL `http://redis` is invalid"), "{said}");
    let (code, said) = refusal("register", &[("K_SINK", "not an address")]);
    assert_eq!(code, Some(2));
    assert!(said.contains("K_SINK") || said.contains("--sink"), "{said}");
    let queues = ("REGROVE_SQS_QUEUES", "http://127.0.0.1:1/123456789012/x-");
    let (code, said) = refusal("aggregate", &[queues, ("REGROVE_SQS_MANIFESTS", "/nowhere")]);
    assert_eq!(code, Some(1));
    assert!(said.contains("REGROVE_SQS_MANIFESTS /nowhere"), "{said}");
    let (code, said) = refusal("aggregate", &[queues, ("K_SINK", "http://b/")]);
    assert_eq!(code, Some(1));
    assert!(said.contains("K_SINK and REGROVE_SQS_QUEUES are both set"), "{said}");
}
