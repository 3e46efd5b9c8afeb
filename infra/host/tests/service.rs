//! A function on its host, asked over real connections.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::io::Write as _;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::StatusCode;
use regrove_host::{Gate, HostArgs, LimitArgs, Payload, with_defaults};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};

async fn start(args: &HostArgs, router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = with_defaults(args, router);
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

fn echo() -> Router {
    Router::new().route("/echo", post(|Payload(body): Payload| async move { body }))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

async fn ask(address: SocketAddr, encoding: &str, body: Vec<u8>) -> (StatusCode, Vec<u8>) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.post(format!("http://{address}/echo")).body(body);
    let request = if encoding.is_empty() { request } else { request.header("content-encoding", encoding) };
    let response = request.send().await.unwrap();
    (response.status(), response.bytes().await.unwrap().to_vec())
}

fn problem(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap();
    body["type"].as_str().unwrap().strip_prefix("urn:regrove:problem:").unwrap().to_owned()
}

#[tokio::test]
async fn bodies_together_fill_no_more_than_their_share_of_the_memory() {
    let args = HostArgs { body_bytes_max: 1 << 20, bodies_bytes_max: 4 << 20, ..HostArgs::default() };
    let (arrived, go) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let waits = {
        let (arrived, go) = (Arc::clone(&arrived), Arc::clone(&go));
        post(move |Payload(body): Payload| async move {
            arrived.notify_one();
            go.acquire().await.unwrap().forget();
            body.len().to_string()
        })
    };
    let address = start(&args, echo().route("/waits", waits)).await;
    let blanks = gzip(&vec![b' '; 1 << 20]);
    assert!(blanks.len() < 16 << 10, "hardly anything on its way");
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let wait = || {
        let request = client.post(format!("http://{address}/waits")).header("content-encoding", "gzip");
        let request = request.body(blanks.clone()).send();
        tokio::spawn(async move { request.await.unwrap().text().await.unwrap() })
    };
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(wait());
        arrived.notified().await;
    }
    let (status, body) = ask(address, "gzip", blanks.clone()).await;
    assert_eq!((status, problem(&body).as_str()), (StatusCode::SERVICE_UNAVAILABLE, "over-capacity"));
    assert!(String::from_utf8_lossy(&body).contains("REGROVE_BODIES_BYTES_MAX"));
    assert_eq!(ask(address, "", vec![b' '; 100]).await.0, StatusCode::OK, "small ones are not meant");
    let (status, _) = ask(address, "", vec![b' '; 1 << 20]).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "nor is it a matter of compression");
    go.add_permits(4);
    for held in held {
        assert_eq!(held.await.unwrap(), (1 << 20).to_string());
    }
    assert_eq!(ask(address, "gzip", blanks).await.0, StatusCode::OK, "what they had is given back");
}

#[tokio::test]
async fn bodies_are_decompressed_within_the_limit() {
    let address = start(&HostArgs { body_bytes_max: 1000, ..HostArgs::default() }, echo()).await;
    let text = b"some text, some text, some text".repeat(10);
    assert_eq!(ask(address, "", text.clone()).await, (StatusCode::OK, text.clone()));
    assert_eq!(ask(address, "gzip", gzip(&text)).await, (StatusCode::OK, text.clone()));
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
    zlib.write_all(&text).unwrap();
    assert_eq!(ask(address, "deflate", zlib.finish().unwrap()).await, (StatusCode::OK, text.clone()));

    let bomb = gzip(&vec![0; 100 << 20]);
    let small_bomb = gzip(&vec![0; 1001]);
    assert!(small_bomb.len() < 1000);
    for (encoding, body, status, kind) in [
        ("", vec![0; 1001], 413, "body-too-large"),
        ("gzip", bomb, 413, "body-too-large"),
        ("gzip", small_bomb, 413, "body-too-large"),
        ("gzip", text.clone(), 400, "body-unreadable"),
        ("gzip", gzip(&text)[..40].to_vec(), 400, "body-unreadable"),
        ("br", text, 415, "unsupported-encoding"),
    ] {
        let (given, body) = ask(address, encoding, body).await;
        assert_eq!((given.as_u16(), problem(&body).as_str()), (status, kind), "{encoding}");
    }
}

#[tokio::test]
async fn a_body_in_pieces_is_put_together_and_one_that_breaks_off_or_stalls_is_refused() {
    let address = start(&HostArgs::default(), echo()).await;
    let head = "POST /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut stream = TcpStream::connect(address).await.unwrap();
    for piece in [head, "3\r\nabc\r\n", "2\r\nde\r\n", "1\r\nf\r\n", "0\r\n\r\n"] {
        stream.write_all(piece.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("\r\n\r\nabcdef"), "{answer}");

    let address = start(&HostArgs { body_seconds: 1, ..HostArgs::default() }, echo()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{head}3\r\nabc\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("REGROVE_BODY_SECONDS"), "{answer}");
}

/// A function whose answers to `/slow` and `/patient` wait until they are told to go on; the second has no deadline.
fn slow(limits: &LimitArgs, go_on: Arc<Notify>, begun: Arc<Notify>) -> Router {
    let gate = Gate::new(limits);
    let wait = move || {
        let (go_on, begun) = (Arc::clone(&go_on), Arc::clone(&begun));
        async move {
            begun.notify_one();
            go_on.notified().await;
            "done"
        }
    };
    gate.guard(Router::new().route("/slow", get(wait.clone())).route("/fast", get(|| async { "fast" })))
        .merge(gate.admit(Router::new().route("/patient", get(wait))))
}

#[tokio::test]
async fn what_is_over_the_limit_is_told_to_come_again() {
    let (go_on, begun) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let limits = LimitArgs { in_flight_max: NonZeroUsize::MIN, ..LimitArgs::default() };
    let address = start(&HostArgs::default(), slow(&limits, Arc::clone(&go_on), Arc::clone(&begun))).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let first = tokio::spawn(client.get(format!("http://{address}/slow")).send());
    begun.notified().await;
    let second = client.get(format!("http://{address}/fast")).send().await.unwrap();
    assert_eq!(second.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(second.headers()["retry-after"], "1");
    assert_eq!(problem(&second.bytes().await.unwrap()), "over-capacity");
    let health = client.get(format!("http://{address}/healthz")).send().await.unwrap();
    assert_eq!(health.status(), StatusCode::OK, "probes are not turned away");
    go_on.notify_one();
    assert_eq!(first.await.unwrap().unwrap().status(), StatusCode::OK);
    let third = client.get(format!("http://{address}/fast")).send().await.unwrap();
    assert_eq!(third.status(), StatusCode::OK, "the place is free again");
}

#[tokio::test]
async fn what_takes_too_long_is_answered_with_504() {
    let (go_on, begun) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let limits = LimitArgs { request_seconds: 1, ..LimitArgs::default() };
    let address = start(&HostArgs::default(), slow(&limits, Arc::clone(&go_on), Arc::clone(&begun))).await;
    let patient = tokio::spawn(reqwest::get(format!("http://{address}/patient")));
    begun.notified().await;
    let answer = reqwest::get(format!("http://{address}/slow")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(problem(&answer.bytes().await.unwrap()), "deadline-exceeded");
    // It has waited for longer by now.
    go_on.notify_one();
    assert_eq!(patient.await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn turns_to_compute_are_bounded() {
    let gate = Gate::new(&LimitArgs { concurrency_max: NonZeroUsize::new(1), ..LimitArgs::default() });
    let turn = gate.turn().await;
    let other = {
        let gate = gate.clone();
        tokio::spawn(async move { drop(gate.turn().await) })
    };
    let queued = &regrove_host::metrics::get().queue_length;
    while queued.get() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!other.is_finished());
    assert!(gate.try_turn().is_none(), "none is free");
    drop(turn);
    other.await.unwrap();
    assert_eq!(queued.get(), 0);
    assert!(gate.try_turn().is_some());
}

#[tokio::test]
async fn requests_are_counted_by_route_and_status() {
    let address = start(&HostArgs::default(), echo()).await;
    ask(address, "", b"x".to_vec()).await;
    ask(address, "br", b"x".to_vec()).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for path in ["one", "two"] {
        client.get(format!("http://{address}/{path}")).send().await.unwrap();
    }
    let metrics = client.get(format!("http://{address}/metrics")).send().await.unwrap();
    assert!(metrics.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let text = metrics.text().await.unwrap();
    for line in [
        "regrove_http_requests_total{method=\"POST\",path=\"/echo\",status=\"200\"} 1",
        "regrove_http_requests_total{method=\"POST\",path=\"/echo\",status=\"415\"} 1",
        "regrove_http_requests_total{method=\"GET\",path=\"none\",status=\"404\"} 2",
        "regrove_http_request_seconds_count{path=\"/echo\"} 2",
        "regrove_http_requests_in_flight 1",
        "# EOF",
    ] {
        assert!(text.contains(line), "`{line}` is not in\n{text}");
    }
}

#[tokio::test]
async fn the_interface_is_described_and_shown_offline() {
    use utoipa::OpenApi as _;
    #[derive(utoipa::OpenApi)]
    #[openapi(info(title = "test", version = "1"))]
    struct Document;
    let address = start(&HostArgs::default(), regrove_host::openapi::routes(Document::openapi)).await;
    let document: Value = reqwest::get(format!("http://{address}/openapi.json")).await.unwrap().json().await.unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let page = reqwest::get(format!("http://{address}/docs")).await.unwrap();
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    let html = page.text().await.unwrap();
    assert!(!html.contains("http://") && !html.contains("https://"), "nothing comes from elsewhere");
}
