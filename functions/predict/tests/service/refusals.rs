//! Refusals of what is around the handlers: clients read them in their protocol's words all the same.

use std::num::NonZeroUsize;

use axum::body::Body;
use http::Request;
use regrove_host::LimitArgs;
use serde_json::{Value, json};

use crate::stage::{BODY_BYTES_MAX, Kind, NAME, Reply, Stage};

const ROWS: usize = 5000;

/// Where tensors go, and where frames go.
fn places() -> [(String, Value); 2] {
    let tensor = json!({"name": "x", "shape": [ROWS, 3], "datatype": "FP32", "data": vec![1; ROWS * 3]});
    [
        (format!("/v2/models/{NAME}/infer"), json!({"inputs": [tensor]})),
        ("/invocations".to_owned(), json!({"instances": vec![[1, 2, 3]; ROWS]})),
    ]
}

/// It is this problem, and says so as the protocol of the path has it.
#[track_caller]
fn spoken(path: &str, reply: &Reply, status: u16, kind: &str, code: &str) {
    let problem = reply.is_problem(status, kind, "");
    assert_eq!((&problem["status"], problem["title"].is_string()), (&json!(status), true), "{problem}");
    let length = reply.headers.get("content-length").map(|length| length.to_str().unwrap().parse::<usize>().unwrap());
    assert!(length.is_none_or(|length| length == reply.body.len()), "{length:?} of {}", reply.body.len());
    if path.starts_with("/v2") {
        assert_eq!(problem["error"], problem["detail"], "{problem}");
    } else {
        assert_eq!((&problem["error_code"], &problem["message"]), (&json!(code), &problem["detail"]), "{problem}");
    }
}

#[tokio::test]
async fn what_is_refused_before_the_protocol_is_read_is_said_in_its_words() {
    let (stage, _) = Stage::of(Kind::Numbers).await;
    for (path, body) in places() {
        let too_large = stage.post(&path, "application/json", vec![b' '; BODY_BYTES_MAX + 1]).await;
        spoken(&path, &too_large, 413, "body-too-large", "INVALID_PARAMETER_VALUE");
        let request = Request::post(&path).header("content-type", "application/json").header("content-encoding", "br");
        let encoded = stage.ask(request.body(Body::from(body.to_string())).unwrap()).await;
        spoken(&path, &encoded, 415, "unsupported-encoding", "BAD_REQUEST");
        assert_eq!(encoded.json()["header"], "content-encoding");
        let method = stage.ask(Request::put(&path).body(Body::empty()).unwrap()).await;
        spoken(&path, &method, 405, "method-not-allowed", "BAD_REQUEST");
        assert_eq!(method.headers["allow"], "POST");
    }
    for path in ["/v2/", "/v2/logging", "/v2/models/Staged/stats", "/v2/systemsharedmemory/status"] {
        spoken(path, &stage.get(path).await, 404, "no-such-path", "");
        spoken(path, &stage.json(path, &json!({})).await, 404, "no-such-path", "");
    }
    let no_text = stage.get("/v2/models/%FF").await;
    spoken("/v2", &no_text, 400, "no-such-path", "");
    no_text.is_problem(400, "no-such-path", "/v2/models/%FF");
    let plain = stage.get("/nowhere").await.is_problem(404, "no-such-path", "/nowhere");
    assert!(plain.get("error").is_none() && plain.get("error_code").is_none(), "{plain}");
}

/// The one turn to compute is taken: a large request waits until its time is over, and meanwhile there is room for no other.
#[tokio::test]
async fn what_the_gate_refuses_is_said_in_the_protocols_words() {
    let limits = LimitArgs { in_flight_max: NonZeroUsize::MIN, request_seconds: 1, ..LimitArgs::default() };
    let stage = Stage::bounded(&limits).await;
    let _turn = stage.gate.turn().await;
    for (path, body) in places() {
        let (late, over) = tokio::join!(stage.json(&path, &body), stage.json(&path, &body));
        spoken(&path, &over, 503, "over-capacity", "TEMPORARILY_UNAVAILABLE");
        assert_eq!(over.headers["retry-after"], "1");
        spoken(&path, &late, 504, "deadline-exceeded", "DEADLINE_EXCEEDED");
    }
}
