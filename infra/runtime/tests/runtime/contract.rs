//! What a process may rely on: its protocol, its probes, the bounds on its answers.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use regrove_runtime::RuntimeEvent;

use crate::stage::{LISTEN_FDS, Stage, service, started};

/// A service with further lines for its container.
fn with_container(env: &[(&str, &str)], lines: &str) -> String {
    service("hello", &[], env, &[])
        .replace("        - image: test_function\n", &format!("        - image: test_function\n          {lines}\n"))
}

#[tokio::test]
async fn a_port_named_h2c_is_spoken_to_in_http2() {
    let yaml = with_container(&[], "ports: [{name: h2c, containerPort: 8080}]");
    let stage = Stage::up(&yaml).await;
    for _ in 0..2 {
        let env = stage.get("hello", "/env").await.json();
        assert_eq!(env["version"], "HTTP/2.0");
        assert_eq!(env["header:x-forwarded-for"], "127.0.0.1");
        assert!(env["header:forwarded"].as_str().unwrap().contains("host=hello.default.localhost"), "{env}");
    }
    let requests = (0..100).map(|_| stage.get("hello", "/sleep/100"));
    let statuses: Vec<u16> =
        futures_util::future::join_all(requests).await.into_iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200; 100]);
    assert_eq!(stage.get("hello", "/exit/1").await.status, 502);
    assert_eq!(stage.get("hello", "/").await.status, 200);
    stage.runtime.shutdown().await;
    let stage = Stage::up(&with_container(&[], "ports: [{containerPort: 8080}]")).await;
    assert_eq!(stage.get("hello", "/env").await.json()["version"], "HTTP/1.1");
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn an_http2_process_may_inherit_its_socket_and_stream() {
    let yaml = with_container(&[], "ports: [{name: h2c, containerPort: 8080}]").replace(
        "      labels: {a: b}\n",
        "      labels: {a: b}\n      annotations: {regrove.io/listen-fds: \"true\"}\n",
    );
    let stage = Stage::up(&yaml).await;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::post(format!("http://{}/echo", stage.gateway()))
        .header("host", "hello.default.localhost")
        .body(Full::new(Bytes::from(vec![7; 1 << 20])))
        .unwrap();
    let response = client.request(request).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), 1 << 20);
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn a_process_that_fails_its_liveness_probe_is_started_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (alive, starts, terminated) = (path("alive"), path("starts"), path("terminated"));
    std::fs::write(&alive, "").unwrap();
    let yaml = with_container(
        &[("ALIVE", &alive), ("STARTS", &starts), ("TERMINATED", &terminated)],
        "livenessProbe: {httpGet: {path: /alive}, periodSeconds: 1, failureThreshold: 2}",
    );
    let mut stage = Stage::up(&yaml).await;
    assert_eq!(stage.get("hello", "/").await.status, 200);
    std::fs::remove_file(&alive).unwrap();
    let event = stage.wait_for("end", |event| matches!(event, RuntimeEvent::ReplicaCrashed { .. })).await;
    let RuntimeEvent::ReplicaCrashed { status, .. } = event else { unreachable!() };
    assert_eq!(status, "a liveness probe that failed 2 times in a row");
    assert_eq!(std::fs::read_to_string(&terminated).unwrap(), "yes", "ended with SIGTERM");
    std::fs::write(&alive, "").unwrap();
    assert_eq!(stage.get("hello", "/").await.status, 200);
    assert!(started(starts.as_ref()).len() >= 2);
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn a_startup_probe_comes_before_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let alive = folder.path().join("alive").to_str().unwrap().to_owned();
    let yaml = with_container(
        &[("ALIVE", &alive)],
        "startupProbe: {httpGet: {path: /alive}, periodSeconds: 1, failureThreshold: 1}",
    );
    let mut stage = Stage::up(&yaml).await;
    let request = {
        let address = stage.gateway();
        tokio::spawn(async move { crate::stage::get(&address, "hello.default.localhost", "/").await.status })
    };
    let event = stage.wait_for("end", |event| matches!(event, RuntimeEvent::ReplicaCrashed { .. })).await;
    let RuntimeEvent::ReplicaCrashed { status, .. } = event else { unreachable!() };
    assert_eq!(status, "a startup probe that did not succeed within 1 s");
    assert!(!request.is_finished(), "it waits for a replica that has started");
    std::fs::write(&alive, "").unwrap();
    assert_eq!(request.await.unwrap(), 200);
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn the_first_byte_and_the_pauses_are_bounded() {
    let yaml = service(
        "hello",
        &[LISTEN_FDS],
        &[],
        &["timeoutSeconds: 20", "responseStartTimeoutSeconds: 4", "idleTimeoutSeconds: 4"],
    );
    let stage = Stage::up(&yaml).await;
    stage.warm("hello").await;
    assert_eq!(stage.get("hello", "/sleep/15000").await.status, 504, "the whole of the timeout would be enough");
    let whole = stage.get("hello", "/drip/400").await;
    assert_eq!((whole.status, whole.text.as_str()), (200, "012"), "no pause is longer than four seconds");
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::get(format!("http://{}/drip/9000", stage.gateway()))
        .header("host", "hello.default.localhost")
        .body(Full::<Bytes>::default())
        .unwrap();
    // The head was sent, so all that is left is to cut the body off.
    let cut = match client.request(request).await {
        Ok(response) => response.into_body().collect().await.is_err(),
        Err(_) => true,
    };
    assert!(cut, "a pause of nine seconds ends the answer, which as a whole would take less than twenty");
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn a_grpc_probe_speaks_the_health_protocol() {
    let folder = tempfile::tempdir().unwrap();
    let alive = folder.path().join("alive").to_str().unwrap().to_owned();
    std::fs::write(&alive, "").unwrap();
    let probe = |service: &str, annotations: &str| {
        let lines = format!(
            "ports: [{{name: h2c, containerPort: 8080}}]\n          readinessProbe: {{grpc: {{service: {service}}}}}\n          \
             livenessProbe: {{grpc: {{}}, periodSeconds: 1, failureThreshold: 1}}"
        );
        with_container(&[("ALIVE", &alive)], &lines).replace(
            "      labels: {a: b}\n",
            &format!("      labels: {{a: b}}\n      annotations: {{{annotations}}}\n"),
        )
    };
    let mut stage = Stage::up(&probe("hello", "")).await;
    assert_eq!(stage.get("hello", "/").await.status, 200);
    std::fs::remove_file(&alive).unwrap();
    let event = stage.wait_for("end", |event| matches!(event, RuntimeEvent::ReplicaCrashed { .. })).await;
    let RuntimeEvent::ReplicaCrashed { status, .. } = event else { unreachable!() };
    assert_eq!(status, "a liveness probe that failed 1 times in a row", "NOT_SERVING is not alive");
    std::fs::write(&alive, "").unwrap();
    assert_eq!(stage.get("hello", "/").await.status, 200);
    stage.runtime.shutdown().await;
    let stage = Stage::up(&probe("unknown", "serving.knative.dev/progress-deadline: 2s")).await;
    let answer = stage.get("hello", "/").await;
    assert_eq!(answer.status, 503, "the server does not know the service: {}", answer.text);
    stage.runtime.shutdown().await;
}
