//! Points 25–29: what is an event, and what is not.

use reqwest::Method;
use serde_json::{Value, json};

use crate::system::{PLAIN, System};

const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];

fn event(id: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/conformance", "type": PLAIN})
}

#[tokio::test]
async fn point_25_required_attributes() {
    let system = System::start().await;
    let base = event("x");
    for name in REQUIRED {
        for broken in [None, Some("")] {
            let mut structured = base.clone();
            let members = structured.as_object_mut().unwrap();
            members.remove(name);
            if let Some(value) = broken {
                members.insert(name.to_owned(), value.into());
            }
            assert_eq!(system.send_structured(&structured).await, 400, "{name} as {broken:?} in structured mode");
            let headers: Vec<(String, &str)> = REQUIRED
                .into_iter()
                .filter(|other| broken.is_some() || *other != name)
                .map(|other| (format!("ce-{other}"), if other == name { "" } else { base[other].as_str().unwrap() }))
                .collect();
            let headers: Vec<(&str, &[u8])> =
                headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
            let status = system.request(Method::POST, &headers, Vec::new()).await.status();
            assert_eq!(status, 400, "{name} as {broken:?} in binary mode");
        }
    }
}

#[tokio::test]
async fn point_25_values_of_attributes() {
    let system = System::start().await;
    let good: [(&str, Value); 9] = [
        ("time", "2026-03-01T12:00:00.123456789+01:00".into()),
        ("time", "2026-03-01T12:00:00Z".into()),
        ("dataschema", "https://example.com/schema".into()),
        ("source", "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66".into()),
        ("source", "relative/path?x#y".into()),
        ("subject", "any \u{1F600} text".into()),
        ("extension", i32::MAX.into()),
        ("extension", i32::MIN.into()),
        ("extension", true.into()),
    ];
    for (name, value) in good {
        let mut event = event(&system.id());
        event[name] = value.clone();
        assert_eq!(system.send_structured(&event).await, 202, "{name}: {value}");
    }
    let bad: [(&str, Value); 12] = [
        ("specversion", "19.0".into()),
        ("specversion", "9000.1".into()),
        ("time", "yesterday".into()),
        ("time", "2026-03-01".into()),
        ("time", "2026-13-01T12:00:00Z".into()),
        ("dataschema", "relative".into()),
        ("Extension", "upper case".into()),
        ("ex_tension", "underscore".into()),
        ("extension", (i64::from(i32::MAX) + 1).into()),
        ("extension", 1.5.into()),
        ("extension", json!({"an": "object"})),
        ("id", 1.into()),
    ];
    for (name, value) in bad {
        let mut event = event(&system.id());
        event[name] = value.clone();
        assert_eq!(system.send_structured(&event).await, 400, "{name}: {value}");
    }
}

#[tokio::test]
async fn point_26_the_content_type_decides_the_mode() {
    let system = System::start().await;
    for content_type in [
        "application/cloudevents+json",
        "Application/CloudEvents+JSON",
        "application/cloudevents+json;charset=utf-8",
        "application/cloudevents+json ; charset=UTF-8",
    ] {
        let id = system.id();
        let headers = [("content-type", content_type.as_bytes())];
        let status = system.request(Method::POST, &headers, event(&id).to_string().into_bytes()).await.status();
        assert_eq!(status, 202, "{content_type}");
        system.arrival("/plain", &id).await;
    }
    for content_type in ["application/cloudevents-batch+json", "application/cloudevents+avro", "application/json"] {
        let headers = [("content-type", content_type.as_bytes())];
        let body = if content_type.contains("batch") { json!([event("x")]) } else { event("x") };
        let status = system.request(Method::POST, &headers, body.to_string().into_bytes()).await.status();
        assert!(matches!(status.as_u16(), 400 | 415), "{content_type}: {status}");
    }
    let status = system.send(&system.id(), PLAIN, &vec![("datacontenttype", "text/plain")], b"x").await;
    assert_eq!(status, 400, "`ce-datacontenttype` must not appear");
}

#[tokio::test]
async fn point_27_header_values_are_percent_coded_once() {
    let system = System::start().await;
    for (sent, delivered) in [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
        ("lower%20%e2%82%ac", "lower%20%E2%82%AC"),
        ("%6eeedless", "needless"),
        ("once%2520only", "once%2520only"),
        ("\"quoted\"", "quoted"),
        ("\"a \\\" b\"", "a%20%22%20b"),
        ("a!b~c", "a!b~c"),
        ("100%", "100%25"),
    ] {
        let id = system.id();
        assert_eq!(system.send(&id, PLAIN, &vec![("extension", sent)], b"").await, 202, "{sent}");
        let arrived = system.arrival("/plain", &id).await;
        assert_eq!(arrived.header("ce-extension"), delivered, "{sent}");
    }
    let id = system.id();
    let mut structured = event(&id);
    structured["extension"] = "tab\u{a0}ü \"%".into();
    assert_eq!(system.send_structured(&structured).await, 202);
    assert_eq!(system.arrival("/plain", &id).await.header("ce-extension"), "tab%C2%A0%C3%BC%20%22%25");
    for broken in ["%ff", "%C3%28", "%F0%82%82%AC"] {
        let status = system.send(&system.id(), PLAIN, &vec![("extension", broken)], b"").await;
        assert_eq!(status, 400, "{broken} is no UTF-8");
    }
}

#[tokio::test]
async fn point_28_the_json_format() {
    let system = System::start().await;
    for (content_type, member, value, delivered) in [
        (Some("application/json"), "data", json!({"a": [1, null]}), &b"{\"a\":[1,null]}"[..]),
        (Some("application/vnd.x+json"), "data", json!("text"), b"\"text\""),
        (None, "data", json!(17), b"17"),
        (Some("text/plain"), "data", json!("line\nline"), b"line\nline"),
        (Some("application/octet-stream"), "data_base64", json!("AP8Q"), b"\x00\xff\x10"),
    ] {
        let id = system.id();
        let mut event = event(&id);
        if let Some(content_type) = content_type {
            event["datacontenttype"] = content_type.into();
        }
        event[member] = value.clone();
        event["subject"] = Value::Null;
        event["extension"] = json!(-7);
        assert_eq!(system.send_structured(&event).await, 202, "{event}");
        let arrived = system.arrival("/plain", &id).await;
        assert_eq!(&arrived.body[..], delivered, "{event}");
        assert_eq!(arrived.header("content-type"), content_type.unwrap_or("application/json"), "{event}");
        assert!(!arrived.headers.contains_key("ce-subject"), "null is unset: {event}");
        assert_eq!(arrived.header("ce-extension"), "-7");
    }
    let mut both = event(&system.id());
    both["data"] = json!("x");
    both["data_base64"] = json!("eA==");
    assert_eq!(system.send_structured(&both).await, 400, "`data` and `data_base64` exclude each other");
}

#[tokio::test]
async fn point_29_events_of_64_kib() {
    let system = System::start().await;
    let (binary, structured) = (system.id(), system.id());
    let text = "x".repeat(64 * 1024);
    assert_eq!(system.send(&binary, PLAIN, &vec![("content-type", "text/plain")], text.as_bytes()).await, 202);
    let mut event = event(&structured);
    let frame = event.to_string().len() + ",\"datacontenttype\":\"text/plain\",\"data\":\"\"".len();
    event["datacontenttype"] = "text/plain".into();
    event["data"] = text[frame..].into();
    assert_eq!(event.to_string().len(), 64 * 1024);
    assert_eq!(system.send_structured(&event).await, 202);
    assert_eq!(system.arrival("/plain", &binary).await.body.len(), text.len());
    assert_eq!(system.arrival("/plain", &structured).await.body.len(), text.len() - frame);
}
