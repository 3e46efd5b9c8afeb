//! Starts that must fail, and deaths that must not matter.

use std::path::Path;
use std::process::Stdio;

use regrove_runtime::{Error, Runtime, RuntimeConfig};
use regrove_test_support::Port;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::sink::Sink;
use crate::stage::{LISTEN_FDS, application, config, emit, eventually, get, is_alive, programs, service, started};

async fn refused(config: RuntimeConfig) -> Error {
    Runtime::start(config).await.expect_err("must not start")
}

#[tokio::test]
async fn one_runtime_per_folder() {
    let home = tempfile::tempdir().unwrap();
    let first = Runtime::start(config("", home.path())).await.unwrap();
    let error = refused(config("", home.path())).await;
    assert!(matches!(error, Error::HomeInUse { .. }), "{error}");
    first.shutdown().await;
    Runtime::start(config("", home.path())).await.unwrap().shutdown().await;
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_flag() {
    let home = tempfile::tempdir().unwrap();
    let owner = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = config("", home.path());
    config.ingress = owner.local_addr().unwrap();
    let error = refused(config).await.to_string();
    assert!(
        error.contains(&owner.local_addr().unwrap().port().to_string()) && error.contains("--ingress-port"),
        "{error}"
    );
}

#[tokio::test]
async fn all_faults_of_the_manifests_are_named_at_once() {
    let home = tempfile::tempdir().unwrap();
    let yaml = service("one", &[], &[], &[]).replace("image: test_function", "image: registry/unknown:1")
        + "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: default}\n---\n\
           apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: lost}\nspec:\n  broker: default\n  \
           subscriber: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: nobody}}\n";
    let error = refused(config(&yaml, home.path())).await.to_string();
    for part in ["Service default/one", "--exec unknown=", "Trigger default/lost", "no Service default/nobody"] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
}

#[tokio::test]
async fn what_is_run_differently_is_warned_about() {
    let home = tempfile::tempdir().unwrap();
    let yaml = service("hello", &[], &[], &[])
        .replace("spec:\n  template:", "spec:\n  traffic: [{revisionName: hello-00007, percent: 100}]\n  template:")
        + "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: other}\n";
    let runtime = Runtime::start(config(&yaml, home.path())).await.unwrap();
    let warnings = runtime.warnings().join("\n");
    assert!(warnings.contains("Service default/hello: spec.traffic names hello-00007"), "{warnings}");
    assert_eq!(runtime.passed_over(), [("Deployment".to_owned(), "other".to_owned())]);
    runtime.shutdown().await;
}

/// The runtime as a process.
struct Process {
    child: Child,
    gateway: String,
    ingress: String,
}

async fn launch(manifest: &Path, home: &Path) -> Process {
    let mut child = Command::new(programs().join("runtime_process"))
        .args([manifest, home, &programs()])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let line = BufReader::new(child.stdout.take().unwrap()).lines().next_line().await.unwrap().expect("addresses");
    let (gateway, ingress) = line.split_once(' ').unwrap();
    Process { gateway: gateway.to_owned(), ingress: ingress.to_owned(), child }
}

/// A broker with one trigger.
fn eventing(subscriber: &str) -> String {
    format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: default}}\n---\napiVersion: \
         eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: t}}\nspec:\n  broker: default\n  subscriber: \
         {{uri: \"{subscriber}\"}}\n  delivery: {{retry: 1000, backoffPolicy: linear, backoffDelay: PT0.1S}}\n"
    )
}

/// Emits three events while `subscriber` is the trigger's, kills the runtime once `killable`, and expects a runtime that
/// is started again with a subscriber that works to deliver all three.
async fn killed_and_started_again(subscriber: &str, killable: impl Future<Output = ()>) {
    let folder = tempfile::tempdir().unwrap();
    let (manifest, home) = (folder.path().join("app.yaml"), folder.path().join("home"));
    std::fs::write(&manifest, eventing(subscriber)).unwrap();
    let mut first = launch(&manifest, &home).await;
    for id in ["1", "2", "3"] {
        assert_eq!(emit(&first.ingress, id, "t").await.status, 202);
    }
    killable.await;
    first.child.kill().await.unwrap();
    let sink = Sink::start(&[]).await;
    std::fs::write(&manifest, eventing(&sink.url)).unwrap();
    let _second = launch(&manifest, &home).await;
    let mut ids: Vec<String> =
        sink.wait_for(3).await.iter().map(|request| request.header("ce-id").to_owned()).collect();
    ids.sort();
    assert_eq!(ids, ["1", "2", "3"]);
}

#[tokio::test]
async fn events_that_nobody_takes_survive_the_death_of_the_runtime() {
    let nobody = Port::reserve().unwrap();
    killed_and_started_again(&format!("http://{}/", nobody.address()), async {}).await;
}

#[tokio::test]
async fn events_that_are_being_delivered_survive_the_death_of_the_runtime() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    killed_and_started_again(&url, async {
        let mut connections = Vec::new();
        for _ in 0..3 {
            connections.push(silent.accept().await.unwrap());
        }
    })
    .await;
}

#[tokio::test]
async fn no_process_outlives_a_killed_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let (manifest, home, starts) =
        (folder.path().join("app.yaml"), folder.path().join("home"), folder.path().join("starts"));
    let yaml = service("hello", &[LISTEN_FDS], &[("STARTS", starts.to_str().unwrap())], &[])
        + &service("other", &[], &[("STARTS", starts.to_str().unwrap())], &[]);
    application(&yaml);
    std::fs::write(&manifest, yaml).unwrap();
    let mut process = launch(&manifest, &home).await;
    assert_eq!(get(&process.gateway, "hello.default.localhost", "/").await.status, 200);
    assert_eq!(get(&process.gateway, "other.default.localhost", "/").await.status, 200);
    let pids = started(&starts);
    assert_eq!(pids.len(), 2);
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    process.child.kill().await.unwrap();
    eventually("all processes are gone", || pids.iter().all(|pid| !is_alive(*pid))).await;
}

#[tokio::test]
async fn sigterm_ends_the_runtime_and_its_processes() {
    let folder = tempfile::tempdir().unwrap();
    let (manifest, home, starts) =
        (folder.path().join("app.yaml"), folder.path().join("home"), folder.path().join("starts"));
    std::fs::write(&manifest, service("hello", &[LISTEN_FDS], &[("STARTS", starts.to_str().unwrap())], &[])).unwrap();
    let mut process = launch(&manifest, &home).await;
    assert_eq!(get(&process.gateway, "hello.default.localhost", "/").await.status, 200);
    let pid = rustix::process::Pid::from_raw(i32::try_from(process.child.id().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(process.child.wait().await.unwrap().success());
    assert!(started(&starts).iter().all(|pid| !is_alive(*pid)));
}
