//! Sequences, parallels, ordered triggers, and the ways to name a destination.

use regrove_runtime::RuntimeEvent;
use regrove_test_support::Port;

use crate::sink::{Script, Sink};
use crate::stage::{LISTEN_FDS, Stage, emit_keyed, emit_to, service};

const BROKER: &str = "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: default}\n---\n";

/// An answer that is an event of this type.
fn reply(ty: &'static str) -> Script {
    let headers = vec![("ce-specversion", "1.0"), ("ce-id", ty), ("ce-source", "/r"), ("ce-type", ty)];
    Script { status: 200, headers, body: "{}" }
}

fn sequence(spec: &[&str]) -> String {
    format!(
        "apiVersion: flows.knative.dev/v1\nkind: Sequence\nmetadata: {{name: line}}\nspec:\n  {}\n---\n",
        spec.join("\n  ")
    )
}

fn trigger(name: &str, spec: &[&str]) -> String {
    let spec = spec.join("\n  ");
    format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: {name}}}\nspec:\n  broker: \
         default\n  {spec}\n---\n"
    )
}

#[tokio::test]
async fn a_sequence_passes_replies_from_step_to_step_and_back_to_the_broker() {
    let (first, second) = (Sink::start(&[reply("one")]).await, Sink::start(&[reply("two")]).await);
    let told = Sink::start(&[]).await;
    let yaml = BROKER.to_owned()
        + &trigger(
            "start",
            &[
                "filter: {attributes: {type: begin}}",
                "subscriber: {ref: {apiVersion: flows.knative.dev/v1, kind: Sequence, name: line}}",
            ],
        )
        + &trigger("told", &["filter: {attributes: {type: two}}", &format!("subscriber: {{uri: \"{}\"}}", told.url)])
        + &sequence(&[
            &format!("steps: [{{uri: \"{}/1\"}}, {{uri: \"{}/2\"}}]", first.url, second.url),
            "reply: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}",
        ]);
    let stage = Stage::up(&yaml).await;
    stage.emit("1", "begin").await;
    let end = told.wait_for(1).await;
    assert_eq!(end[0].header("ce-type"), "two");
    let (asked, answered) = (first.received(), second.received());
    assert_eq!((asked.len(), answered.len()), (1, 1));
    assert_eq!(
        (asked[0].path.as_str(), asked[0].header("ce-type"), asked[0].header("prefer")),
        ("/1", "begin", "reply")
    );
    assert_eq!((answered[0].path.as_str(), answered[0].header("ce-type")), ("/2", "one"));
    assert_eq!(answered[0].header("x-request-id"), "request-7");
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn an_empty_reply_ends_a_sequence_and_a_failing_step_has_its_own_delivery() {
    let first = Sink::start(&[Script { status: 200, ..Script::default() }, reply("one")]).await;
    let second = Sink::answering(&[503, 503]).await;
    let dead = Sink::start(&[]).await;
    let yaml = sequence(&[
        "steps:",
        &format!("- uri: \"{}\"", first.url),
        &format!("- uri: \"{}\"", second.url),
        "  delivery:",
        "    {retry: 1, backoffPolicy: linear, backoffDelay: PT0.1S,",
        &format!("     deadLetterSink: {{uri: \"{}\"}}}}", dead.url),
    ]);
    let mut stage = Stage::up(&yaml).await;
    let ingress = stage.runtime.addresses().ingress.to_string();
    assert_eq!(emit_to(&ingress, "default/line-kn-sequence-0", "ends", "t").await.status, 202);
    stage.wait_for("end", |event| matches!(event, RuntimeEvent::EventDelivered { id, .. } if id == "ends")).await;
    assert_eq!(emit_to(&ingress, "default/line-kn-sequence-0", "goes-on", "t").await.status, 202);
    let letters = dead.wait_for(1).await;
    assert_eq!((letters[0].header("ce-id"), letters[0].header("ce-knativeerrorcode")), ("one", "503"));
    assert_eq!(second.received().len(), 2, "one attempt and one retry");
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn a_parallel_asks_its_filters_and_replies_by_branch() {
    let (pass, stop) = (Sink::start(&[reply("passed")]).await, Sink::start(&[]).await);
    let (taken, left) = (Sink::start(&[reply("own")]).await, Sink::start(&[]).await);
    let always = Sink::start(&[reply("common")]).await;
    let (own, common) = (Sink::start(&[]).await, Sink::start(&[]).await);
    let uri = |sink: &Sink| format!("{{uri: \"{}\"}}", sink.url);
    let yaml = format!(
        "apiVersion: flows.knative.dev/v1\nkind: Parallel\nmetadata: {{name: fork}}\nspec:\n  branches:\n  - {{filter: {}, \
         subscriber: {}, reply: {}}}\n  - {{filter: {}, subscriber: {}}}\n  - {{subscriber: {}}}\n  reply: {}\n---\n",
        uri(&pass),
        uri(&taken),
        uri(&own),
        uri(&stop),
        uri(&left),
        uri(&always),
        uri(&common)
    );
    let mut stage = Stage::up(&yaml).await;
    let ingress = stage.runtime.addresses().ingress.to_string();
    assert_eq!(emit_to(&ingress, "default/fork-kn-parallel", "1", "t").await.status, 202);
    assert_eq!(own.wait_for(1).await[0].header("ce-type"), "own");
    assert_eq!(common.wait_for(1).await[0].header("ce-type"), "common");
    stage
        .wait_for("the filter that lets nothing pass", |event| {
            matches!(event, RuntimeEvent::EventDelivered { trigger, .. } if trigger == "default/parallel:fork:1:filter")
        })
        .await;
    assert_eq!(taken.received()[0].header("ce-type"), "passed");
    assert_eq!(stop.received().len(), 1);
    assert_eq!(always.received()[0].header("ce-type"), "t");
    stage.runtime.shutdown().await;
    assert_eq!((left.received().len(), common.received().len()), (0, 1));
}

#[tokio::test]
async fn events_inside_a_sequence_survive_the_runtime() {
    let first = Sink::start(&[reply("one")]).await;
    let nobody = Port::reserve().unwrap();
    let steps = |second: &str| {
        sequence(&[&format!(
            "steps: [{{uri: \"{}\"}}, {{uri: \"{second}\", delivery: {{retry: 1000, backoffPolicy: linear, backoffDelay: \
             PT0.1S}}}}]",
            first.url
        )])
    };
    let mut stage = Stage::up(&steps(&format!("http://{}", nobody.address()))).await;
    let ingress = stage.runtime.addresses().ingress.to_string();
    assert_eq!(emit_to(&ingress, "default/line-kn-sequence-0", "1", "t").await.status, 202);
    stage.wait_for("retry", |event| matches!(event, RuntimeEvent::EventRetried { id, .. } if id == "one")).await;
    let Stage { runtime, home, .. } = stage;
    runtime.shutdown().await;
    let second = Sink::start(&[]).await;
    let again = regrove_runtime::Runtime::start(crate::stage::config(&steps(&second.url), home.path())).await.unwrap();
    assert_eq!(second.wait_for(1).await[0].header("ce-id"), "one");
    again.shutdown().await;
    assert_eq!(first.received().len(), 1, "the first step was done");
}

#[tokio::test]
async fn replies_between_brokers_in_a_circle_end() {
    // Each broker hands everything to the other: only the time to live ends it.
    let other = BROKER.replace("name: default", "name: other");
    let subscriber = |name: &str| {
        format!("subscriber: {{ref: {{apiVersion: eventing.knative.dev/v1, kind: Broker, name: {name}}}}}")
    };
    let yaml = BROKER.to_owned()
        + &other
        + &trigger("there", &[&subscriber("other"), "delivery: {retry: 0}"])
        + &trigger("back", &[&subscriber("default"), "delivery: {retry: 0}"])
            .replace("broker: default", "broker: other");
    let mut stage = Stage::up(&yaml).await;
    stage.emit("1", "round").await;
    let event = stage.wait_for("end", |event| matches!(event, RuntimeEvent::EventDead { .. })).await;
    assert!(matches!(&event, RuntimeEvent::EventDead { error, .. } if error.contains("400")), "{event:?}");
    stage.runtime.shutdown().await;
}

fn ordered(sink: &Sink) -> String {
    let uri = format!("subscriber: {{uri: \"{}\"}}", sink.url);
    let delivery = "delivery: {retry: 1000, backoffPolicy: linear, backoffDelay: PT0.1S}";
    BROKER.to_owned()
        + &trigger("t", &[&uri, delivery])
            .replace("{name: t}", "{name: t, annotations: {kafka.eventing.knative.dev/delivery.order: ordered}}")
}

#[tokio::test]
async fn an_ordered_trigger_gets_one_event_at_a_time_in_the_order_they_came() {
    // The first one fails three times; the others have to wait for it.
    let sink = Sink::answering(&[503, 503, 503]).await;
    let stage = Stage::up(&ordered(&sink)).await;
    let expected: Vec<String> = (0..60).map(|n| n.to_string()).collect();
    for id in &expected {
        assert_eq!(stage.emit(id, "t").await.status, 202);
    }
    let received = sink.wait_for(63).await;
    let ids: Vec<&str> = received.iter().map(|request| request.header("ce-id")).collect();
    assert_eq!(ids[..4], ["0", "0", "0", "0"]);
    assert_eq!(ids[3..], expected);
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn partitions_of_an_ordered_trigger_do_not_wait_for_each_other() {
    let sink = Sink::answering(&[503; 1000]).await;
    let mut stage = Stage::up(&ordered(&sink)).await;
    let ingress = stage.runtime.addresses().ingress.to_string();
    for (id, key) in [("a1", "a"), ("a2", "a")] {
        assert_eq!(emit_keyed(&ingress, id, key).await.status, 202);
    }
    stage.wait_for("failure", |event| matches!(event, RuntimeEvent::EventRetried { .. })).await;
    assert_eq!(emit_keyed(&ingress, "b1", "b").await.status, 202);
    sink.wait_for_event("b1").await;
    sink.answer_well();
    let received = sink.wait_for_event("a2").await;
    let ids: Vec<&str> = received.iter().map(|request| request.header("ce-id")).collect();
    let last = ids.iter().rposition(|id| *id == "a1").unwrap();
    let at = |wanted: &str| ids.iter().position(|id| *id == wanted).unwrap();
    assert!(at("b1") < last, "`b1` does not wait for `a1`: {ids:?}");
    assert!(last < at("a2"), "`a2` does: {ids:?}");
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn an_ordered_trigger_keeps_its_order_over_a_restart() {
    let nobody = Port::reserve().unwrap();
    let away = Sink::start(&[]).await;
    let yaml = ordered(&away);
    let mut stage = Stage::up(&yaml.replace(&away.url, &format!("http://{}", nobody.address()))).await;
    for id in ["0", "1", "2", "3"] {
        assert_eq!(stage.emit(id, "t").await.status, 202);
    }
    // By then its retry lies in the future, and that of the others does not.
    stage
        .wait_for("retry", |event| matches!(event, RuntimeEvent::EventRetried { attempts, .. } if *attempts >= 2))
        .await;
    let Stage { runtime, home, .. } = stage;
    runtime.shutdown().await;
    let again = regrove_runtime::Runtime::start(crate::stage::config(&yaml, home.path())).await.unwrap();
    let ids: Vec<String> = away.wait_for(4).await.iter().map(|request| request.header("ce-id").to_owned()).collect();
    assert_eq!(ids, ["0", "1", "2", "3"]);
    again.shutdown().await;
}

#[tokio::test]
async fn destinations_are_resolved_relative_to_what_they_refer_to() {
    let sink = Sink::start(&[]).await;
    let other = BROKER.replace("name: default", "name: other");
    let yaml = BROKER.to_owned()
        + &other
        + &trigger(
            "relative",
            &["subscriber: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}, uri: other}"],
        )
        + &trigger("told", &[&format!("subscriber: {{uri: \"{}\"}}", sink.url)])
            .replace("broker: default", "broker: other");
    let stage = Stage::up(&yaml).await;
    stage.emit("1", "t").await;
    assert_eq!(sink.wait_for(1).await[0].header("ce-id"), "1");
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn a_sink_binding_selects_services_by_their_labels() {
    let binding = |name: &str, subject: &str, sink: &str| {
        format!(
            "apiVersion: sources.knative.dev/v1\nkind: SinkBinding\nmetadata: {{name: {name}}}\nspec:\n  subject: \
             {{apiVersion: serving.knative.dev/v1, kind: Service, {subject}}}\n  sink: {sink}\n---\n"
        )
    };
    let labelled = |name: &str, labels: &str| {
        service(name, &[LISTEN_FDS], &[], &[]).replace(
            &format!("metadata: {{name: {name}}}"),
            &format!("metadata: {{name: {name}, labels: {{{labels}}}}}"),
        )
    };
    let broker = "{ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}";
    let yaml = BROKER.to_owned()
        + &labelled("both", "app: x, tier: front")
        + &labelled("one", "app: x")
        + &binding("labels", "selector: {matchLabels: {app: x, tier: front}}", broker)
        + &binding(
            "sequence",
            "name: one",
            "{ref: {apiVersion: flows.knative.dev/v1, kind: Sequence, name: line}, uri: /ignored/../default/line-kn-sequence-0}",
        )
        + &sequence(&["steps: [{uri: 'http://127.0.0.1:9'}]"]);
    let stage = Stage::up(&yaml).await;
    assert_eq!(stage.get("both", "/env").await.json()["K_SINK"], stage.runtime.broker_url("default", "default"));
    assert_eq!(
        stage.get("one", "/env").await.json()["K_SINK"],
        stage.runtime.broker_url("default", "line-kn-sequence-0")
    );
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn a_reply_that_its_destination_does_not_take_repeats_the_whole_delivery() {
    let step = Sink::start(&[reply("first"), reply("second")]).await;
    let (end, dead) = (Sink::answering(&[503, 200, 400]).await, Sink::start(&[]).await);
    let yaml = sequence(&[
        "steps:",
        &format!("- uri: \"{}\"", step.url),
        "  delivery:",
        "    {retry: 1, backoffPolicy: linear, backoffDelay: PT0.05S,",
        &format!("     deadLetterSink: {{uri: \"{}\"}}}}", dead.url),
        &format!("reply: {{uri: \"{}/end\"}}", end.url),
    ]);
    let mut stage = Stage::up(&yaml).await;
    let ingress = stage.runtime.addresses().ingress.to_string();
    assert_eq!(emit_to(&ingress, "default/line-kn-sequence-0", "1", "t").await.status, 202);
    let event = stage.wait_for("end", |event| matches!(event, RuntimeEvent::EventDelivered { .. })).await;
    assert!(matches!(event, RuntimeEvent::EventDelivered { attempts: 2, .. }), "{event:?}");
    assert_eq!(step.received().len(), 2, "the step was asked again");
    let types: Vec<String> = end.received().iter().map(|it| it.header("ce-type").to_owned()).collect();
    assert_eq!(types, ["first", "second"]);
    assert_eq!(end.received()[0].header("prefer"), "", "nobody waits for a reply to a reply");
    // What is refused for good is a dead letter of the step, and says who refused.
    let answer = Script { status: 200, ..reply("third") };
    step.answer_next(answer);
    assert_eq!(emit_to(&ingress, "default/line-kn-sequence-0", "2", "t").await.status, 202);
    let letter = dead.wait_for(1).await.swap_remove(0);
    assert_eq!(letter.header("ce-id"), "2");
    assert_eq!(letter.header("ce-knativeerrordest"), format!("{}/end", end.url));
    assert_eq!(letter.header("ce-knativeerrorcode"), "400");
    stage.runtime.shutdown().await;
}
