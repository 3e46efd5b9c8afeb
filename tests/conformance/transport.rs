//! Points 1–10: how events travel.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::subscriber::Answer;
use crate::system::{PLAIN, System};

#[tokio::test]
async fn point_01_binary_and_structured_mode() {
    let system = System::start().await;
    let (binary, structured) = (system.id(), system.id());
    let attributes = vec![("content-type", "application/json"), ("subject", "s"), ("number", "7")];
    assert_eq!(system.send(&binary, PLAIN, &attributes, b"{\"a\":1}").await, 202);
    let event = json!({
        "specversion": "1.0", "id": structured, "source": "/conformance", "type": PLAIN, "subject": "s", "number": 7,
        "datacontenttype": "application/json", "data": {"a": 1}
    });
    assert_eq!(system.send_structured(&event).await, 202);
    for id in [binary, structured] {
        let arrived = system.arrival("/plain", &id).await;
        assert_eq!(arrived.header("ce-specversion"), "1.0");
        assert_eq!(arrived.header("ce-source"), "/conformance");
        assert_eq!((arrived.header("ce-type"), arrived.header("ce-subject")), (PLAIN, "s"));
        assert_eq!(arrived.header("ce-number"), "7");
        assert_eq!(arrived.header("content-type"), "application/json");
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&arrived.body).unwrap(), json!({"a": 1}));
    }
}

#[tokio::test]
async fn point_02_delivery_with_post() {
    let system = System::start().await;
    let id = system.id();
    system.emit(&id, PLAIN).await;
    assert_eq!(system.arrival("/plain", &id).await.method, Method::POST);
}

#[tokio::test]
async fn point_03_negotiation() {
    let system = System::start().await;
    let id = system.id();
    let upgrade: [(&str, &[u8]); 6] = [
        ("connection", b"upgrade"),
        ("upgrade", b"something/1"),
        ("ce-specversion", b"1.0"),
        ("ce-id", id.as_bytes()),
        ("ce-source", b"/conformance"),
        ("ce-type", PLAIN.as_bytes()),
    ];
    assert_eq!(system.request(Method::POST, &upgrade, Vec::new()).await.status(), 202, "an unknown upgrade is ignored");
    system.arrival("/plain", &id).await;
    let options = system.request(Method::OPTIONS, &[], Vec::new()).await;
    match options.status().as_u16() {
        200..=299 => {
            let allow = options.headers().get("allow").and_then(|value| value.to_str().ok()).unwrap_or_default();
            assert!(allow.split(',').any(|method| method.trim() == "POST"), "Allow: {allow}");
        }
        status => assert_eq!(status, 405, "OPTIONS is implemented, or it is not"),
    }
}

#[tokio::test]
async fn point_04_acceptance_is_a_status_code() {
    let system = System::start().await;
    let id = system.id();
    assert_eq!(system.send(&id, PLAIN, &Vec::new(), b"").await, 202);
    system.arrival("/plain", &id).await;
    assert_eq!(system.request(Method::POST, &[], b"no event".to_vec()).await.status(), 400);
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::PATCH] {
        let answer = system.request(method.clone(), &[], Vec::new()).await;
        assert_eq!(answer.status(), 405, "{method}");
    }
}

/// Retried, and then taken.
#[tokio::test]
async fn point_05_retryable_status_codes() {
    let system = System::start().await;
    let mut sent = Vec::new();
    for status in [404, 408, 409, 429, 500, 501, 502, 503, 504, 599] {
        let id = system.id();
        system.subscriber.script("/plain", &id, [Answer::status(status)]);
        system.emit(&id, PLAIN).await;
        sent.push((status, id));
    }
    for (_, id) in &sent {
        system.subscriber.wait_for("/plain", id, 2).await;
    }
    system.fence(PLAIN, "/plain").await;
    for (status, id) in sent {
        assert_eq!(system.subscriber.received("/plain", &id).len(), 2, "{status}: once more, and then it is done");
        assert!(system.subscriber.received("/broker-dead", &id).is_empty(), "{status}");
    }
}

/// Not retried: a dead letter after one attempt.
#[tokio::test]
async fn point_05_final_status_codes() {
    let system = System::start().await;
    let mut sent = Vec::new();
    for status in [300, 301, 302, 304, 307, 308, 400, 401, 403, 405, 406, 410, 413, 415, 422, 451] {
        let id = system.id();
        system.subscriber.script("/plain", &id, [Answer::status(status)]);
        system.emit(&id, PLAIN).await;
        sent.push((status, id));
    }
    for (status, id) in sent {
        let letter = system.arrival("/broker-dead", &id).await;
        assert_eq!(letter.header("ce-knativeerrorcode"), status.to_string());
        assert_eq!(system.subscriber.received("/plain", &id).len(), 1, "{status}");
    }
}

#[tokio::test]
async fn point_05_success_is_complete() {
    let system = System::start().await;
    let mut sent = Vec::new();
    for status in [200, 201, 202, 203, 204, 206] {
        let id = system.id();
        system.subscriber.script("/plain", &id, [Answer::status(status)]);
        system.emit(&id, PLAIN).await;
        system.arrival("/plain", &id).await;
        sent.push((status, id));
    }
    system.fence(PLAIN, "/plain").await;
    for (status, id) in sent {
        assert_eq!(system.subscriber.received("/plain", &id).len(), 1, "{status}");
        assert!(system.subscriber.received("/broker-dead", &id).is_empty(), "{status}");
    }
}

#[tokio::test]
async fn point_06_duplicates_are_accepted() {
    let system = System::start().await;
    let id = system.id();
    system.emit(&id, PLAIN).await;
    system.emit(&id, PLAIN).await;
    system.arrival("/plain", &id).await;
}

/// The waits of `exponential` with 0.2 s are at least 0.2, 0.4 and 0.8 s.
#[tokio::test]
async fn point_07_retries_back_off() {
    let system = System::start().await;
    let id = system.id();
    system.subscriber.script("/plain", &id, [503, 503, 503].map(Answer::status));
    system.emit(&id, PLAIN).await;
    let attempts = system.subscriber.wait_for("/plain", &id, 4).await;
    for (pair, least_ms) in attempts.windows(2).zip([200, 400, 800]) {
        let wait = pair[1].at - pair[0].at;
        assert!(wait >= Duration::from_millis(least_ms), "waited {wait:?}, at least {least_ms} ms were due");
    }
}

#[tokio::test]
async fn point_08_subscribers_are_asked_for_a_reply() {
    let system = System::start().await;
    let (id, through_channel) = (system.id(), system.id());
    system.emit(&id, PLAIN).await;
    system.emit(&through_channel, "conformance.sequence").await;
    for (path, id) in [("/plain", id), ("/step-1", through_channel)] {
        let arrived = system.arrival(path, &id).await;
        let prefer: Vec<&str> = arrived.header("prefer").split(',').map(str::trim).collect();
        assert!(prefer.contains(&"reply"), "{path}: Prefer: {prefer:?}");
    }
}

#[tokio::test]
async fn point_09_the_body_of_a_202_is_no_reply() {
    let system = System::start().await;
    let (id, reply, other) = (system.id(), system.id(), system.id());
    system.subscriber.script("/plain", &id, [Answer::event(202, &reply, "conformance.heard")]);
    // The same with 200 shows that it would have been heard.
    system.subscriber.script("/plain", &other, [Answer::event(200, &format!("{reply}-200"), "conformance.heard")]);
    system.emit(&id, PLAIN).await;
    system.arrival("/plain", &id).await;
    system.emit(&other, PLAIN).await;
    system.arrival("/heard", &format!("{reply}-200")).await;
    system.fence("conformance.heard", "/heard").await;
    assert!(system.subscriber.received("/heard", &reply).is_empty());
    assert_eq!(system.subscriber.received("/plain", &id).len(), 1, "202 is success all the same");
}

#[tokio::test]
async fn point_10_data_is_not_modified() {
    let system = System::start().await;
    let every_byte: Vec<u8> = (0..=255).cycle().take(1000).collect();
    let odd_json = b"{ \"b\" : 1.0,\n\t\"a\": 1e2, \"a\": 12345678901234567890 } ".to_vec();
    for (content_type, data) in [
        ("application/octet-stream", every_byte.clone()),
        ("application/vnd.apache.thrift.binary", every_byte),
        ("application/xml", b"<a  b='c'/>\r\n".to_vec()),
        ("text/plain; charset=iso-8859-1", b"\xe4\xf6\xfc".to_vec()),
        ("application/json", odd_json),
    ] {
        let id = system.id();
        assert_eq!(system.send(&id, "conformance.twice", &vec![("content-type", content_type)], &data).await, 202);
        for copy in system.subscriber.wait_for("/twice", &id, 2).await {
            assert_eq!(copy.header("content-type"), content_type);
            assert_eq!(copy.body, data, "{content_type}");
        }
    }
}
