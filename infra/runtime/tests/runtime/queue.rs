//! The activator's queue, filled.

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use hyper_util::rt::TokioExecutor;
use tokio_util::task::TaskTracker;

use crate::stage::{LISTEN_FDS, Stage, eventually, service};

/// As many as the activator holds, on a hundred connections. None of them is answered before the last has come.
#[tokio::test]
async fn ten_thousand_requests_wait_at_zero_and_none_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let go = folder.path().join("go").display().to_string();
    let program = crate::stage::programs().join("test_function");
    let script = format!("while [ ! -e {go} ]; do sleep 0.05; done; exec {}", program.display());
    let yaml = service("hello", &[LISTEN_FDS, ("autoscaling.knative.dev/max-scale", "1")], &[], &[]);
    let stage = Stage::up_with(&yaml, |config| {
        config.exec.insert("test_function".to_owned(), ["sh", "-c", &script].map(str::to_owned).to_vec());
    })
    .await;
    let tasks = TaskTracker::new();
    let mut all = Vec::new();
    for _ in 0..100 {
        let stream = tokio::net::TcpStream::connect(stage.gateway()).await.unwrap();
        let stream = hyper_util::rt::TokioIo::new(stream);
        let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tasks.spawn(async move { connection.await.unwrap_or_default() });
        for _ in 0..100 {
            let mut sender = sender.clone();
            let request = Request::get("http://hello.default.localhost/").body(http_body_util::Empty::<Bytes>::new());
            all.push(tokio::spawn(async move {
                let response = sender.send_request(request.unwrap()).await.unwrap();
                let status = response.status();
                (status, response.into_body().collect().await.unwrap().to_bytes())
            }));
        }
    }
    eventually("all have come", || {
        let now = &stage.runtime.status().services[0].now;
        now.waiting + now.in_flight == 10_000
    })
    .await;
    assert_eq!(stage.runtime.status().services[0].now.requests, 0, "none is answered");
    std::fs::write(&go, "").unwrap();
    for one in all {
        let (status, body) = one.await.unwrap();
        assert_eq!((status.as_u16(), &body[..]), (200, &b"hello"[..]));
    }
    assert_eq!(stage.runtime.status().services[0].now.requests, 10_000);
    stage.runtime.shutdown().await;
}
