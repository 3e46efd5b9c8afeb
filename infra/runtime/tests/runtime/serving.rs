//! Requests, replicas, scale.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, StreamBody};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use regrove_runtime::RuntimeEvent;
use tokio_util::task::TaskTracker;

use crate::stage::{LISTEN_FDS, Stage, eventually, get, is_alive, service, started};

/// A file in a folder of its own; the folder is gone with the guard.
fn file() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file").to_str().unwrap().to_owned();
    (folder, path)
}

#[tokio::test]
async fn a_request_starts_a_replica_and_is_held_until_it_answers() {
    for annotations in [&[LISTEN_FDS][..], &[]] {
        let mut stage = Stage::up(&service("hello", annotations, &[], &[])).await;
        assert_eq!(stage.runtime.status().services[0].now.ready, 0);
        let asked = Instant::now();
        let answer = stage.get("hello", "/").await;
        assert_eq!((answer.status, answer.text.as_str()), (200, "hello"));
        let event = stage.wait_for("cold start", |event| matches!(event, RuntimeEvent::ColdStart { .. })).await;
        let RuntimeEvent::ColdStart { service, replica, split } = event else { unreachable!() };
        assert_eq!((service.as_str(), replica.as_str()), ("default/hello", "hello-00001-1"));
        let elapsed_ms = asked.elapsed().as_secs_f64() * 1_000.0;
        assert!(split.spawn_ms > 0.0 && split.start_ms() < elapsed_ms, "{split:?} within {elapsed_ms} ms");
        let starts = stage.runtime.cold_starts();
        assert_eq!(starts["default/hello"].len(), 1);
        assert_eq!(stage.runtime.status().services[0].now.ready, 1);
        assert_eq!(stage.get("hello", "/").await.status, 200);
        assert_eq!(stage.runtime.cold_starts()["default/hello"].len(), 1, "the second request found a replica");
        stage.runtime.shutdown().await;
    }
}

#[tokio::test]
async fn the_runtime_contract_holds() {
    let yaml = service("hello", &[LISTEN_FDS], &[("COLOUR", "green"), ("GREETING", "$(K_SERVICE) in $(COLOUR)")], &[]);
    let stage = Stage::up_with(&yaml, |config| {
        config.env.insert("COLOUR".to_owned(), "from outside".to_owned());
        config.env.insert("REGROVE_HOME".to_owned(), "/somewhere".to_owned());
    })
    .await;
    let env = stage.get("hello", "/env").await.json();
    for (name, value) in [
        ("K_SERVICE", "hello"),
        ("K_CONFIGURATION", "hello"),
        ("K_REVISION", "hello-00001"),
        ("LISTEN_FDS", "1"),
        ("COLOUR", "green"),
        ("GREETING", "hello in green"),
        ("REGROVE_HOME", "/somewhere"),
        ("header:host", "hello.default.localhost"),
        ("header:x-forwarded-for", "127.0.0.1"),
        ("header:x-forwarded-proto", "http"),
        ("header:forwarded", "for=127.0.0.1;host=hello.default.localhost;proto=http"),
    ] {
        assert_eq!(env[name], value, "{name}");
    }
    assert!(env.get("LISTEN_PID").is_none());
    assert!(env["PORT"].as_str().unwrap().parse::<u16>().unwrap() > 0);
    eventually("the line is captured", || {
        stage.runtime.logs("default", "hello").iter().any(|line| line.text == "listening")
    })
    .await;
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn the_embedded_record_is_mounted_and_announced() {
    let stage = Stage::up_with(&service("hello", &[LISTEN_FDS], &[], &[]), |config| {
        config.record = Some(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
    })
    .await;
    let record = stage.runtime.addresses().record.unwrap().to_string();
    assert_eq!(get(&record, &record, "/health").await.status, 200);
    let env = stage.get("hello", "/env").await.json();
    assert_eq!(env["MLFLOW_TRACKING_URI"], format!("http://{record}"));
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn a_runtime_that_is_dropped_takes_its_processes_along() {
    let (_folder, starts) = file();
    let stage = Stage::up(&service("hello", &[LISTEN_FDS], &[("STARTS", &starts)], &[])).await;
    assert_eq!(stage.get("hello", "/").await.status, 200);
    drop(stage);
    let pids = started(starts.as_ref());
    eventually("the process is gone", || pids.iter().all(|pid| !is_alive(*pid))).await;
}

#[tokio::test]
async fn hosts_choose_the_service() {
    let local = service("inner", &[LISTEN_FDS], &[], &[]).replace(
        "metadata: {name: inner}",
        "metadata: {name: inner, labels: {networking.knative.dev/visibility: cluster-local}}",
    );
    let stage = Stage::up(&(service("hello", &[LISTEN_FDS], &[], &[]) + &local)).await;
    let address = stage.gateway();
    for (host, status) in [
        ("hello.default.localhost:8000", 200),
        ("hello.default.localhost", 200),
        ("HELLO.default.localhost.", 200),
        ("hello.default.svc.cluster.local", 200),
        ("hello.default.svc", 200),
        ("hello.default", 200),
        ("hello.other.localhost", 404),
        ("other.default.localhost", 404),
        ("hello.localhost", 404),
        ("localhost", 404),
        ("inner.default.localhost", 404),
        ("inner.default.svc.cluster.local", 200),
    ] {
        assert_eq!(get(&address, host, "/").await.status, status, "{host}");
    }
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn an_idle_service_goes_to_zero_and_comes_back() {
    let (_folder, terminated) = file();
    let yaml = service("hello", &[LISTEN_FDS], &[("TERMINATED", &terminated)], &[]);
    // A window of 60 s and a grace of 30 s take about a second.
    let mut stage = Stage::up_with(&yaml, |config| config.time_scale = 100.0).await;
    assert_eq!(stage.get("hello", "/").await.status, 200);
    stage.stopped().await;
    assert_eq!(stage.runtime.status().services[0].now.ready, 0);
    assert_eq!(std::fs::read_to_string(&terminated).unwrap(), "yes", "stopped with SIGTERM");
    assert_eq!(stage.get("hello", "/").await.status, 200);
    assert_eq!(stage.runtime.cold_starts()["default/hello"].len(), 2);
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn a_request_under_way_keeps_its_replica() {
    let yaml = service("hello", &[LISTEN_FDS], &[], &[]);
    let mut stage = Stage::up_with(&yaml, |config| config.time_scale = 200.0).await;
    // 2 s are 400 s to the autoscaler.
    let answer = stage.get("hello", "/sleep/2000").await;
    assert_eq!((answer.status, answer.text.as_str()), (200, "slept"));
    stage.stopped().await;
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn concurrency_is_limited_and_the_rest_waits_or_scales() {
    let yaml =
        service("hello", &[LISTEN_FDS, ("autoscaling.knative.dev/max-scale", "1")], &[], &["containerConcurrency: 1"]);
    let stage = Stage::up(&yaml).await;
    assert_eq!(stage.get("hello", "/").await.status, 200);
    let began = Instant::now();
    let (first, second, third) = tokio::join!(
        stage.get("hello", "/sleep/200"),
        stage.get("hello", "/sleep/200"),
        stage.get("hello", "/sleep/200")
    );
    assert_eq!([first.status, second.status, third.status], [200; 3]);
    assert!(began.elapsed() >= Duration::from_millis(600), "one after the other: {:?}", began.elapsed());
    assert_eq!(stage.runtime.status().services[0].now.ready, 1);
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn waiting_requests_get_more_replicas_at_once() {
    let yaml = service("hello", &[LISTEN_FDS], &[], &["containerConcurrency: 1"]);
    let stage = Stage::up(&yaml).await;
    let (_folder, gate) = file();
    let requests = (0..4).map(|_| {
        let (address, path) = (stage.gateway(), format!("/held{gate}"));
        tokio::spawn(async move { get(&address, "hello.default.localhost", &path).await.status })
    });
    let requests: Vec<_> = requests.collect();
    eventually("all are under way side by side", || stage.runtime.status().services[0].now.in_flight == 4).await;
    std::fs::write(&gate, "").unwrap();
    for request in requests {
        assert_eq!(request.await.unwrap(), 200);
    }
    assert!(stage.runtime.status().services[0].now.ready >= 4, "{:?}", stage.runtime.status());
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn a_burst_at_zero_loses_nothing() {
    let stage = Stage::up(&service("hello", &[LISTEN_FDS, ("autoscaling.knative.dev/max-scale", "1")], &[], &[])).await;
    let tasks = TaskTracker::new();
    let all: Vec<_> = (0..500)
        .map(|_| {
            let address = stage.gateway();
            tasks.spawn(async move { get(&address, "hello.default.localhost", "/").await.status })
        })
        .collect();
    for one in all {
        assert_eq!(one.await.unwrap(), 200);
    }
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn a_crash_on_start_is_held_and_tried_again() {
    for annotations in [&[LISTEN_FDS][..], &[]] {
        let (_folder, crashes) = file();
        std::fs::write(&crashes, "2").unwrap();
        let mut stage = Stage::up(&service("hello", annotations, &[("CRASHES", &crashes)], &[])).await;
        assert_eq!(stage.get("hello", "/").await.status, 200);
        let event = stage.wait_for("crash", |event| matches!(event, RuntimeEvent::ReplicaCrashed { .. })).await;
        let RuntimeEvent::ReplicaCrashed { status, .. } = event else { unreachable!() };
        assert_eq!(status, "exit status: 3");
        stage.runtime.shutdown().await;
    }
}

#[tokio::test]
async fn a_crash_under_a_request_is_502_and_the_replica_comes_back() {
    let stage = Stage::up(&service("hello", &[LISTEN_FDS], &[], &[])).await;
    assert_eq!(stage.get("hello", "/").await.status, 200);
    assert_eq!(stage.get("hello", "/exit/1").await.status, 502);
    assert_eq!(stage.get("hello", "/").await.status, 200);
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn a_slow_answer_is_504() {
    let stage = Stage::up(&service("hello", &[LISTEN_FDS], &[], &["timeoutSeconds: 1"])).await;
    stage.warm("hello").await;
    let answer = stage.get("hello", "/sleep/20000").await;
    assert_eq!((answer.status, answer.text.trim()), (504, "activator request timeout"));
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn a_replica_that_never_gets_ready_is_503_with_the_reason() {
    let yaml = service("hello", &[("serving.knative.dev/progress-deadline", "1s")], &[("DEAF", "1")], &[]);
    let mut stage = Stage::up(&yaml).await;
    let answer = stage.get("hello", "/").await;
    assert_eq!(answer.status, 503);
    assert!(answer.text.contains("hello-00001 did not become ready within 1 s"), "{}", answer.text);
    stage.stopped().await;
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn a_command_that_cannot_start_is_503_with_the_reason() {
    let stage = Stage::up_with(&service("hello", &[LISTEN_FDS], &[], &[]), |config| {
        config.exec.insert("test_function".to_owned(), vec!["/nowhere/at/all".to_owned()]);
    })
    .await;
    let answer = stage.get("hello", "/").await;
    assert_eq!(answer.status, 503);
    assert!(answer.text.contains("/nowhere/at/all"), "{}", answer.text);
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn bodies_are_streamed_both_ways() {
    let stage = Stage::up(&service("hello", &[LISTEN_FDS], &[], &[])).await;
    let (sender, receiver) =
        tokio::sync::mpsc::channel::<Result<hyper::body::Frame<Bytes>, std::convert::Infallible>>(1);
    let stream = futures_stream(receiver);
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::post(format!("http://{}/echo", stage.gateway()))
        .header("host", "hello.default.localhost")
        .body(StreamBody::new(stream))
        .unwrap();
    sender.send(Ok(hyper::body::Frame::data(Bytes::from("one")))).await.unwrap();
    let mut body = client.request(request).await.unwrap().into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "one", "the answer began before the request ended");
    sender.send(Ok(hyper::body::Frame::data(Bytes::from("two")))).await.unwrap();
    let second = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(second, "two");
    drop(sender);
    assert!(body.frame().await.is_none());
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn clients_may_speak_http2() {
    let stage = Stage::up(&service("hello", &[LISTEN_FDS], &[], &[])).await;
    let stream = tokio::net::TcpStream::connect(stage.gateway()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), hyper_util::rt::TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request =
        Request::get("http://hello.default.localhost/env").body(http_body_util::Empty::<Bytes>::new()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let env: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(env["header:host"], "hello.default.localhost");
    drop(sender);
    stage.runtime.shutdown().await;
}

/// A channel as a stream.
fn futures_stream<T: Send + 'static>(
    mut receiver: tokio::sync::mpsc::Receiver<T>,
) -> impl futures_util::Stream<Item = T> + Unpin {
    futures_util::stream::poll_fn(move |context| receiver.poll_recv(context))
}

#[tokio::test]
async fn an_upgraded_connection_is_passed_through() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let python = "import os,socket\n\
        s=socket.create_server(('127.0.0.1',int(os.environ['PORT'])))\n\
        while True:\n\
        \x20 c,_=s.accept()\n\
        \x20 h=c.recv(65536)\n\
        \x20 if b'pgrade' not in h: c.close(); continue\n\
        \x20 c.sendall(b'HTTP/1.1 101 Switching Protocols\\r\\nConnection: upgrade\\r\\nUpgrade: shout\\r\\n\\r\\n')\n\
        \x20 while d:=c.recv(1024): c.sendall(d.upper())\n";
    let stage = Stage::up_with(&service("hello", &[], &[], &[]), |config| {
        let command = ["python3", "-c", python].map(str::to_owned).to_vec();
        config.exec.insert("test_function".to_owned(), command);
    })
    .await;
    let mut stream = tokio::net::TcpStream::connect(stage.gateway()).await.unwrap();
    let head = "GET / HTTP/1.1\r\nHost: hello.default.localhost\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        seen.push(stream.read_u8().await.unwrap());
    }
    assert!(seen.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&seen));
    stream.write_all(b"hey").await.unwrap();
    let mut answer = [0; 3];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HEY");
    drop(stream);
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn shutdown_lets_requests_end_and_leaves_no_process() {
    let (_folder, starts) = file();
    let stage = Stage::up(&service("hello", &[LISTEN_FDS], &[("STARTS", &starts)], &[])).await;
    assert_eq!(stage.get("hello", "/").await.status, 200);
    let address = stage.gateway();
    let under_way = tokio::spawn(async move { get(&address, "hello.default.localhost", "/sleep/3000").await.status });
    eventually("the request is in", || stage.runtime.status().services[0].now.in_flight == 1).await;
    stage.runtime.shutdown().await;
    assert_eq!(under_way.await.unwrap(), 200);
    for pid in started(starts.as_ref()) {
        assert!(!is_alive(pid), "{pid} outlived the runtime");
    }
}

#[tokio::test]
async fn a_replica_that_ignores_sigterm_is_killed() {
    let (_folder, starts) = file();
    let yaml = service("hello", &[LISTEN_FDS], &[("STARTS", &starts), ("STUBBORN", "1")], &[]);
    let stage = Stage::up_with(&yaml, |config| config.shutdown_grace = Duration::from_millis(300)).await;
    assert_eq!(stage.get("hello", "/").await.status, 200);
    stage.runtime.shutdown().await;
    for pid in started(starts.as_ref()) {
        assert!(!is_alive(pid), "{pid} outlived the runtime");
    }
}

#[tokio::test]
async fn min_scale_keeps_replicas() {
    let yaml = service("hello", &[LISTEN_FDS, ("autoscaling.knative.dev/min-scale", "2")], &[], &[]);
    let stage = Stage::up(&yaml).await;
    eventually("two replicas", || {
        let now = &stage.runtime.status().services[0].now;
        now.ready + now.starting == 2
    })
    .await;
    stage.runtime.shutdown().await;
}
