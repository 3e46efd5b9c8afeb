//! `regrove doctor` says what is wrong and how to mend it.

use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};
use regrove_test_support::RedisServer;
use serde_json::Value;

use crate::polling::until;
use crate::readiness::Function;
use crate::regrove;
use crate::up::{Up, UpOptions};

/// The finding whose subject begins with `what`.
#[track_caller]
fn finding<'a>(findings: &'a Value, what: &str) -> &'a Value {
    let found = findings.as_array().unwrap().iter().find(|one| one["what"].as_str().unwrap().starts_with(what));
    found.unwrap_or_else(|| panic!("nothing about `{what}`: {findings:#}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_well_and_what_does_not_is_named() {
    let up = Up::start(UpOptions::default());
    let uri = up.tracking_uri();
    let arguments = ["doctor", "--json", "--mlflow-tracking-uri", &uri];
    let said = up.regrove(&arguments).await.ok().json();
    for what in ["state (embedded", "MLflow", "broker", "gateway", "dead letters"] {
        assert_eq!(finding(&said, what)["verdict"], "well", "{said:#}");
    }
    // A dead letter that waits is a doubt, and no failure.
    let headers = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "lost"),
        ("ce-source", "/e2e"),
        ("ce-type", "io.regrove.train-requested"),
        ("ce-subject", "shapeless"),
    ];
    up.post_event(&headers, "{\"dataset\": 5}").await;
    up.job_end("shapeless").await;
    // The job hears of the letter before the broker knows that it has been taken.
    let dead = until("the dead letter is a doubt", async || {
        let said = up.regrove(&arguments).await.ok().json();
        let dead = finding(&said, "dead letters");
        (dead["verdict"] == "doubt").then(|| dead.clone())
    })
    .await;
    assert!(dead["mend"].as_str().unwrap().contains("regrove event redrive"), "{dead}");
    // Another namespace has no functions and no broker.
    let elsewhere = ["doctor", "--json", "--mlflow-tracking-uri", &uri, "--namespace", "elsewhere"];
    let said = up.regrove(&elsewhere).await;
    said.fails(1, &["1 of"]);
    assert_eq!(finding(&said.json(), "gateway")["detail"], "no function has this host name");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_anything_everything_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = regrove::command(folder.path());
    command.args(["doctor", "--broker", "http://127.0.0.1:1/a/b", "--gateway", "http://127.0.0.1:1"]);
    command.args(["--mlflow-tracking-uri", "http://127.0.0.1:1"]).env("REDIS_URL", "redis://:s3cret@127.0.0.1:1/0");
    let said = regrove::run(command).await;
    said.fails(1, &["4 of 5 things are wrong"]);
    for words in ["WRONG  state (redis at", "WRONG  MLflow", "WRONG  broker", "WRONG  gateway", "→ start Redis"] {
        assert!(said.out.contains(words), "`{words}` is not said: {}", said.out);
    }
    assert!(!said.out.contains("s3cret") && !said.err.contains("s3cret"), "{said:?}");
}

/// Broker, gateway and MLflow of a cluster at once: its clock stands in 1994, its functions are under example.com, and its
/// MLflow knows another name than 127.0.0.1. Its address.
async fn odd_cluster() -> String {
    async fn answer(request: Request) -> Response {
        let host = request.headers()[header::HOST].to_str().unwrap();
        let (status, body) = match request.uri().path() {
            "/regrove/default" => (StatusCode::METHOD_NOT_ALLOWED, ""),
            "/healthz" if host == "predict.regrove.example.com" => (StatusCode::OK, "ok"),
            "/version" => (StatusCode::OK, "3.7.0"),
            path if path.starts_with("/api/") => {
                (StatusCode::FORBIDDEN, "Invalid Host header - possible DNS rebinding attack detected")
            }
            _ => (StatusCode::NOT_FOUND, ""),
        };
        (status, [(header::DATE, "Sun, 06 Nov 1994 08:49:37 GMT")], body).into_response()
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(answer)).await.unwrap() });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn another_clock_a_refused_host_and_another_domain_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let address = odd_cluster().await;
    let broker = format!("{address}/regrove/default");
    let examine = async |domain: &[&str]| {
        let mut command = regrove::command(folder.path());
        command.args(["doctor", "--json", "--broker", &broker, "--gateway", &address]);
        command.args(["--mlflow-tracking-uri", &address]).args(domain);
        regrove::run(command).await.json()
    };
    let said = examine(&[]).await;
    for clock in ["clock of broker", "clock of gateway"] {
        let skew = finding(&said, clock);
        assert_eq!(skew["verdict"], "doubt", "{skew}");
        assert!(skew["mend"].as_str().unwrap().contains("NTP"), "{skew}");
    }
    let mlflow = finding(&said, "MLflow");
    assert_eq!(mlflow["verdict"], "wrong");
    assert!(mlflow["detail"].as_str().unwrap().starts_with("MLflow refuses the host name 127.0.0.1"), "{mlflow}");
    assert!(mlflow["mend"].as_str().unwrap().contains("MLFLOW_SERVER_ALLOWED_HOSTS"), "{mlflow}");
    let gateway = finding(&said, "gateway");
    assert_eq!(gateway["detail"], "no function has this host name");
    assert!(gateway["mend"].as_str().unwrap().contains("--domain"), "{gateway}");
    assert_eq!(finding(&examine(&["--domain", "example.com"]).await, "gateway")["verdict"], "well");
}

/// An aggregate hears of one dead letter, and writes its log there.
async fn log_of_one_dead_letter(log: &Path) {
    let redis = RedisServer::start().unwrap();
    let environment = [("REDIS_URL", redis.url()), ("K_SINK", "http://127.0.0.1:1/".to_owned())];
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let aggregate = Function::start_logging("aggregate", &environment, File::create(log).unwrap().into());
    until("the aggregate is ready", async || (aggregate.health().await?.0 == StatusCode::OK).then_some(())).await;
    let letter = reqwest::Client::new().post(aggregate.url("/dead-letters")).body("{}");
    let headers = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "lost"),
        ("ce-source", "/e2e"),
        ("ce-type", "io.regrove.shard-requested"),
        ("ce-subject", "of-no-job"),
        ("ce-knativeerrorcode", "503"),
    ];
    let letter = headers.into_iter().fold(letter, |letter, (name, value)| letter.header(name, value));
    assert!(letter.send().await.unwrap().status().is_success());
}

/// A cluster that answers is played by a script: what it says is what `kubectl get … --output json` says of one.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_looked_at_with_kubectl() {
    let folder = tempfile::tempdir().unwrap();
    let kubectl = folder.path().join("kubectl");
    log_of_one_dead_letter(&folder.path().join("aggregate.log")).await;
    let script = r#"#!/bin/sh
case "$*" in
*"get namespace"*) echo '{"items":[{"metadata":{"name":"knative-serving","labels":{"app.kubernetes.io/version":"1.22.0"}}},{"metadata":{"name":"knative-eventing","labels":{"app.kubernetes.io/version":"1.22.0"}}}]}';;
*"version --output json"*) echo '{"serverVersion":{"gitVersion":"v1.32.4"}}';;
*"statefulsets.apps redis"*) echo '{"metadata":{"name":"redis","namespace":"regrove"},"spec":{"replicas":1},"status":{}}';;
*config-domain*) echo '{"data":{"example.com":""}}';;
*secret*) ;;
*"configmap regrove-config"*) echo '{"data":{"MLFLOW_TRACKING_URI":"http://mlflow.regrove.svc.cluster.local"}}';;
*deployments*) echo '{"items":[{"metadata":{"name":"mlflow"},"spec":{"template":{"spec":{"containers":[{"env":[{"name":"MLFLOW_SERVER_ALLOWED_HOSTS","value":"localhost"}]}]}}}}]}';;
*leases*) echo '{"items":[{"metadata":{"name":"n1"},"spec":{"renewTime":"2100-01-01T00:00:00.000000Z"}}]}';;
*logs*app.kubernetes.io/name=aggregate*) cat "${0%/*}/aggregate.log";;
*) echo '{"items":[]}';;
esac
"#;
    std::fs::write(&kubectl, script).unwrap();
    std::fs::set_permissions(&kubectl, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = regrove::command(folder.path());
    command.args(["doctor", "--json", "--cluster", "--context", "test", "--kubectl", kubectl.to_str().unwrap()]);
    command.args(["--broker", "http://127.0.0.1:1/a/b", "--gateway", "http://127.0.0.1:1"]);
    let said = regrove::run(command).await;
    assert_eq!(said.code, Some(1));
    let findings = said.json();
    assert_eq!(finding(&findings, "knative-serving")["verdict"], "well");
    let domain = finding(&findings, "domain");
    assert_eq!(
        (domain["verdict"].as_str(), domain["detail"].as_str()),
        (Some("doubt"), Some("it is example.com, and this command asks for localhost"))
    );
    assert_eq!(finding(&findings, "Kubernetes")["detail"], "version 1.32.4, Knative 1.22 needs 1.34 or newer");
    for wrong in ["Kubernetes", "Broker", "SinkBinding", "StatefulSet redis"] {
        assert_eq!(finding(&findings, wrong)["verdict"], "wrong", "{findings:#}");
    }
    assert_eq!(finding(&findings, "Secret")["verdict"], "doubt");
    assert_eq!(finding(&findings, "MLflow's host names")["verdict"], "wrong");
    assert!(finding(&findings, "clock of node n1")["detail"].as_str().unwrap().contains("ahead"), "{findings:#}");
    assert_eq!(
        finding(&findings, "the cluster's dead letters")["detail"],
        "1 in the last 24h: 1 × io.regrove.shard-requested (status 503); the newest is event `lost`"
    );
    // Without a cluster, kubectl's own words.
    let mut command = regrove::command(folder.path());
    command.args(["doctor", "--json", "--cluster", "--kubectl", "/nowhere/kubectl"]);
    let said = regrove::run(command).await;
    assert!(finding(&said.json(), "cluster")["detail"].as_str().unwrap().contains("cannot be run"), "{said:?}");
}
