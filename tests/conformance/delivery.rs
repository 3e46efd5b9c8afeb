//! Points 23 and 24: retries, dead letters and destinations.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::subscriber::Answer;
use crate::system::System;

#[tokio::test]
async fn point_23_retries_are_counted_and_end_in_the_dead_letter_sink() {
    let system = System::start().await;
    let id = system.id();
    let refusal = |text: &str| Answer { status: 503, body: text.to_owned(), ..Answer::default() };
    let long = "x".repeat(2000);
    system.subscriber.script("/doomed", &id, [refusal("first"), refusal("second"), refusal(&long), refusal("more")]);
    let attributes = vec![("content-type", "text/plain"), ("subject", "s"), ("extension", "e")];
    assert_eq!(system.send(&id, "conformance.doomed", &attributes, b"data").await, 202);
    let letter = system.arrival("/dead", &id).await;
    assert_eq!(system.subscriber.received("/doomed", &id).len(), 3, "one attempt and two retries");
    // The original event, and why it is here.
    assert_eq!((letter.header("ce-type"), letter.header("ce-source")), ("conformance.doomed", "/conformance"));
    assert_eq!((letter.header("ce-subject"), letter.header("ce-extension")), ("s", "e"));
    assert_eq!((letter.header("content-type"), &letter.body[..]), ("text/plain", &b"data"[..]));
    assert!(letter.header("ce-knativeerrordest").ends_with("/doomed"), "{:?}", letter.headers);
    assert_eq!(letter.header("ce-knativeerrorcode"), "503");
    let said = STANDARD.decode(letter.header("ce-knativeerrordata")).expect("base64");
    assert!(!said.is_empty() && long.as_bytes().starts_with(&said), "the last answer, cut: {} bytes", said.len());
}

#[tokio::test]
async fn point_23_dead_letters_are_retried() {
    let system = System::start().await;
    let id = system.id();
    system.subscriber.script("/doomed", &id, [Answer::status(400)]);
    system.subscriber.script("/dead-late", &id, [Answer::status(503)]);
    system.emit(&id, "conformance.doomedtwice").await;
    let letters = system.subscriber.wait_for("/dead-late", &id, 2).await;
    for letter in &letters {
        assert_eq!(letter.header("ce-knativeerrorcode"), "400", "the reason is that of the subscriber");
    }
    system.fence("conformance.doomedtwice", "/doomed").await;
    assert_eq!(system.subscriber.received("/dead-late", &id).len(), 2);
}

#[tokio::test]
async fn point_24_destinations_by_reference() {
    let system = System::start().await;
    let id = system.id();
    system.emit(&id, "conformance.relay").await;
    system.arrival("/relayed", &id).await;
}

#[tokio::test]
async fn point_24_a_uri_is_resolved_relative_to_a_reference() {
    let system = System::start().await;
    let id = system.id();
    system.emit(&id, "conformance.relative").await;
    system.arrival("/relayed", &id).await;
    assert!(system.subscriber.received("/dead", &id).is_empty());
}

/// A Knative Service by reference, started from zero; its reply comes back.
#[tokio::test]
async fn point_24_a_service_by_reference() {
    let system = System::start().await;
    let id = system.id();
    let json = vec![("content-type", "application/json")];
    assert_eq!(system.send(&id, "com.example.greeting.written", &json, b"{\"text\":\"Hello\"}").await, 202);
    let shown = system.arrival("/shown", &format!("{id}/shown")).await;
    assert_eq!(shown.body, "{\"characters\":5}");
    assert_eq!(shown.header("ce-source"), "/examples/display");
}
