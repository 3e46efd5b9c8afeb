//! Attributes and headers that try to be more than one header, or the end of all of them.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::sink::{Script, Sink};
use crate::stage::{Stage, send};

const ATTACK: &str = "a\r\nx-evil: 1\r\n\r\nGET /evil HTTP/1.1\r\n\r\n";

fn eventing(sink: &Sink, dead: &Sink) -> String {
    format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: default}}\n---\napiVersion: \
         eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: t}}\nspec:\n  broker: default\n  subscriber: \
         {{uri: \"{}\"}}\n  delivery: {{retry: 0, deadLetterSink: {{uri: \"{}\"}}}}\n",
        sink.url, dead.url
    )
}

/// Sends bytes as they are and returns the status of the answer.
async fn raw(address: std::net::SocketAddr, request: &[u8]) -> u16 {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let text = String::from_utf8_lossy(&answer).into_owned();
    assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "one request has one answer: {text}");
    text[9..12].parse().unwrap_or_else(|_| panic!("{text}"))
}

#[tokio::test]
async fn no_attribute_becomes_a_header_of_its_own() {
    let (sink, dead) = (Sink::start(&[]).await, Sink::start(&[]).await);
    let stage = Stage::up(&eventing(&sink, &dead)).await;
    let url = stage.runtime.broker_url("default", "default");
    let mut taken = 0;
    for field in ["id", "type", "source", "subject", "extension", "datacontenttype", "dataschema", "time"] {
        let mut event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": "x"});
        event[field] = ATTACK.into();
        let request = Request::post(&url).header("content-type", "application/cloudevents+json");
        let status = send(request.body(Full::new(Bytes::from(event.to_string()))).unwrap()).await.status;
        assert!(matches!(status, 202 | 400), "{field}: {status}");
        taken += usize::from(status == 202);
    }
    // Percent-encoded, they are what they are in a header, too.
    for name in ["ce-id", "ce-subject", "ce-extension"] {
        let mut headers = vec![("ce-specversion", "1.0"), ("ce-source", "/s"), ("ce-type", "t")];
        if name != "ce-id" {
            headers.push(("ce-id", "1"));
        }
        headers.push((name, "a%0D%0Ax-evil:%201"));
        let request =
            headers.into_iter().fold(Request::post(&url), |request, (name, value)| request.header(name, value));
        let status = send(request.body(Full::default()).unwrap()).await.status;
        assert!(matches!(status, 202 | 400), "{name}: {status}");
        taken += usize::from(status == 202);
    }
    for request in sink.wait_for(taken).await {
        assert_eq!(request.header("x-evil"), "", "{request:?}");
        assert_eq!(request.path, "/", "{request:?}");
    }
    stage.runtime.shutdown().await;
    assert_eq!((sink.received().len(), dead.received().len()), (taken, 0), "what was taken could be delivered");
}

#[tokio::test]
async fn broken_headers_are_refused_at_the_door() {
    let (sink, dead) = (Sink::start(&[]).await, Sink::start(&[]).await);
    let stage = Stage::up(&eventing(&sink, &dead)).await;
    let ingress = stage.runtime.addresses().ingress;
    let head = "POST /default/default HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\nce-specversion: \
                1.0\r\nce-source: /s\r\nce-type: t\r\n";
    for (header, status) in [
        ("ce-id: 1\r\nx-request-id: a\u{0}b\r\n", 400),
        ("ce-id: 1\r\nx-request-id: a\rx-evil: 1\r\n", 400),
        ("ce-id: 1\r\nce-id: 2\r\n", 400),
        ("ce-id: 1\r\nce-bad name: 2\r\n", 400),
        ("ce-id: %ff\r\n", 400),
        ("ce-id: 1\r\ncontent-length: 5\r\n", 400),
        ("ce-id: 1\r\nx-request-id: plain\r\n", 202),
    ] {
        assert_eq!(raw(ingress, format!("{head}{header}\r\n").as_bytes()).await, status, "{header:?}");
    }
    let received = sink.wait_for(1).await;
    assert_eq!(received[0].header("x-request-id"), "plain");
    stage.runtime.shutdown().await;
    assert_eq!(sink.received().len(), 1);
}

#[tokio::test]
async fn what_a_failing_subscriber_says_stays_inside_the_dead_letter() {
    let headers = vec![("retry-after", "0"), ("knative-evil", "1"), ("ce-knativeerrordest", "http://evil")];
    let refusal = Script { status: 400, headers, body: ATTACK };
    let (sink, dead) = (Sink::start(&[refusal]).await, Sink::start(&[]).await);
    let stage = Stage::up(&eventing(&sink, &dead)).await;
    stage.emit("1", "t").await;
    let letters = dead.wait_for(1).await;
    let letter = &letters[0];
    assert_eq!((letter.header("x-evil"), letter.header("knative-evil")), ("", ""));
    assert_eq!(letter.header("ce-knativeerrordest").trim_end_matches('/'), sink.url);
    assert!(!letter.header("ce-knativeerrordata").is_empty());
    stage.runtime.shutdown().await;
}
