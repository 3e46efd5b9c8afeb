//! The ingress for HTTP requests: routing by host name, from zero.

use reqwest::StatusCode;
use reqwest::header::HOST;

use crate::system::System;

#[tokio::test]
async fn a_service_answers_at_its_host_name() {
    let system = System::start().await;
    let request = system.client.get(format!("{}/path?query", system.ingress())).header(HOST, &system.host);
    let answer = request.send().await.unwrap();
    // The function takes nothing but POST, and says so itself.
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.headers()["allow"], "POST");
    let event = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/conformance"),
        ("ce-type", "com.example.greeting.written"),
        ("content-type", "application/json"),
    ];
    let request = system.client.post(system.ingress()).header(HOST, &system.host).body("{\"text\":\"Hi\"}");
    let request = event.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "application/cloudevents+json");
    let reply: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(reply["data"]["characters"], 2);
}

#[tokio::test]
async fn an_unknown_host_name_is_404() {
    let system = System::start().await;
    let request = system.client.get(system.ingress()).header(HOST, format!("no-{}", system.host));
    assert_eq!(request.send().await.unwrap().status(), StatusCode::NOT_FOUND);
}
