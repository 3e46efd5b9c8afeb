//! A function for the tests: what it does is in its environment and in the path that is asked for.
//!
//! `GET /` greets, `/env` shows the environment and the request's headers, `/sleep/<ms>` takes its time, `/held<file>`
//! waits until there is such a file, `/drip/<ms>`
//! answers in three pieces with pauses, `/exit/<code>` ends the process, `/echo` streams the body back, `/alive` is an
//! error once the file `ALIVE` is gone, and so is gRPC's health check; `/dead-letters` shows the headers of the last request posted to it. `CRASHES` is
//! a file with the number of starts that still fail, `STARTS` one to which every start adds a line, `DEAF` keeps it from
//! listening, `STUBBORN` lets it ignore SIGTERM, `TERMINATED` is a file made on SIGTERM.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{env, fs, process};

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, Version};
use axum::routing::{get, post};
use http_body_util::StreamBody;
use hyper::body::Frame;
use listenfd::ListenFd;
use tokio::signal::unix::{SignalKind, signal};

fn variable(name: &str) -> Option<String> {
    env::vars().find(|(key, _)| key == name).map(|(_, value)| value)
}

fn crash_if_asked() -> std::io::Result<()> {
    if let Some(file) = variable("STARTS") {
        writeln!(fs::OpenOptions::new().create(true).append(true).open(file)?, "{}", process::id())?;
    }
    let Some(file) = variable("CRASHES") else {
        return Ok(());
    };
    let left: u32 = fs::read_to_string(&file)?.trim().parse().unwrap_or(0);
    if left > 0 {
        fs::write(&file, (left - 1).to_string())?;
        writeln!(std::io::stderr(), "crashing on start, {left} left")?;
        process::exit(3);
    }
    Ok(())
}

/// The environment as it was at the start, and the headers.
fn show(environment: &[(String, String)], version: Version, headers: &HeaderMap) -> Json<BTreeMap<String, String>> {
    let headers = headers
        .iter()
        .map(|(name, value)| (format!("header:{name}"), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    let version = ("version".to_owned(), format!("{version:?}"));
    Json(environment.iter().cloned().chain([version]).chain(headers).collect())
}

/// Alive while the file `ALIVE` exists.
async fn alive() -> StatusCode {
    let alive = variable("ALIVE").is_none_or(|file| fs::exists(file).unwrap_or(false));
    if alive { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// gRPC's health check: `SERVING` or `NOT_SERVING`, and the status of the call in the trailers. A service of another name
/// than `hello` is not known.
async fn health(request: axum::body::Bytes) -> ([(&'static str, &'static str); 1], Body) {
    let known = request.len() == 5 || request.ends_with(b"\x05hello");
    let serving = if alive().await == StatusCode::OK { 1 } else { 2 };
    let message = axum::body::Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, serving]);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", if known { 0 } else { 5 }.into());
    let frames = if known { vec![Frame::data(message)] } else { Vec::new() };
    let frames = frames.into_iter().chain([Frame::trailers(trailers)]).map(Ok::<_, std::io::Error>);
    let body = Body::new(StreamBody::new(futures_util::stream::iter(frames)));
    ([("content-type", "application/grpc")], body)
}

/// Waits for a file.
async fn held(Path(file): Path<String>) -> &'static str {
    while !fs::exists(format!("/{file}")).unwrap_or(false) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    "held"
}

/// Three pieces, some time before each.
async fn drip(Path(ms): Path<u64>) -> Body {
    let pieces = futures_util::stream::unfold(0, move |count| async move {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        (count < 3).then(|| (Ok::<_, std::io::Error>(format!("{count}")), count + 1))
    });
    Body::from_stream(pieces)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    crash_if_asked()?;
    if variable("DEAF").is_some() {
        std::future::pending::<()>().await;
    }
    // Taking the socket removes the variables that speak of it.
    let environment: Vec<(String, String)> = env::vars().collect();
    let last = Arc::new(Mutex::new(BTreeMap::new()));
    let shown = Arc::clone(&last);
    let router = Router::new()
        .route("/", get(|| async { "hello" }).post(|| async { "" }))
        .route("/healthz", get(|| async { "ok" }))
        .route("/alive", get(alive))
        .route(
            "/env",
            get(move |version: Version, headers: HeaderMap| async move { show(&environment, version, &headers) }),
        )
        .route(
            "/sleep/{ms}",
            get(|Path(ms): Path<u64>| async move {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                "slept"
            }),
        )
        .route("/held/{*file}", get(held))
        .route("/grpc.health.v1.Health/Check", post(health))
        .route("/drip/{ms}", get(drip))
        .route("/exit/{code}", get(|Path(code): Path<i32>| async move { process::exit(code) as () }))
        .route("/echo", post(|body: Body| async move { body }))
        .route("/dead-letters", get(move || async move { Json(shown.lock().map(|last| last.clone()).ok()) }))
        .route(
            "/dead-letters",
            post(|headers: HeaderMap| async move {
                if let Ok(mut last) = last.lock() {
                    *last = headers
                        .iter()
                        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                        .collect();
                }
            }),
        );
    let listener = if let Some(inherited) = ListenFd::from_env().take_tcp_listener(0)? {
        inherited.set_nonblocking(true)?;
        tokio::net::TcpListener::from_std(inherited)?
    } else {
        let port: u16 = variable("PORT").and_then(|port| port.parse().ok()).unwrap_or(8080);
        tokio::net::TcpListener::bind(("127.0.0.1", port)).await?
    };
    writeln!(std::io::stdout(), "listening")?;
    let mut terminate = signal(SignalKind::terminate())?;
    axum::serve(listener, router)
        .with_graceful_shutdown(async move {
            terminate.recv().await;
            if let Some(file) = variable("TERMINATED") {
                drop(fs::write(file, "yes"));
            }
            if variable("STUBBORN").is_some() {
                std::future::pending::<()>().await;
            }
        })
        .await
}
