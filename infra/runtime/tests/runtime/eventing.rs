//! The broker: what it takes, whom it tells, what becomes of failures.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use regrove_runtime::{DeliveryState, RuntimeEvent, dead_letters, delivery_records, redrive};

use crate::sink::{Script, Sink};
use crate::stage::{LISTEN_FDS, Stage, send, service};

const BROKER: &str = "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: default}\n---\n";

/// A trigger with `spec` lines.
fn trigger(name: &str, spec: &[&str]) -> String {
    let spec = spec.join("\n  ");
    format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: {name}}}\nspec:\n  broker: \
         default\n  {spec}\n---\n"
    )
}

fn to(sink: &Sink) -> String {
    format!("subscriber: {{uri: \"{}/subscriber\"}}", sink.url)
}

const FAST: &str = "retry: 2, backoffPolicy: linear, backoffDelay: PT0.1S";

#[tokio::test]
async fn the_ingress_answers_with_knatives_codes() {
    let stage = Stage::up_with(BROKER, |config| config.event_bytes_max = 1000).await;
    let ingress = stage.runtime.addresses().ingress;
    let event = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")];
    let without = |name: &str| event.iter().copied().filter(|(key, _)| *key != name).collect::<Vec<_>>();
    let with = |name: &'static str, value: &'static str| {
        let mut headers = without(name);
        headers.push((name, value));
        headers
    };
    let post = |path: &str, headers: Vec<(&'static str, &'static str)>, body: String| {
        let mut request = Request::post(format!("http://{ingress}{path}"));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        send(request.body(Full::new(Bytes::from(body))).unwrap())
    };
    let none = String::new;
    let good = "/default/default";
    let structured = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"a":1}}"#.to_owned();
    let json = vec![("content-type", "application/cloudevents+json; charset=utf-8")];
    for (status, path, headers, body) in [
        (202, good, event.to_vec(), none()),
        (202, "/default/default/", event.to_vec(), none()),
        (202, good, json.clone(), structured.clone()),
        (202, good, with("ce-specversion", "0.3"), none()),
        (202, good, with("ce-knativebrokerttl", "2"), none()),
        (400, good, with("ce-knativebrokerttl", "1"), none()),
        (400, good, with("ce-knativebrokerttl", "soon"), none()),
        (400, good, without("ce-id"), none()),
        (400, good, without("ce-source"), none()),
        (400, good, without("ce-type"), none()),
        (400, good, without("ce-specversion"), none()),
        (400, good, with("ce-specversion", "19.0"), none()),
        (400, good, json, "{".to_owned()),
        (400, good, vec![("content-type", "application/cloudevents-batch+json")], format!("[{structured}]")),
        (404, "/", event.to_vec(), none()),
        (400, "/default", event.to_vec(), none()),
        (400, "/default/default/more", event.to_vec(), none()),
        (404, "/default/other", event.to_vec(), none()),
        (404, "/other/default", event.to_vec(), none()),
        (413, good, event.to_vec(), "x".repeat(1001)),
        (202, good, event.to_vec(), "x".repeat(1000)),
    ] {
        let answer = post(path, headers.clone(), body).await;
        assert_eq!(answer.status, status, "{path} {headers:?}: {}", answer.text);
    }
    for (method, status) in [(Method::GET, 405), (Method::PUT, 405), (Method::DELETE, 405), (Method::OPTIONS, 200)] {
        let request = Request::builder().method(method.clone()).uri(format!("http://{ingress}{good}"));
        assert_eq!(send(request.body(Full::default()).unwrap()).await.status, status, "{method}");
    }
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn matching_triggers_get_the_event_with_its_stamps() {
    let (all, some, none) = (Sink::start(&[]).await, Sink::start(&[]).await, Sink::start(&[]).await);
    let yaml = BROKER.to_owned()
        + &trigger("all", &[&to(&all)])
        + &trigger("some", &["filter: {attributes: {type: wanted}}", &to(&some)])
        + &trigger("none", &["filters: [{prefix: {type: other}}]", &to(&none)]);
    let mut stage = Stage::up(&yaml).await;
    assert_eq!(stage.emit("first", "wanted").await.status, 202);
    assert_eq!(stage.emit("second", "unwanted").await.status, 202);
    let received = all.wait_for(2).await;
    let first = received.iter().find(|request| request.header("ce-id") == "first").unwrap();
    assert_eq!(first.path, "/subscriber");
    assert_eq!(first.body, "{\"n\":1}");
    assert_eq!(first.header("content-type"), "application/json");
    assert_eq!(first.header("prefer"), "reply");
    assert_eq!(first.header("kn-namespace"), "default");
    assert_eq!(first.header("x-request-id"), "request-7");
    assert_eq!((first.header("x-b3-traceid"), first.header("knative-hop")), ("463ac35c9f6413ad", "first"));
    assert_eq!(first.header("x-stranger"), "", "no other header travels with an event");
    assert!(first.header("ce-knativearrivaltime").ends_with('Z'));
    assert_eq!(first.header("ce-knativebrokerttl"), "", "the time to live stays inside");
    for _ in 0..3 {
        stage.wait_for("delivery", |event| matches!(event, RuntimeEvent::EventDelivered { .. })).await;
    }
    assert_eq!(some.received().len(), 1);
    assert_eq!(none.received().len(), 0);
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn failures_are_retried_by_the_policy() {
    let sink = Sink::answering(&[503, 404, 200]).await;
    let yaml = BROKER.to_owned() + &trigger("t", &[&to(&sink), &format!("delivery: {{{FAST}}}")]);
    let mut stage = Stage::up(&yaml).await;
    stage.emit("1", "t").await;
    let event = stage.wait_for("delivery", |event| matches!(event, RuntimeEvent::EventDelivered { .. })).await;
    assert!(matches!(event, RuntimeEvent::EventDelivered { attempts: 3, .. }), "{event:?}");
    assert_eq!(sink.received().len(), 3);
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn what_nobody_takes_goes_to_the_dead_letter_sink_with_its_reason() {
    let (sink, dead) = (Sink::answering(&[503, 503, 503]).await, Sink::answering(&[500]).await);
    let delivery = format!("delivery: {{{FAST}, deadLetterSink: {{uri: \"{}/dead\"}}}}", dead.url);
    let mut stage = Stage::up(&(BROKER.to_owned() + &trigger("t", &[&to(&sink), &delivery]))).await;
    stage.emit("1", "lost").await;
    let event = stage.wait_for("dead letter", |event| matches!(event, RuntimeEvent::EventDead { .. })).await;
    assert!(matches!(event, RuntimeEvent::EventDead { in_sink: true, .. }), "{event:?}");
    assert_eq!(sink.received().len(), 3, "one attempt and two retries");
    let letters = dead.wait_for(2).await;
    let letter = &letters[1];
    assert_eq!(letter.path, "/dead");
    assert_eq!(letter.header("ce-id"), "1");
    assert_eq!(letter.header("ce-knativeerrordest"), format!("{}/subscriber", sink.url));
    assert_eq!(letter.header("ce-knativeerrorcode"), "503");
    assert_eq!(letter.header("ce-knativeerrordata"), "bm8=");
    assert_eq!(letter.header("prefer"), "");
    assert_eq!(letter.body, "{\"n\":1}");
    let listed = dead_letters(stage.home.path(), 10).unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].trigger.as_str(), listed[0].event.id(), listed[0].in_sink), ("default/t", "1", true));
    assert_eq!(listed[0].code, Some(503));
    let records = delivery_records(stage.home.path(), "1").unwrap();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].state, DeliveryState::InSink);
    let attempts: Vec<_> = records[0]
        .attempts
        .iter()
        .map(|attempt| (attempt.dead_letter, attempt.code, attempt.error.is_some()))
        .collect();
    let (refused, taken) = ((false, Some(503), true), (true, Some(200), false));
    assert_eq!(attempts, [refused, refused, refused, (true, Some(500), true), taken]);
    assert!(records[0].attempts.iter().all(|attempt| attempt.latency_us > 0 && attempt.at_ms > 0));
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn what_must_not_be_retried_is_dropped_listed_and_redriven() {
    let sink = Sink::answering(&[422]).await;
    let mut stage = Stage::up(&(BROKER.to_owned() + &trigger("t", &[&to(&sink)]))).await;
    stage.emit("1", "lost").await;
    let event = stage.wait_for("dead letter", |event| matches!(event, RuntimeEvent::EventDead { .. })).await;
    assert!(matches!(event, RuntimeEvent::EventDead { in_sink: false, .. }), "{event:?}");
    assert_eq!(sink.received().len(), 1);
    let listed = dead_letters(stage.home.path(), 10).unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(redrive(stage.home.path(), &[listed[0].id + 1]).unwrap(), 0, "another number");
    assert_eq!(redrive(stage.home.path(), &[listed[0].id]).unwrap(), 1);
    assert_eq!(sink.wait_for(2).await[1].header("ce-id"), "1", "the running runtime noticed");
    assert!(dead_letters(stage.home.path(), 10).unwrap().is_empty());
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn replies_are_routed_again_with_less_time_to_live() {
    let reply = Script {
        status: 200,
        headers: vec![
            ("ce-specversion", "1.0"),
            ("ce-id", "reply"),
            ("ce-source", "/r"),
            ("ce-type", "answer"),
            ("content-type", "application/json"),
        ],
        body: "{\"r\":2}",
    };
    let (asked, told) = (Sink::start(&[reply]).await, Sink::start(&[]).await);
    let yaml = BROKER.to_owned()
        + &trigger("asked", &["filter: {attributes: {type: question}}", &to(&asked)])
        + &trigger("told", &["filter: {attributes: {type: answer}}", &to(&told)]);
    let stage = Stage::up(&yaml).await;
    stage.emit("1", "question").await;
    let received = told.wait_for(1).await;
    assert_eq!((received[0].header("ce-id"), received[0].body.as_str()), ("reply", "{\"r\":2}"));
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn replies_in_a_circle_end() {
    // Each reply has the type that the trigger wants: only the time to live ends it.
    let reply = Script {
        status: 200,
        headers: vec![("ce-specversion", "1.0"), ("ce-id", "r"), ("ce-source", "/r"), ("ce-type", "round")],
        body: "",
    };
    let sink = Sink::start(&vec![reply; 300]).await;
    let mut stage = Stage::up(&(BROKER.to_owned() + &trigger("t", &[&to(&sink)]))).await;
    stage.emit("1", "round").await;
    let event = stage.wait_for("end", |event| matches!(event, RuntimeEvent::EventDead { .. })).await;
    let RuntimeEvent::EventDead { error, .. } = event else { unreachable!() };
    assert!(error.contains("knativebrokerttl"), "{error}");
    assert_eq!(sink.received().len(), 255);
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn a_plain_body_is_a_failure_but_not_with_202() {
    let plain = |status| Script { status, headers: vec![("content-type", "application/json")], body: "{}" };
    let sink = Sink::start(&[plain(200), plain(202)]).await;
    let mut stage =
        Stage::up(&(BROKER.to_owned() + &trigger("t", &[&to(&sink), &format!("delivery: {{{FAST}}}")]))).await;
    stage.emit("1", "t").await;
    let event = stage.wait_for("retry", |event| matches!(event, RuntimeEvent::EventRetried { .. })).await;
    assert!(matches!(event, RuntimeEvent::EventRetried { code: Some(502), .. }), "{event:?}");
    stage.wait_for("delivery", |event| matches!(event, RuntimeEvent::EventDelivered { attempts: 2, .. })).await;
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn a_subscriber_service_is_started_by_the_event() {
    let subscriber = "subscriber: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: hello}}";
    let binding = "apiVersion: sources.knative.dev/v1\nkind: SinkBinding\nmetadata: {name: b}\nspec:\n  subject: \
        {apiVersion: serving.knative.dev/v1, kind: Service, name: hello}\n  sink: {ref: {apiVersion: \
        eventing.knative.dev/v1, kind: Broker, name: default}}\n  ceOverrides: {extensions: {from: here}}\n---\n";
    let yaml = BROKER.to_owned() + &service("hello", &[LISTEN_FDS], &[], &[]) + &trigger("t", &[subscriber]) + binding;
    let mut stage = Stage::up(&yaml).await;
    stage.emit("1", "t").await;
    stage.wait_for("delivery", |event| matches!(event, RuntimeEvent::EventDelivered { .. })).await;
    assert_eq!(stage.runtime.cold_starts()["default/hello"].len(), 1);
    let env = stage.get("hello", "/env").await.json();
    assert_eq!(env["K_SINK"], stage.runtime.broker_url("default", "default"));
    assert_eq!(env["K_CE_OVERRIDES"], "{\"extensions\":{\"from\":\"here\"}}");
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn an_event_that_cannot_be_stored_is_500_and_goes_nowhere() {
    let sink = Sink::start(&[]).await;
    let stage = Stage::up(&(BROKER.to_owned() + &trigger("t", &[&to(&sink)]))).await;
    let other = rusqlite::Connection::open(stage.home.path().join("broker.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (refused, waited) = tokio::join!(stage.emit("1", "t"), stage.emit("2", "t"));
    assert_eq!((refused.status, waited.status), (500, 500), "{}", refused.text);
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(stage.emit("3", "t").await.status, 202);
    assert_eq!(sink.wait_for(1).await[0].header("ce-id"), "3");
    stage.runtime.shutdown().await;
    assert_eq!(sink.received().len(), 1);
}

#[tokio::test]
async fn a_dead_letter_reaches_a_service_at_its_path() {
    let sink = Sink::answering(&[400]).await;
    let reference = "ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: hello}";
    let yaml = BROKER.to_owned()
        + &service("hello", &[LISTEN_FDS], &[], &[])
        + &trigger("t", &[&to(&sink), &format!("delivery: {{deadLetterSink: {{{reference}, uri: /dead-letters}}}}")]);
    let mut stage = Stage::up(&yaml).await;
    stage.emit("1", "t").await;
    let event = stage.wait_for("dead letter", |event| matches!(event, RuntimeEvent::EventDead { .. })).await;
    assert!(matches!(event, RuntimeEvent::EventDead { in_sink: true, .. }), "{event:?}");
    let seen = stage.get("hello", "/dead-letters").await.json();
    assert_eq!(seen["ce-knativeerrorcode"], "400");
    assert_eq!(seen["host"], "hello.default.svc.cluster.local");
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn more_events_than_fit_into_the_window_are_all_delivered() {
    let sink = Sink::start(&[]).await;
    let stage = Stage::up(&(BROKER.to_owned() + &trigger("t", &[&to(&sink)]))).await;
    let ingress = stage.runtime.addresses().ingress.to_string();
    let emitters: Vec<_> = (0..20)
        .map(|emitter| {
            let ingress = ingress.clone();
            tokio::spawn(async move {
                for event in 0..120 {
                    assert_eq!(crate::stage::emit(&ingress, &format!("{emitter}-{event}"), "t").await.status, 202);
                }
            })
        })
        .collect();
    for emitter in emitters {
        emitter.await.unwrap();
    }
    let ids: std::collections::BTreeSet<String> =
        sink.wait_for(2400).await.iter().map(|request| request.header("ce-id").to_owned()).collect();
    assert_eq!(ids.len(), 2400);
    stage.runtime.shutdown().await;
}
