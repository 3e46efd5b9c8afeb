//! What a running runtime can be asked over HTTP.

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use regrove_runtime::RuntimeEvent;
use serde_json::{Value, json};

use crate::sink::Sink;
use crate::stage::{Answer, LISTEN_FDS, PATIENCE, Stage, send, service};

fn eventing(sink: &Sink) -> String {
    let object = "apiVersion: eventing.knative.dev/v1\nkind";
    format!(
        "{object}: Broker\nmetadata: {{name: default}}\n---\n{object}: Trigger\nmetadata: {{name: t}}\nspec:\n  broker: \
         default\n  subscriber: {{uri: \"{}\"}}\n---\n",
        sink.url
    )
}

async fn ask(stage: &Stage, path: &str) -> Answer {
    send(Request::get(format!("{}{path}", stage.runtime.api_url())).body(Full::default()).unwrap()).await
}

async fn known(stage: &Stage, path: &str) -> Value {
    let answer = ask(stage, path).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    answer.json()
}

async fn order(stage: &Stage, path: &str, body: &Value) -> Answer {
    let request =
        Request::post(format!("{}{path}", stage.runtime.api_url())).header("content-type", "application/json");
    send(request.body(Full::from(body.to_string())).unwrap()).await
}

#[tokio::test]
async fn services_cold_starts_and_history_are_told() {
    let mut stage = Stage::up(&service("hello", &[LISTEN_FDS], &[], &[])).await;
    let env = stage.get("hello", "/env").await.json();
    assert_eq!(env["REGROVE_RUNTIME"], stage.runtime.api_url(), "functions know where to ask");
    stage.wait_for("cold start", |event| matches!(event, RuntimeEvent::ColdStart { .. })).await;
    let status = known(&stage, "/status").await;
    let hello = &status["services"][0];
    assert_eq!(
        (&hello["service"], &hello["ready"], &hello["cold_starts"]),
        (&json!("default/hello"), &json!(1), &json!(1))
    );
    assert_eq!(hello["last_cold_start"]["replica"], "hello-00001-1");
    let starts = known(&stage, "/cold-starts?service=default/hello&limit=5").await;
    let parts = ["queue_ms", "spawn_ms", "ready_ms", "first_byte_ms"];
    assert!(parts.iter().all(|part| starts[0][part].as_f64().is_some_and(|ms| ms >= 0.0)), "{starts}");
    assert_eq!(known(&stage, "/cold-starts?service=default/other").await, json!([]));
    let look = async {
        loop {
            let samples = known(&stage, "/history?seconds=60").await;
            let samples = samples.as_array().unwrap().clone();
            if samples.iter().any(|sample| sample["services"][0]["ready"] == 1) {
                return samples;
            }
        }
    };
    let samples = tokio::time::timeout(PATIENCE, look).await.expect("a sample with the replica");
    assert!(samples.windows(2).all(|pair| pair[0]["at_ms"].as_i64() < pair[1]["at_ms"].as_i64()), "{samples:?}");
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn events_deliveries_and_dead_letters_are_told_and_handled() {
    let sink = Sink::answering(&[422, 200, 422, 200]).await;
    let mut stage = Stage::up(&eventing(&sink)).await;
    stage.emit("1", "wanted").await;
    stage.wait_for("end", |event| matches!(event, RuntimeEvent::EventDead { .. })).await;
    stage.emit("2", "wanted").await;
    stage.wait_for("end", |event| matches!(event, RuntimeEvent::EventDelivered { .. })).await;
    stage.emit("3", "other").await;
    stage.wait_for("end", |event| matches!(event, RuntimeEvent::EventDead { .. })).await;
    let events = known(&stage, "/events?type=wanted").await;
    let standing = |event: &Value| (event["event"]["id"].clone(), event["delivered"].clone(), event["dead"].clone());
    assert_eq!(
        events.as_array().unwrap().iter().map(standing).collect::<Vec<_>>(),
        [(json!("2"), json!(1), json!(0)), (json!("1"), json!(0), json!(1)),]
    );
    let before = format!("/events?broker=default/default&limit=1&before={}", events[0]["number"]);
    assert_eq!(known(&stage, &before).await[0]["event"]["id"], "1");
    assert_eq!(known(&stage, "/events?subject=nobody").await, json!([]));
    let record = known(&stage, "/deliveries?event=1").await;
    assert_eq!((&record[0]["state"], &record[0]["attempts"][0]["code"]), (&json!("dropped"), &json!(422)));

    let letters = known(&stage, "/dead-letters").await;
    let ids: Vec<&Value> = letters.as_array().unwrap().iter().map(|letter| &letter["id"]).collect();
    assert_eq!(ids.len(), 2, "{letters}");
    let redriven = order(&stage, "/dead-letters/redrive", &json!({ "ids": [ids[1]] })).await;
    assert_eq!(redriven.json(), json!({ "redriven": 1 }));
    stage.wait_for("end", |event| matches!(event, RuntimeEvent::EventDelivered { id, .. } if id == "1")).await;
    let discarded = order(&stage, "/dead-letters/discard", &json!({ "all": true })).await;
    assert_eq!(discarded.json(), json!({ "discarded": 1 }));
    assert_eq!(known(&stage, "/dead-letters").await, json!([]));
    assert_eq!(known(&stage, "/deliveries?event=3").await[0]["state"], "discarded");

    let replayed = order(&stage, "/replays", &json!({ "trigger": "default/t", "from": "2" })).await;
    assert_eq!(replayed.json()["events"], 2);
    sink.wait_for(6).await;
    let totals = &known(&stage, "/status").await["events"];
    assert_eq!((&totals["accepted"], &totals["failed"], &totals["dead"]), (&json!(3), &json!(2), &json!(2)));
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn lines_of_functions_are_found_and_followed() {
    // Says what it is asked for, as JSON lines.
    let python = "import os,socket,sys\n\
        s=socket.create_server(('127.0.0.1',int(os.environ['PORT'])))\n\
        while True:\n\
        \x20 c,_=s.accept()\n\
        \x20 d=c.recv(65536).decode()\n\
        \x20 if not d: c.close(); continue\n\
        \x20 p=d.split(' ')[1][1:]\n\
        \x20 if p: print('{\"level\":\"WARN\",\"job\":\"%s\"}'%p,file=sys.stderr,flush=True)\n\
        \x20 c.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok'); c.close()\n";
    let stage = Stage::up_with(&service("hello", &[], &[], &[]), |config| {
        config.exec.insert("test_function".to_owned(), ["python3", "-c", python].map(str::to_owned).to_vec());
    })
    .await;
    assert_eq!(stage.get("hello", "/job-1").await.status, 200);
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let uri = format!("{}/logs?service=hello&level=warn&job=job-1&follow=true", stage.runtime.api_url());
    let response = client.request(Request::get(uri).body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let mut body = response.into_body().into_data_stream();
    let mut text = String::new();
    for path in ["/job-10", "/job-1", "/job-2", "/job-1"] {
        assert_eq!(stage.get("hello", path).await.status, 200);
    }
    // A piece may end in the middle of a line.
    while text.matches('\n').count() < 3 {
        let piece = tokio::time::timeout(PATIENCE, body.next()).await.expect("a further line").unwrap().unwrap();
        text.push_str(std::str::from_utf8(&piece).unwrap());
    }
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3, "no line of another job: {text}");
    for line in &lines {
        assert_eq!((&line["service"], &line["level"]), (&json!("default/hello"), &json!("warn")));
        assert_eq!(line["text"], "{\"level\":\"WARN\",\"job\":\"job-1\"}");
        assert_eq!((&line["stream"], &line["replica"]), (&json!("stderr"), &json!("hello-00001-1")));
        assert!(line["at_ms"].as_i64() > Some(1_700_000_000_000), "{line}");
    }
    let found = known(&stage, &format!("/logs?after={}", lines[1]["number"])).await;
    assert!(found.as_array().unwrap().iter().any(|line| line["number"] == lines[2]["number"]), "{found}");
    assert_eq!(known(&stage, "/logs?level=error").await, json!([]));
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn prometheus_gets_counters_and_the_parts_of_cold_starts() {
    let sink = Sink::answering(&[503]).await;
    let yaml = eventing(&sink) + &service("hello", &[LISTEN_FDS], &[], &[]);
    let mut stage = Stage::up(&yaml).await;
    assert_eq!(stage.get("hello", "/").await.status, 200);
    stage.emit("1", "t").await;
    stage.wait_for("end", |event| matches!(event, RuntimeEvent::EventDelivered { .. })).await;
    send(
        Request::post(format!("http://{}/default/nobody", stage.runtime.addresses().ingress))
            .body(Full::default())
            .unwrap(),
    )
    .await;
    let text = ask(&stage, "/metrics").await.text;
    for line in [
        "regrove_runtime_events_accepted_total{broker=\"default/default\"} 1",
        "regrove_runtime_event_attempts_total{trigger=\"default/t\",result=\"delivered\"} 1",
        "regrove_runtime_event_attempts_total{trigger=\"default/t\",result=\"retried\"} 1",
        "regrove_runtime_event_attempt_seconds_count{trigger=\"default/t\"} 2",
        "regrove_runtime_events_refused_total{code=\"400\"} 1",
        "regrove_runtime_answers_total{service=\"default/hello\",class=\"2xx\"} 1",
        "regrove_runtime_cold_start_seconds_count{service=\"default/hello\",part=\"queue\"} 1",
        "regrove_runtime_cold_start_seconds_count{service=\"default/hello\",part=\"spawn\"} 1",
        "regrove_runtime_cold_start_seconds_count{service=\"default/hello\",part=\"ready\"} 1",
        "regrove_runtime_cold_start_seconds_count{service=\"default/hello\",part=\"first_byte\"} 1",
        "regrove_runtime_replicas{service=\"default/hello\",revision=\"hello-00001\",state=\"ready\"} 1",
        "# EOF",
    ] {
        assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
    }
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn strangers_and_wrong_questions_are_refused() {
    let sink = Sink::start(&[]).await;
    let stage = Stage::up(&eventing(&sink)).await;
    let api = stage.runtime.api_url();
    let request = |method: Method, path: &str, headers: &[(&str, &str)], body: &str| {
        let mut request = Request::builder().method(method).uri(format!("{api}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        send(request.body(Full::from(body.to_owned())).unwrap())
    };
    let json = ("content-type", "application/json");
    for (status, method, path, headers, body) in [
        (403, Method::GET, "/status", &[("host", "evil.example.com")][..], ""),
        (403, Method::POST, "/dead-letters/redrive", &[json, ("origin", "http://localhost:3000")], "{\"all\":true}"),
        (415, Method::POST, "/dead-letters/redrive", &[("content-type", "text/plain")], "{\"all\":true}"),
        (422, Method::POST, "/dead-letters/redrive", &[json], "{}"),
        (422, Method::POST, "/dead-letters/redrive", &[json], "{\"all\":true,\"ids\":[1]}"),
        (422, Method::POST, "/dead-letters/redrive", &[json], "{\"every\":true}"),
        (400, Method::POST, "/replays", &[json], "{"),
        (404, Method::POST, "/replays", &[json], "{\"trigger\":\"default/x\",\"from\":\"1\"}"),
        (404, Method::POST, "/replays", &[json], "{\"trigger\":\"default/t\",\"from\":\"gone\"}"),
        (400, Method::GET, "/logs?level=loud", &[], ""),
        (400, Method::GET, "/events?limit=all", &[], ""),
        (400, Method::GET, "/history?hours=1", &[], ""),
        (404, Method::GET, "/nothing", &[], ""),
        (405, Method::POST, "/status", &[json], "{}"),
    ] {
        let answer = request(method.clone(), path, headers, body).await;
        assert_eq!(answer.status, status, "{method} {path} {headers:?} {body}: {}", answer.text);
    }
    let problem = request(Method::GET, "/nothing", &[], "").await.json();
    assert_eq!((&problem["status"], &problem["title"]), (&json!(404), &json!("Not Found")));
    stage.runtime.shutdown().await;
}
