//! What a process says of itself: access log, spans, drawn predictions.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Instant;

use regrove_events::event::{Artifact, ModelLoaded, ServedVersion, TrafficChanged};
use regrove_events::log::serving_stream;
use regrove_events::{Event, SwitchedBy, serving};
use regrove_store::Control;
use serde_json::{Value, json};

use crate::replicas::until_version;
use crate::{DEADLINE, PAUSE, ask, connect, home, predict, start, terminate};

#[tokio::test]
async fn the_access_log_has_a_line_per_request_and_joins_the_callers_trace() {
    let home = home().await;
    let (mut process, address) = start(home.path(), &[("REGROVE_ACCESS_LOG", "true")]);
    let mut stream = connect(address);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let head = format!("POST /predict HTTP/1.1\r\ntraceparent: 00-{trace}-00f067aa0ba902b7-01");
    assert_eq!(ask(&mut stream, &head, r#"{"features": [[1, 2]]}"#).unwrap().0, 200);
    assert_eq!(ask(&mut stream, "GET /healthz HTTP/1.1", "").unwrap().0, 200);
    drop(stream);
    terminate(&process);
    let mut log = String::new();
    process.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(process.wait().unwrap().success());
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
    let access: Vec<_> = lines.iter().filter(|line| line["message"] == "answered").collect();
    assert_eq!(access.len(), 1, "{log}");
    assert_eq!(
        (&access[0]["method"], &access[0]["route"], &access[0]["status"]),
        (&"POST".into(), &"/predict".into(), &200.into())
    );
    assert_eq!(access[0]["trace"], trace);
    assert!(access[0]["seconds"].as_f64().unwrap() > 0.0 && access[0]["bytes"].as_u64().unwrap() > 0);
}

/// What is posted somewhere: the headers with lower-case names, and the body.
type Posted = (BTreeMap<String, String>, Value);

/// Somebody who takes what is posted to `path`.
fn collector(path: &'static str) -> (String, std::sync::mpsc::Receiver<Posted>) {
    let (listener, address) = listener();
    (address, collect(listener, path))
}

/// An address at which nobody answers yet.
fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    (listener, address)
}

/// Takes what is posted to `path` there.
fn collect(listener: TcpListener, path: &'static str) -> std::sync::mpsc::Receiver<Posted> {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut headers = BTreeMap::new();
            let mut first = String::new();
            stream.read_line(&mut first).unwrap();
            assert!(first.starts_with(&format!("POST {path} ")), "{first}");
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).unwrap();
                let Some((name, value)) = line.split_once(':') else { break };
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            }
            let mut body = vec![0; headers["content-length"].parse().unwrap()];
            stream.read_exact(&mut body).unwrap();
            stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}").unwrap();
            // The test may be over.
            drop(sender.send((headers, serde_json::from_slice(&body).unwrap())));
        }
    });
    receiver
}

#[tokio::test]
async fn spans_go_to_the_collector_below_the_callers() {
    let home = home().await;
    let (endpoint, received) = collector("/v1/traces");
    let (mut process, address) =
        start(home.path(), &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("OTEL_SERVICE_NAME", "under-test")]);
    let mut stream = connect(address);
    let head = "POST /predict HTTP/1.1\r\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\
                tracestate: vendor=t61rcWkgMzE";
    assert_eq!(ask(&mut stream, head, r#"{"features": [[1, 2]]}"#).unwrap().0, 200);
    let unsampled = "POST /predict HTTP/1.1\r\ntraceparent: 00-5bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    assert_eq!(ask(&mut stream, unsampled, r#"{"features": [[1, 2]]}"#).unwrap().0, 200);
    drop(stream);
    terminate(&process);
    assert!(process.wait().unwrap().success());
    let (_, body) = received.recv_timeout(DEADLINE).unwrap();
    let resource = &body["resourceSpans"][0];
    assert_eq!(resource["resource"]["attributes"][0]["value"]["stringValue"], "under-test");
    let spans = resource["scopeSpans"][0]["spans"].as_array().unwrap();
    assert_eq!(spans.len(), 1, "what the caller does not record is not recorded: {body}");
    assert_eq!(
        (&spans[0]["traceId"], &spans[0]["parentSpanId"]),
        (&"4bf92f3577b34da6a3ce929d0e0e4736".into(), &"00f067aa0ba902b7".into())
    );
    assert_eq!(spans[0]["traceState"], "vendor=t61rcWkgMzE");
    assert_eq!((&spans[0]["name"], &spans[0]["kind"]), (&"POST /predict".into(), &2.into()));
    let nanos = |name: &str| spans[0][name].as_str().unwrap().parse::<u128>().unwrap();
    assert!(nanos("endTimeUnixNano") > nanos("startTimeUnixNano"));
}

#[tokio::test]
async fn drawn_predictions_are_said_to_the_sink() {
    let home = home().await;
    let (sink, received) = collector("/broker");
    let sink = format!("{sink}/broker");
    let (mut process, address) = start(home.path(), &[("REGROVE_PREDICTION_LOG_RATE", "0.25"), ("K_SINK", &sink)]);
    let mut stream = connect(address);
    let mut answered = Vec::new();
    for request in 0..4 {
        // Three rows each, numbered across requests.
        let rows: Vec<[i32; 2]> = (0..3).map(|row| [request * 3 + row, 1]).collect();
        let body = json!({"features": rows}).to_string();
        let (status, _, text) = ask(&mut stream, "POST /predict HTTP/1.1", &body).unwrap();
        assert_eq!(status, 200, "{text}");
        let answer: Value = serde_json::from_str(&text).unwrap();
        let list = |name: &str| answer[name].as_array().unwrap().clone();
        answered.extend(rows.into_iter().zip(list("predictions")).zip(list("probabilities")));
    }
    let mut ids = Vec::new();
    // Those of the twelve whose number's hash is in the lowest quarter.
    for number in [2, 4, 6, 8] {
        let (headers, data) = received.recv_timeout(DEADLINE).unwrap();
        assert_eq!((&*headers["ce-type"], &*headers["ce-subject"]), ("io.regrove.prediction-logged", "Drained"));
        let ((row, prediction), probabilities) = &answered[number];
        let said = json!({"version": "1", "columns": ["a", "b"], "features": [f64::from(row[0]), 1.0],
            "prediction": prediction, "probabilities": probabilities});
        assert_eq!(data, said);
        ids.push(headers["ce-id"].clone());
    }
    ids.dedup();
    assert_eq!(ids.len(), 4, "each is an event of its own");
    drop(stream);
    terminate(&process);
    assert!(process.wait().unwrap().success());
    assert!(received.try_recv().is_err(), "only those are drawn");
}

/// A sink alone, which the platform may name for reasons of its own, draws nothing.
#[tokio::test]
async fn without_a_rate_nothing_is_said_to_the_sink() {
    let home = home().await;
    let (sink, address) = listener();
    let (mut process, predict_at) = start(home.path(), &[("K_SINK", &address)]);
    let mut stream = connect(predict_at);
    for _ in 0..8 {
        assert_eq!(predict(&mut stream).unwrap().0, 200);
    }
    drop(stream);
    // What is drawn would be said before the process ends.
    terminate(&process);
    assert!(process.wait().unwrap().success());
    sink.set_nonblocking(true).unwrap();
    assert_eq!(sink.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "nobody came");
}

#[tokio::test]
async fn a_drawn_prediction_belongs_to_the_trace_of_its_request() {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let rows = r#"{"features": [[1, 2]]}"#;
    let posts = [
        ("POST /predict HTTP/1.1\r\ntracestate: a=1\r\ntraceparent: ", rows),
        ("POST /invocations HTTP/1.1\r\ntracestate: a=1\r\ntraceparent: ", r#"{"instances": [[1, 2]]}"#),
        (
            "POST /v2/models/Drained/infer HTTP/1.1\r\ntracestate: a=1\r\ntraceparent: ",
            r#"{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}"#,
        ),
        (
            "POST / HTTP/1.1\r\nce-specversion: 1.0\r\nce-id: 1\r\nce-source: /me\r\nce-subject: Drained\r\n\
             ce-type: io.regrove.predict-requested\r\nce-tracestate: a=1\r\nce-traceparent: ",
            rows,
        ),
    ];
    let home = home().await;
    for exported in [false, true] {
        let (sink, received) = collector("/broker");
        let sink = format!("{sink}/broker");
        let (endpoint, _spans) = collector("/v1/traces");
        let mut environment = vec![("REGROVE_PREDICTION_LOG_RATE", "1"), ("K_SINK", sink.as_str())];
        if exported {
            environment.push(("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint));
        }
        let (mut process, address) = start(home.path(), &environment);
        let mut stream = connect(address);
        for (head, body) in posts {
            let (status, _, text) = ask(&mut stream, &format!("{head}{trace}"), body).unwrap();
            assert_eq!(status, 200, "{text}");
            let mut said = received.recv_timeout(DEADLINE).unwrap().0;
            assert_eq!(said.remove("ce-tracestate").as_deref(), Some("a=1"), "{head}");
            let said = said.remove("ce-traceparent").unwrap();
            // Below the span of the request if there is one, else below the caller's.
            assert_eq!((&said[..36], said == trace), (&trace[..36], !exported), "{head}");
        }
        assert_eq!(predict(&mut stream).unwrap().0, 200);
        let untold = received.recv_timeout(DEADLINE).unwrap().0.contains_key("ce-traceparent");
        assert_eq!(untold, exported, "without a caller's trace there is only that of the span");
        drop(stream);
        terminate(&process);
        assert!(process.wait().unwrap().success());
    }
}

/// A sink that takes nothing before the process has stopped to serve.
#[tokio::test]
async fn what_is_drawn_before_sigterm_is_said_after_it_or_counted() {
    let body = r#"{"features": [[1, 2], [2, 2], [3, 2], [4, 2], [5, 2]]}"#;
    let home = home().await;
    for answers in [true, false] {
        let (listener, sink) = listener();
        let sink = format!("{sink}/broker");
        let drain = if answers { "300" } else { "1" };
        let environment =
            [("REGROVE_PREDICTION_LOG_RATE", "1"), ("K_SINK", sink.as_str()), ("REGROVE_DRAIN_SECONDS", drain)];
        let (mut process, address) = start(home.path(), &environment);
        assert_eq!(ask(&mut connect(address), "POST /predict HTTP/1.1", body).unwrap().0, 200);
        terminate(&process);
        while TcpStream::connect(address).is_ok() {
            std::thread::sleep(PAUSE);
        }
        if answers {
            let received = collect(listener, "/broker");
            assert!(process.wait().unwrap().success());
            for _ in 0..5 {
                received.recv_timeout(DEADLINE).unwrap();
            }
            continue;
        }
        let mut log = String::new();
        process.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert!(process.wait().unwrap().success());
        let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let left: Vec<Value> = lines.filter_map(|line| line.get("left").cloned()).collect();
        assert_eq!(left, [json!(5)], "{log}");
    }
}

#[test]
fn a_rate_that_is_none_is_refused_before_anything_else() {
    for wrong in ["1.5", "-0.1", "NaN", "25%"] {
        let mut predict = Command::new(env!("CARGO_BIN_EXE_predict"));
        let ended = predict.env("REGROVE_PREDICTION_LOG_RATE", wrong).output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{wrong}: {said}");
        assert!(said.contains("REGROVE_PREDICTION_LOG_RATE") && said.contains("from 0 to 1"), "{said}");
    }
}

/// The value of a line of `/metrics` that begins so.
fn metric(address: SocketAddr, line: &str) -> Option<f64> {
    let (status, _, text) = ask(&mut connect(address), "GET /metrics HTTP/1.1", "").unwrap();
    assert_eq!(status, 200, "{text}");
    text.lines().find_map(|found| found.strip_prefix(line)?.rsplit(' ').next()?.parse().ok())
}

/// Asks for predictions until the metric is there.
fn until_metric(address: SocketAddr, line: &str) -> f64 {
    let begun = Instant::now();
    loop {
        assert_eq!(predict(&mut connect(address)).unwrap().0, 200);
        if let Some(value) = metric(address, line) {
            return value;
        }
        assert!(begun.elapsed() < DEADLINE, "`{line}` does not come");
        std::thread::sleep(PAUSE);
    }
}

/// Records what happened to the model after what the log knows.
async fn record(control: &Control, event: Event) {
    let stream = serving_stream("Drained");
    let version = control.log.read(&stream, 0).await.unwrap().len() as u64;
    let at = "2026-11-27T08:00:01Z".parse().unwrap();
    let event = event.first(&format!("more/{version}"), "/test", "Drained", at).unwrap();
    control.log.append(&stream, version, &[event]).await.unwrap();
}

#[tokio::test]
async fn every_metric_that_is_documented_is_there_and_a_cold_start_ends_once() {
    let home = home().await;
    let (mut process, address) = start(home.path(), &[]);
    until_metric(address, "regrove_predict_requests_total");
    let started = metric(address, "regrove_cold_start_seconds{part=\"model_loaded\"}").unwrap();
    let control = Control::embedded(home.path());
    let first = serving::replay(&control.log.read(&serving_stream("Drained"), 0).await.unwrap()).current.unwrap();
    let shadow = Some(ServedVersion { version: "2".to_owned(), ..ServedVersion::from(&first) });
    let traffic = TrafficChanged { name: "Drained".to_owned(), canary: None, shadow, actor: None, reason: None };
    record(&control, Event::TrafficChanged(traffic)).await;
    until_metric(address, "regrove_shadow_compared_total{model=\"Drained\",version=\"2\",outcome=\"equal\"}");
    // The same file as another version: loaded again.
    record(&control, Event::ModelLoaded(ModelLoaded { version: "3".to_owned(), ..first })).await;
    until_metric(address, "regrove_model_swaps_total{model=\"Drained\"}");
    until_version(address, "3");
    let gone = Artifact { sha256: "0".repeat(64), bytes: 1 };
    record(&control, Event::ModelLoaded(ModelLoaded::plain("Drained", "4", gone, SwitchedBy::Request))).await;
    until_metric(address, "regrove_model_refused_total{model=\"Drained\",version=\"4\"}");
    for line in [
        "regrove_http_requests_total{method=\"POST\",path=\"/predict\",status=\"200\"}",
        "regrove_http_request_seconds_count{path=\"/predict\"}",
        "regrove_http_requests_in_flight ",
        "regrove_queue_length ",
        "regrove_cold_start_seconds{part=\"listening\"}",
        "regrove_cold_start_seconds{part=\"model_loaded\"}",
        "regrove_spans_dropped_total ",
        "regrove_predict_requests_total{model=\"Drained\",version=\"1\"}",
        "regrove_predict_rows_total{model=\"Drained\",version=\"3\"}",
        "regrove_model_in_service{model=\"Drained\",version=\"3\",role=\"served\",sha256=",
        "regrove_model_load_seconds ",
        "regrove_models_loaded_bytes ",
        "regrove_models_loaded ",
        "regrove_prediction_log_dropped_total ",
    ] {
        assert!(metric(address, line).is_some(), "`{line}` is not there");
    }
    assert_eq!(
        metric(address, "regrove_cold_start_seconds{part=\"model_loaded\"}").map(f64::to_bits),
        Some(started.to_bits()),
        "a later load is no part of the start"
    );
    terminate(&process);
    assert!(process.wait().unwrap().success());
}
