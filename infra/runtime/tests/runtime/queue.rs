//! The activator's queue, filled.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::stage::{LISTEN_FDS, Stage, eventually, service};

/// Requests that the activator holds for a revision at most.
const QUEUE_DEPTH_MAX: usize = 10_000;

/// Requests on connections of a hundred each.
struct Crowd {
    gateway: String,
    connections: TaskTracker,
    senders: Vec<SendRequest<Empty<Bytes>>>,
    sent: usize,
}

impl Crowd {
    const PER_CONNECTION: usize = 100;

    fn new(gateway: String) -> Self {
        Self { gateway, connections: TaskTracker::new(), senders: Vec::new(), sent: 0 }
    }

    /// Sends a request; its answer is that of the task.
    async fn send(&mut self) -> JoinHandle<(u16, Bytes)> {
        if self.sent == self.senders.len() * Self::PER_CONNECTION {
            let stream = TokioIo::new(tokio::net::TcpStream::connect(&self.gateway).await.unwrap());
            let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
            self.connections.spawn(async move { connection.await.unwrap_or_default() });
            self.senders.push(sender);
        }
        let mut sender = self.senders[self.sent / Self::PER_CONNECTION].clone();
        self.sent += 1;
        let request = Request::get("http://hello.default.localhost/").body(Empty::new()).unwrap();
        tokio::spawn(async move {
            let response = sender.send_request(request).await.unwrap();
            (response.status().as_u16(), response.into_body().collect().await.unwrap().to_bytes())
        })
    }
}

/// As many as the activator holds, and one more. None of them is answered before the last has come.
#[tokio::test]
async fn ten_thousand_requests_wait_at_zero_and_none_is_lost_but_one_more_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let go = folder.path().join("go").display().to_string();
    let program = crate::stage::programs().join("test_function");
    let script = format!("while [ ! -e {go} ]; do sleep 0.05; done; exec {}", program.display());
    let yaml = service("hello", &[LISTEN_FDS, ("autoscaling.knative.dev/max-scale", "1")], &[], &[]);
    let stage = Stage::up_with(&yaml, |config| {
        config.exec.insert("test_function".to_owned(), ["sh", "-c", &script].map(str::to_owned).to_vec());
    })
    .await;
    let now = || stage.runtime.status().services[0].now.clone();
    let (mut crowd, mut all) = (Crowd::new(stage.gateway()), Vec::new());
    for _ in 0..QUEUE_DEPTH_MAX {
        all.push(crowd.send().await);
    }
    eventually("all have come", || now().waiting + now().in_flight == QUEUE_DEPTH_MAX).await;
    assert_eq!(now().requests, 0, "none is answered");
    // Those that the replica has at its door already leave room for as many.
    for _ in now().waiting..QUEUE_DEPTH_MAX {
        all.push(crowd.send().await);
    }
    eventually("the queue is full", || now().waiting == QUEUE_DEPTH_MAX).await;
    let (status, reason) = crowd.send().await.await.unwrap();
    assert_eq!((status, &reason[..]), (503, &b"pending request queue full\n"[..]));
    std::fs::write(&go, "").unwrap();
    for one in all {
        let (status, body) = one.await.unwrap();
        assert_eq!((status, &body[..]), (200, &b"hello"[..]));
    }
    assert_eq!(now().requests, u64::try_from(crowd.sent).unwrap(), "the refused one was answered, too");
    stage.runtime.shutdown().await;
}
