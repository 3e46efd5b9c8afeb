//! Clients and replicas that behave badly with connections.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::stage::{LISTEN_FDS, Stage, eventually, is_alive, service, started};

/// Time after which a head that does not end is given up, and what a test adds to it.
const HEAD_GIVEN_UP: Duration = Duration::from_secs(30).saturating_add(Duration::from_secs(90));

/// Open files of this process, which the runtime runs in.
fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test]
async fn heads_that_never_end_are_given_up_and_stop_nobody() {
    let stage = Stage::up(&service("hello", &[LISTEN_FDS], &[], &[])).await;
    let mut slow = Vec::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect(stage.gateway()).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: hello.default.localhost\r\nX-A: ").await.unwrap();
        slow.push(stream);
    }
    let began = Instant::now();
    assert_eq!(stage.get("hello", "/").await.status, 200);
    assert_eq!(stage.runtime.status().services[0].now.in_flight, 0, "a head is not yet a request");
    for mut stream in slow {
        let mut answer = Vec::new();
        let left = HEAD_GIVEN_UP.saturating_sub(began.elapsed());
        // A byte now and then does not help.
        stream.write_all(b"a").await.unwrap_or_default();
        let ended = tokio::time::timeout(left, stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "still open after {:?}", began.elapsed());
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    }
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn a_body_that_never_ends_gives_its_slot_back() {
    let spec = ["timeoutSeconds: 1", "containerConcurrency: 1"];
    let annotations = [LISTEN_FDS, ("autoscaling.knative.dev/max-scale", "1")];
    let stage = Stage::up(&service("hello", &annotations, &[], &spec)).await;
    stage.warm("hello").await;
    let mut stream = TcpStream::connect(stage.gateway()).await.unwrap();
    let head = "POST /dead-letters HTTP/1.1\r\nHost: hello.default.localhost\r\nContent-Length: 1000\r\n\r\nabc";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    // The function may answer before it has read everything; either way the slot is free again after a second.
    stream.read_exact(&mut start).await.unwrap();
    eventually("the slot is free", || stage.runtime.status().services[0].now.in_flight == 0).await;
    stage.warm("hello").await;
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn a_replica_that_leaks_connections_costs_the_runtime_none() {
    // It announces that it closes, and then keeps every connection.
    let python = "import os,socket\n\
        s=socket.create_server(('127.0.0.1',int(os.environ['PORT'])),backlog=512)\n\
        kept=[]\n\
        while True:\n\
        \x20 c,_=s.accept()\n\
        \x20 kept.append(c)\n\
        \x20 if c.recv(65536): c.sendall(b'HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: 2\\r\\n\\r\\nok')\n";
    let stage = Stage::up_with(&service("hello", &[], &[], &[]), |config| {
        config.exec.insert("test_function".to_owned(), ["python3", "-c", python].map(str::to_owned).to_vec());
    })
    .await;
    assert_eq!(stage.get("hello", "/").await.status, 200);
    let before = open_files();
    for _ in 0..200 {
        let answer = stage.get("hello", "/").await;
        assert_eq!((answer.status, answer.text.as_str()), (200, "ok"));
    }
    eventually("its connections are closed here", || open_files() <= before + 10).await;
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn a_replica_that_hangs_on_sigterm_is_killed_when_it_is_scaled_down() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (starts, terminated) = (path("starts"), path("terminated"));
    let env = [("STARTS", starts.as_str()), ("TERMINATED", terminated.as_str()), ("STUBBORN", "1")];
    // The grace between SIGTERM and SIGKILL is the timeout of the revision.
    let yaml = service("hello", &[LISTEN_FDS], &env, &["timeoutSeconds: 1"]);
    let mut stage = Stage::up_with(&yaml, |config| config.time_scale = 100.0).await;
    stage.warm("hello").await;
    stage.stopped().await;
    assert_eq!(std::fs::read_to_string(&terminated).unwrap(), "yes", "it was asked first");
    let first = started(starts.as_ref());
    assert!(first.len() == 1 && !is_alive(first[0]), "{first:?}");
    // The next request finds a new one.
    stage.warm("hello").await;
    stage.runtime.shutdown().await;
}
