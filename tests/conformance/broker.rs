//! Points 11–20, Broker and Trigger, and points 21 and 22, channels and subscriptions.

use serde_json::json;

use crate::subscriber::Answer;
use crate::system::{PLAIN, System};

#[tokio::test]
async fn point_11_the_address_takes_all_valid_events() {
    let system = System::start().await;
    for version in ["1.0", "0.3"] {
        let id = system.id();
        let event = json!({"specversion": version, "id": id, "source": "urn:x", "type": PLAIN, "extension": "ü 1"});
        assert_eq!(system.send_structured(&event).await, 202, "{version}");
        let arrived = system.arrival("/plain", &id).await;
        assert_eq!(arrived.header("ce-specversion"), version, "an event keeps its version");
        assert_eq!(arrived.header("ce-extension"), "%C3%BC%201");
    }
    let unwanted = system.id();
    system.emit(&unwanted, "conformance.nobody.wants.this").await;
}

#[tokio::test]
async fn point_12_what_was_acknowledged_is_stored() {
    let mut system = System::start().await;
    let id = system.id();
    // Nobody takes it before the broker has died, where the suite can make it die.
    system.subscriber.script("/plain", &id, [503, 503].map(Answer::status));
    system.emit(&id, PLAIN).await;
    system.arrival("/plain", &id).await;
    system.crash().await;
    system.subscriber.wait_for("/plain", &id, 3).await;
    assert!(system.subscriber.received("/broker-dead", &id).is_empty());
}

#[tokio::test]
async fn point_13_one_delivery_per_matching_trigger() {
    let system = System::start().await;
    let id = system.id();
    system.emit(&id, "conformance.twice").await;
    system.subscriber.wait_for("/twice", &id, 2).await;
    system.fence("conformance.twice", "/twice").await;
    assert_eq!(system.subscriber.received("/twice", &id).len(), 2, "two triggers have the same subscriber");
    assert!(system.subscriber.received("/plain", &id).is_empty(), "the type is another");
}

#[tokio::test]
async fn point_14_replies_are_routed_like_events() {
    let system = System::start().await;
    let (id, first, second) = (system.id(), system.id(), system.id());
    // The trigger gets its own subscriber's reply, and a reply to that goes to another trigger.
    system.subscriber.script("/echo", &id, [Answer::event(200, &first, "conformance.echo")]);
    system.subscriber.script("/echo", &first, [Answer::event(201, &second, "conformance.heard")]);
    system.emit(&id, "conformance.echo").await;
    system.arrival("/echo", &first).await;
    let heard = system.arrival("/heard", &second).await;
    assert_eq!(heard.header("ce-source"), "/conformance/subscriber");
    assert_eq!(heard.body, "{\"reply\":true}");
}

#[tokio::test]
async fn point_14_replies_in_structured_mode() {
    let system = System::start().await;
    let (id, reply) = (system.id(), system.id());
    let event = json!({"specversion": "1.0", "id": reply, "source": "/s", "type": "conformance.heard", "data": [1]});
    let headers = vec![("content-type", "application/cloudevents+json; charset=UTF-8".to_owned())];
    system.subscriber.script("/plain", &id, [Answer { status: 200, headers, body: event.to_string() }]);
    system.emit(&id, PLAIN).await;
    assert_eq!(system.arrival("/heard", &reply).await.body, "[1]");
}

#[tokio::test]
async fn point_15_a_reply_that_cannot_be_taken_fails_the_delivery() {
    let system = System::start().await;
    let (id, reply) = (system.id(), system.id());
    let mut invalid = Answer::event(200, &reply, "conformance.heard");
    invalid.headers.retain(|(name, _)| *name != "ce-source");
    let plain = Answer { headers: vec![("content-type", "application/json".to_owned())], ..invalid.clone() };
    let good = Answer::event(200, &reply, "conformance.heard");
    system.subscriber.script("/plain", &id, [invalid, plain, good]);
    system.emit(&id, PLAIN).await;
    system.arrival("/heard", &reply).await;
    assert_eq!(system.subscriber.received("/plain", &id).len(), 3, "the whole delivery was repeated");
}

#[tokio::test]
async fn point_16_a_trigger_without_its_broker_gets_nothing() {
    let system = System::start().await;
    let id = system.id();
    system.emit(&id, PLAIN).await;
    system.arrival("/plain", &id).await;
    system.fence(PLAIN, "/plain").await;
    assert!(system.subscriber.received("/orphan", &id).is_empty());
}

#[tokio::test]
async fn point_17_a_dead_letter_sink_is_found_by_reference() {
    let system = System::start().await;
    let id = system.id();
    system.subscriber.script("/doomed", &id, [Answer::status(400)]);
    system.emit(&id, "conformance.doomed").await;
    system.arrival("/dead", &id).await;
}

#[tokio::test]
async fn point_19_a_triggers_delivery_replaces_that_of_its_broker() {
    let system = System::start().await;
    let (own, inherited) = (system.id(), system.id());
    let failures = || (0..9).map(|_| Answer::status(503));
    system.subscriber.script("/own", &own, failures());
    system.subscriber.script("/plain", &inherited, failures());
    system.emit(&own, "conformance.own").await;
    system.emit(&inherited, PLAIN).await;
    // That of the broker: three retries, and then its dead letter sink.
    system.arrival("/broker-dead", &inherited).await;
    assert_eq!(system.subscriber.received("/plain", &inherited).len(), 4);
    // Its own: one retry, and no sink.
    system.subscriber.wait_for("/own", &own, 2).await;
    system.fence("conformance.own", "/own").await;
    assert_eq!(system.subscriber.received("/own", &own).len(), 2);
    assert!(system.subscriber.received("/broker-dead", &own).is_empty());
}

#[tokio::test]
async fn point_20_attribute_filters() {
    let system = System::start().await;
    let filtered = "conformance.filtered";
    let mut refused = Vec::new();
    for attributes in [
        vec![("subject", "any")],
        vec![("kind", "Exact")],
        vec![("subject", "any"), ("kind", "exact")],
        vec![("subject", "any"), ("kind", "Exactly")],
        vec![("subject", "any"), ("kind", "Exac")],
    ] {
        let id = system.id();
        assert_eq!(system.send(&id, filtered, &attributes, b"").await, 202, "{attributes:?}");
        refused.push((id, attributes));
    }
    let upper = system.id();
    let attributes = vec![("subject", "any"), ("kind", "Exact")];
    assert_eq!(system.send(&upper, "Conformance.filtered", &attributes, b"").await, 202);
    let id = system.id();
    assert_eq!(system.send(&id, filtered, &attributes, b"").await, 202);
    system.arrival("/filtered", &id).await;
    refused.push((upper, attributes));
    for (id, attributes) in refused {
        assert!(system.subscriber.received("/filtered", &id).is_empty(), "{attributes:?}");
    }
}

#[tokio::test]
async fn point_21_every_subscription_gets_the_event_and_replies_go_where_they_are_wanted() {
    let system = System::start().await;
    let (id, reply) = (system.id(), system.id());
    // A channel without a place for replies drops them.
    system.subscriber.script("/branch-1", &id, [Answer::event(200, &reply, "conformance.heard")]);
    system.emit(&id, "conformance.parallel").await;
    for branch in ["/branch-1", "/branch-2"] {
        system.arrival(branch, &id).await;
    }
    system.fence("conformance.parallel", "/branch-1").await;
    system.fence("conformance.heard", "/heard").await;
    assert!(system.subscriber.received("/heard", &reply).is_empty());
    assert_eq!(system.subscriber.received("/branch-1", &id).len(), 1);
}

#[tokio::test]
async fn point_22_a_reply_that_is_not_taken_at_once_is_not_lost() {
    let system = System::start().await;
    let (id, first, second) = (system.id(), system.id(), system.id());
    system.subscriber.script("/step-1", &id, [Answer::event(200, &first, "conformance.step")]);
    // Should the step be asked again, it says the same.
    let again = (0..4).map(|_| Answer::event(200, &second, "conformance.step"));
    system.subscriber.script("/step-2", &first, again);
    system.subscriber.script("/line-reply", &second, [503, 429].map(Answer::status));
    system.emit(&id, "conformance.sequence").await;
    let replies = system.subscriber.wait_for("/line-reply", &second, 3).await;
    assert_eq!(replies[2].header("ce-type"), "conformance.step");
    assert_eq!(replies[2].body, "{\"reply\":true}");
}
