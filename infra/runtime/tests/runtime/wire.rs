//! The gateway, byte by byte: what clients and replicas may do on their connections.

use std::time::Duration;

use regrove_runtime::RuntimeConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::stage::{LISTEN_FDS, PATIENCE, Stage, eventually, service, started};

const HOST: &str = "Host: hello.default.localhost\r\n";
/// What a replica that reads little may be sent all the same: buffers of sockets, and of the gateway.
const UNREAD_BYTES_MAX: usize = 32 << 20;
const GIGABYTE: usize = 1 << 30;

/// A replica that follows orders: `/<name>` does what `NAME` says. It counts its connections, and never reads more than
/// a head unless it is told to.
const SCRIPTED: &str = r"
import os, re, socket, threading
server = socket.create_server(('127.0.0.1', int(os.environ['PORT'])), backlog=64)
connections = 0
OK = b'HTTP/1.1 200 OK\r\n'
BLOCK = bytes(1 << 20)
def length(text):
    return OK + b'Content-Length: %d\r\n\r\n' % len(text) + text
def serve(c):
    data = b''
    while True:
        while b'\r\n\r\n' not in data:
            more = c.recv(65536)
            if not more: return
            data += more
        head, data = data.split(b'\r\n\r\n', 1)
        name = head.split(b' ')[1][1:].decode()
        if name == 'connections': c.sendall(length(b'%d' % connections))
        elif name == 'short': c.sendall(OK + b'Content-Length: 10\r\n\r\nabc'); return c.close()
        elif name == 'short-chunk': c.sendall(OK + b'Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n'); return c.close()
        elif name == 'nothing': return c.close()
        elif name == 'garbage': c.sendall(b'SSH-2.0-OpenSSH\r\n\r\n'); return c.close()
        elif name == 'early': c.sendall(b'HTTP/1.1 413 Too Big\r\nContent-Length: 7\r\nConnection: close\r\n\r\ntoo big'); c.shutdown(1); c.recv(1); threading.Event().wait(1); return c.close()
        elif name == 'until-close': c.sendall(OK + b'\r\nall of it'); return c.close()
        elif name == 'both': c.sendall(OK + b'Content-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n')
        elif name == 'lengths': c.sendall(OK + b'Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd')
        elif name == 'more': c.sendall(length(b'one') + b'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL')
        elif name == 'interim': c.sendall(b'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n' + length(b'hinted'))
        elif name == 'closes': c.sendall(length(b'bye')); c.close(); open(os.environ['CLOSED'], 'a').write('x'); return
        elif name == 'slow': c.sendall(b'HTTP/1.1 200 OK\r\nConte'); threading.Event().wait(.05); c.sendall(b'nt-Length: 3\r\n\r\nab'); threading.Event().wait(.05); c.sendall(b'c')
        elif name == 'head': c.sendall(OK + b'Content-Length: 1000\r\n\r\n')
        elif name == 'deaf': threading.Event().wait(60)
        elif name == 'gigabyte':
            c.sendall(OK + b'Content-Length: %d\r\n\r\n' % (1 << 30))
            for _ in range(1 << 10): c.sendall(BLOCK)
        elif name == 'count':
            left = int(re.search(rb'content-length: (\d+)', head, re.I).group(1)) - len(data)
            seen = len(data)
            while left > 0:
                n = c.recv_into(memoryview(bytearray(1 << 20)))
                if not n: return
                left -= n; seen += n
            data = b''
            c.sendall(length(b'%d' % seen))
        else: c.sendall(length(head + b'\r\n\r\n'))
while True:
    c, _ = server.accept()
    c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connections += 1
    threading.Thread(target=serve, args=(c,), daemon=True).start()
";

fn scripted(config: &mut RuntimeConfig) {
    config.exec.insert("test_function".to_owned(), ["python3", "-c", SCRIPTED].map(str::to_owned).to_vec());
}

async fn scripted_stage() -> Stage {
    Stage::up_with(&service("hello", &[("autoscaling.knative.dev/max-scale", "1")], &[], &[]), scripted).await
}

async fn function_stage() -> Stage {
    Stage::up(&service("hello", &[LISTEN_FDS, ("autoscaling.knative.dev/max-scale", "1")], &[], &[])).await
}

/// A response as it came.
#[derive(Debug, PartialEq, Eq)]
struct Response {
    status: u16,
    head: String,
    body: Vec<u8>,
    /// Whether it is whole.
    whole: bool,
}

/// A client that says exactly what it is told to.
struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    async fn connect(stage: &Stage) -> Self {
        Self { stream: TcpStream::connect(stage.gateway()).await.unwrap(), read: Vec::new() }
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends, and reads meanwhile, so that neither side waits for the other.
    async fn send_and_read(&mut self, bytes: &[u8]) {
        let (mut reading, mut writing) = self.stream.split();
        let mut sending = std::pin::pin!(writing.write_all(bytes));
        loop {
            tokio::select! {
                sent = &mut sending => return sent.unwrap(),
                read = reading.read_buf(&mut self.read) => assert!(read.unwrap() > 0, "the answer broke off"),
            }
        }
    }

    /// Reads more; false at the end.
    async fn fill(&mut self) -> bool {
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await.expect("no answer");
        read.is_ok_and(|count| count > 0)
    }

    async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                return String::from_utf8(self.read.drain(..end + 4).collect()).unwrap();
            }
            assert!(self.fill().await, "no answer but {:?}", String::from_utf8_lossy(&self.read));
        }
    }

    async fn take(&mut self, count: usize) -> (Vec<u8>, bool) {
        while self.read.len() < count {
            if !self.fill().await {
                return (std::mem::take(&mut self.read), false);
            }
        }
        (self.read.drain(..count).collect(), true)
    }

    async fn chunks(&mut self) -> (Vec<u8>, bool) {
        let mut body = Vec::new();
        loop {
            let end = loop {
                match self.read.windows(2).position(|bytes| bytes == b"\r\n") {
                    Some(end) => break end,
                    None if self.fill().await => {}
                    None => return (body, false),
                }
            };
            let line = String::from_utf8(self.read.drain(..end + 2).collect()).unwrap();
            let size = usize::from_str_radix(line.trim(), 16).unwrap_or_else(|_| panic!("no size: {line:?}"));
            let (chunk, whole) = self.take(size + 2).await;
            if size == 0 || !whole {
                return (body, whole);
            }
            assert!(chunk.ends_with(b"\r\n"));
            body.extend_from_slice(&chunk[..size]);
        }
    }

    async fn response(&mut self) -> Response {
        let head = self.head().await;
        let field = |name: &str| {
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix(name).map(|it| it.trim().to_owned()))
        };
        let (body, whole) = match (field("transfer-encoding:"), field("content-length:")) {
            (Some(encoding), None) if encoding == "chunked" => self.chunks().await,
            (None, Some(length)) => self.take(length.parse().unwrap()).await,
            (None, None) => (Vec::new(), true),
            other => panic!("framed as {other:?}"),
        };
        Response { status: head[9..12].parse().unwrap(), head, body, whole }
    }

    async fn get(&mut self, path: &str) -> Response {
        self.send(format!("GET {path} HTTP/1.1\r\n{HOST}\r\n")).await;
        self.response().await
    }

    async fn text(&mut self, path: &str) -> (u16, String) {
        let response = self.get(path).await;
        assert!(response.whole, "{path}: {response:?}");
        (response.status, String::from_utf8(response.body).unwrap())
    }

    /// Whether the gateway has ended the connection, with nothing further said.
    async fn is_closed(&mut self) -> bool {
        !self.fill().await && self.read.is_empty()
    }
}

#[tokio::test]
async fn requests_sent_at_once_are_answered_in_turn() {
    let stage = function_stage().await;
    let mut client = Client::connect(&stage).await;
    let mut all = Vec::new();
    for number in 0..50 {
        all.push(format!("POST /echo HTTP/1.1\r\n{HOST}Content-Length: 4\r\n\r\n{number:04}"));
        all.push(format!("GET / HTTP/1.1\r\n{HOST}\r\n"));
        let chunks = format!("2\r\n{number:02}\r\n0\r\n\r\n");
        all.push(format!("POST /echo HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n{chunks}"));
    }
    client.send(all.concat()).await;
    for number in 0..50 {
        assert_eq!(client.response().await.body, format!("{number:04}").as_bytes());
        assert_eq!(client.response().await.body, b"hello");
        assert_eq!(client.response().await.body, format!("{number:02}").as_bytes());
    }
    assert_eq!(stage.runtime.status().services[0].now.requests, 150);
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn a_request_may_come_byte_by_byte() {
    let stage = function_stage().await;
    let mut client = Client::connect(&stage).await;
    client.stream.set_nodelay(true).unwrap();
    let request = format!(
        "POST /echo HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 1\r\n\r\n"
    );
    for byte in request.bytes() {
        client.send([byte]).await;
        tokio::task::yield_now().await;
    }
    let response = client.response().await;
    assert_eq!((response.status, response.body.as_slice()), (200, b"hello!".as_slice()));
    assert_eq!(client.text("/").await, (200, "hello".to_owned()), "what follows is a request of its own");
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn bodies_pass_whole_however_they_are_framed() {
    let stage = function_stage().await;
    let mut client = Client::connect(&stage).await;
    let content: Vec<u8> =
        (0..3_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0]).collect();
    for chunk in [0, 1_000, 70_000, 3_000_000] {
        let mut request = format!("POST /echo HTTP/1.1\r\n{HOST}").into_bytes();
        if chunk == 0 {
            request.extend(format!("Content-Length: {}\r\n\r\n", content.len()).bytes());
            request.extend(&content);
        } else {
            request.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            for part in content.chunks(chunk) {
                request.extend(format!("{:X}\r\n", part.len()).bytes());
                request.extend(part);
                request.extend(b"\r\n");
            }
            request.extend(b"0\r\n\r\n");
        }
        client.send_and_read(&request).await;
        let response = client.response().await;
        assert!(response.status == 200 && response.whole && response.body == content, "in chunks of {chunk}");
        assert!(client.read.is_empty());
    }
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn what_servers_read_differently_is_refused_and_the_connection_ends() {
    let folder = tempfile::tempdir().unwrap();
    let starts = folder.path().join("starts");
    let env = [("STARTS", starts.to_str().unwrap())];
    let stage = Stage::up(&service("hello", &[LISTEN_FDS], &env, &[])).await;
    assert_eq!(stage.get("hello", "/").await.status, 200);
    let next = format!("GET /exit/7 HTTP/1.1\r\n{HOST}\r\n");
    for (lines, body, status) in [
        ("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nX", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 6\r\n", "0\r\n\r\nX", 400),
        ("Content-Length: 1\r\nContent-Length: 5\r\n", "a", 400),
        ("Content-Length: 1\r\ncontent-length: 1\r\n", "a", 400),
        ("Content-Length: 1,1\r\n", "a", 400),
        ("Content-Length: +1\r\n", "a", 400),
        ("Content-Length : 1\r\n", "a", 400),
        ("Transfer-Encoding : chunked\r\n", "0\r\n\r\n", 400),
        ("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n", 501),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n", 501),
        ("X-A: 1\r\n Transfer-Encoding: chunked\r\n", "0\r\n\r\n", 400),
        ("X-A: 1\rTransfer-Encoding: chunked\r\n", "0\r\n\r\n", 400),
        ("X-A: \0\r\n", "", 400),
        ("Host: other.default.localhost\r\n", "", 400),
        ("Transfer-Encoding: chunked\r\n", "1\r\nab\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n", "1\na\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n", "0x1\r\na\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n", "ffffffffffffffff1\r\na\r\n0\r\n\r\n", 400),
    ] {
        let mut client = Client::connect(&stage).await;
        client.send(format!("POST /sleep/1 HTTP/1.1\r\n{HOST}{lines}\r\n{body}{next}")).await;
        let response = client.response().await;
        assert_eq!(response.status, status, "{lines:?}{body:?}: {response:?}");
        assert!(response.head.contains("connection: close"), "{response:?}");
        assert!(client.is_closed().await, "{lines:?}{body:?}: {:?}", String::from_utf8_lossy(&client.read));
    }
    assert_eq!(stage.get("hello", "/").await.status, 200);
    assert_eq!(started(&starts).len(), 1, "what was hidden behind them never arrived");
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn long_and_many_headers_have_a_limit() {
    let stage = function_stage().await;
    for (lines, status) in [
        (format!("X-A: {}\r\n", "a".repeat(8_000)), 200),
        (format!("X-A: {}\r\n", "a".repeat(100_000)), 200),
        ("X-A: 1\r\n".repeat(90), 200),
        ("X-A: 1\r\n".repeat(150), 431),
        (format!("X-A: {}\r\n", "a".repeat(2_000_000)), 431),
    ] {
        let mut client = Client::connect(&stage).await;
        let request = format!("GET / HTTP/1.1\r\n{HOST}{lines}\r\n");
        // Who is refused early may not get rid of all of it.
        client.stream.write_all(request.as_bytes()).await.unwrap_or_default();
        assert_eq!(client.response().await.status, status, "{} bytes", lines.len());
    }
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn unusual_requests_are_answered_on_the_same_connection() {
    let stage = function_stage().await;
    let mut client = Client::connect(&stage).await;
    assert_eq!(client.text("/").await.1, "hello");
    client.send(format!("POST /echo HTTP/1.1\r\n{HOST}Expect: 100-continue\r\nContent-Length: 4\r\n\r\n")).await;
    assert!(client.head().await.starts_with("HTTP/1.1 100 "));
    client.send("late").await;
    assert_eq!(client.response().await.body, b"late");
    assert_eq!(client.text("/").await.1, "hello");
    let mut client = Client::connect(&stage).await;
    client.send("GET http://hello.default.localhost/ HTTP/1.1\r\nHost: hello.default.localhost\r\n\r\n").await;
    assert_eq!(client.response().await.body, b"hello");
    let mut client = Client::connect(&stage).await;
    client.send(format!("GET / HTTP/1.0\r\n{HOST}\r\n")).await;
    assert_eq!(client.response().await.body, b"hello");
    assert!(client.is_closed().await);
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn a_refusal_leaves_the_connection_usable() {
    let stage = function_stage().await;
    let mut client = Client::connect(&stage).await;
    client.send("GET / HTTP/1.1\r\nHost: nobody.default.localhost\r\n\r\n").await;
    assert_eq!(client.response().await.status, 404);
    assert_eq!(client.text("/").await, (200, "hello".to_owned()));
    client.send("POST / HTTP/1.1\r\nHost: nobody.default.localhost\r\nContent-Length: 40\r\n\r\nGET /exit/7").await;
    assert_eq!(client.response().await.status, 404);
    assert!(client.is_closed().await, "a body that nobody reads is no request");
    let mut client = Client::connect(&stage).await;
    client.send(format!("GET / HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n")).await;
    let response = client.response().await;
    assert!(response.head.contains("connection: close"), "{response:?}");
    assert!(client.is_closed().await);
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn who_ends_the_connection_gives_up_the_slot() {
    let stage = function_stage().await;
    assert_eq!(stage.get("hello", "/").await.status, 200);
    for ends_half in [true, false] {
        let mut client = Client::connect(&stage).await;
        client.send(format!("GET /sleep/600000 HTTP/1.1\r\n{HOST}\r\n")).await;
        eventually("it is under way", || stage.runtime.status().services[0].now.in_flight == 1).await;
        if ends_half {
            client.stream.shutdown().await.unwrap();
            assert!(client.is_closed().await);
        } else {
            drop(client);
        }
        eventually("the slot is free", || stage.runtime.status().services[0].now.in_flight == 0).await;
    }
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn replicas_may_answer_in_every_way() {
    let stage = scripted_stage().await;
    let mut client = Client::connect(&stage).await;
    assert_eq!(client.text("/until-close").await, (200, "all of it".to_owned()));
    assert_eq!(client.text("/slow").await, (200, "abc".to_owned()));
    assert_eq!(client.text("/both").await, (200, "abc".to_owned()), "the chunks count");
    client.send(format!("GET /interim HTTP/1.1\r\n{HOST}\r\n")).await;
    assert!(client.head().await.starts_with("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n"));
    assert_eq!(client.response().await.body, b"hinted");
    client.send(format!("HEAD /head HTTP/1.1\r\n{HOST}\r\n")).await;
    let head = client.head().await;
    assert!(head.contains("Content-Length: 1000\r\n") && head.contains("date: "), "{head}");
    // The second answer that nobody asked for is nobody's.
    assert_eq!(client.text("/more").await, (200, "one".to_owned()));
    let seen = client.text("/anything").await.1;
    assert!(seen.starts_with("GET /anything HTTP/1.1\r\nHost: hello.default.localhost\r\n"), "{seen}");
    for path in ["/nothing", "/garbage", "/lengths"] {
        let (status, text) = client.text(path).await;
        assert!(status == 502 && text.starts_with("hello-00001-1: broke the connection: "), "{path}: {status} {text}");
    }
    for path in ["/short", "/short-chunk"] {
        let mut client = Client::connect(&stage).await;
        let response = client.get(path).await;
        assert!(!response.whole && response.body == b"abc", "{response:?}");
    }
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn connections_to_replicas_are_kept_and_dead_ones_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let closed = folder.path().join("closed");
    let env = [("CLOSED", closed.to_str().unwrap())];
    let annotations = [("autoscaling.knative.dev/max-scale", "1")];
    let stage = Stage::up_with(&service("hello", &annotations, &env, &[]), scripted).await;
    let mut client = Client::connect(&stage).await;
    assert_eq!(client.text("/anything").await.0, 200);
    let before: usize = client.text("/connections").await.1.parse().unwrap();
    for _ in 0..20 {
        assert_eq!(client.text("/anything").await.0, 200);
    }
    let after: usize = client.text("/connections").await.1.parse().unwrap();
    assert_eq!(after, before, "one connection serves them all");
    for round in 1..=5 {
        // It closes without having said so. A request may meet the end of the connection, or come after it.
        assert_eq!(client.text("/closes").await.1, "bye");
        assert_eq!(client.text("/anything").await.0, 200);
        assert_eq!(client.text("/closes").await.1, "bye");
        eventually("it has closed twice", || closed.metadata().is_ok_and(|file| file.len() == 2 * round)).await;
        client.send(format!("POST /count HTTP/1.1\r\n{HOST}Content-Length: 3\r\n\r\nabc")).await;
        assert_eq!(client.response().await.body, b"3");
    }
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_request_arrives() {
    let stage = scripted_stage().await;
    let mut client = Client::connect(&stage).await;
    client.send(format!("POST /early HTTP/1.1\r\n{HOST}Content-Length: 100000000\r\n\r\n")).await;
    let (mut reading, mut writing) = client.stream.into_split();
    let sending = tokio::spawn(async move {
        let block = vec![b'a'; 1 << 16];
        while writing.write_all(&block).await.is_ok() {}
    });
    let mut answer = Vec::new();
    while !answer.ends_with(b"too big") {
        let read = tokio::time::timeout(PATIENCE, reading.read_buf(&mut answer)).await.expect("no answer");
        assert!(read.unwrap() > 0, "{}", String::from_utf8_lossy(&answer));
    }
    assert!(answer.starts_with(b"HTTP/1.1 413 "), "{}", String::from_utf8_lossy(&answer));
    tokio::time::timeout(PATIENCE, sending).await.expect("the connection ends").unwrap();
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn a_replica_that_does_not_read_holds_the_client_back() {
    let stage = scripted_stage().await;
    let mut client = Client::connect(&stage).await;
    client.send(format!("POST /deaf HTTP/1.1\r\n{HOST}Content-Length: {GIGABYTE}\r\n\r\n")).await;
    let (block, mut taken) = (vec![0; 1 << 20], 0);
    while let Ok(written) = tokio::time::timeout(Duration::from_secs(1), client.stream.write(&block)).await {
        taken += written.unwrap();
        assert!(taken < UNREAD_BYTES_MAX, "{taken} bytes and no end");
    }
    assert!(taken > 0);
    stage.runtime.shutdown().await;
}

/// The most memory that this process ever had resident, in bytes.
fn resident_bytes_max() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

#[tokio::test]
async fn a_gigabyte_passes_in_bounded_memory() {
    let stage = scripted_stage().await;
    let mut client = Client::connect(&stage).await;
    assert_eq!(client.text("/anything").await.0, 200);
    let before = resident_bytes_max();
    client.send(format!("POST /count HTTP/1.1\r\n{HOST}Content-Length: {GIGABYTE}\r\n\r\n")).await;
    let mut block = vec![0; 1 << 20];
    for _ in 0..GIGABYTE >> 20 {
        client.send(&block).await;
    }
    assert_eq!(client.response().await.body, GIGABYTE.to_string().as_bytes());
    client.send(format!("GET /gigabyte HTTP/1.1\r\n{HOST}\r\n")).await;
    client.head().await;
    let mut left = GIGABYTE - client.read.len();
    client.read.clear();
    while left > 0 {
        left -= client.stream.read(&mut block).await.unwrap();
    }
    assert_eq!(client.text("/anything").await.0, 200);
    let grown = resident_bytes_max() - before;
    assert!(grown < 16 << 20, "{grown} bytes more than before");
    stage.runtime.shutdown().await;
}
