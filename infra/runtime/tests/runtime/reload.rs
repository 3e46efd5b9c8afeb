//! Brokers, triggers, flows and sources that change while the runtime runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use regrove_runtime::{RuntimeEvent, dead_letters, delivery_records};

use crate::sink::{Script, Sink};
use crate::stage::{LISTEN_FDS, Stage, application, emit, emit_to, eventually, service};

fn broker(name: &str) -> String {
    format!("apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: {name}}}\n---\n")
}

fn trigger(name: &str, broker: &str, sink: &Sink, spec: &str) -> String {
    format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: {name}}}\nspec:\n  broker: {broker}\n  \
         subscriber: {{uri: \"{}\"}}\n  {spec}\n---\n",
        sink.url
    )
}

async fn reload(stage: &Stage, yaml: &str) -> Vec<String> {
    stage.runtime.reload(application(yaml)).await.unwrap().objects
}

#[tokio::test]
async fn brokers_and_triggers_come_change_and_go() {
    let (first, second) = (Sink::start(&[]).await, Sink::start(&[]).await);
    let stage = Stage::up(&(broker("default") + &trigger("t", "default", &first, ""))).await;
    let ingress = stage.runtime.addresses().ingress.to_string();
    assert_eq!(stage.emit("1", "t").await.status, 202);
    first.wait_for(1).await;

    let both =
        broker("default") + &broker("other") + &trigger("t", "default", &second, "filter: {attributes: {type: t}}");
    let objects = reload(&stage, &(both.clone() + &trigger("more", "other", &first, ""))).await;
    assert_eq!(objects, ["Broker default/other", "Trigger default/more", "Trigger default/t"]);
    assert_eq!(stage.emit("2", "t").await.status, 202);
    assert_eq!(stage.emit("unwanted", "u").await.status, 202);
    assert_eq!(emit_to(&ingress, "default/other", "3", "u").await.status, 202);
    assert_eq!(second.wait_for(1).await[0].header("ce-id"), "2");
    assert_eq!(first.wait_for(2).await[1].header("ce-id"), "3");

    assert_eq!(reload(&stage, &both).await, ["Trigger default/more"]);
    assert_eq!(emit_to(&ingress, "default/other", "4", "u").await.status, 202, "its broker is still there");
    assert_eq!(reload(&stage, &both).await, Vec::<String>::new());
    reload(&stage, &broker("default")).await;
    assert_eq!(emit_to(&ingress, "default/other", "5", "u").await.status, 404);
    assert_eq!(stage.emit("6", "t").await.status, 202);
    stage.runtime.shutdown().await;
    assert_eq!((first.received().len(), second.received().len()), (2, 1), "nobody else got anything");
}

#[tokio::test]
async fn what_waits_follows_the_change_of_its_trigger() {
    let (broken, mended) = (Sink::answering(&[503; 1000]).await, Sink::start(&[]).await);
    let patient = "delivery: {retry: 1000, backoffPolicy: linear, backoffDelay: PT0.05S}";
    let mut stage = Stage::up(&(broker("default") + &trigger("t", "default", &broken, patient))).await;
    for id in ["1", "2", "3"] {
        assert_eq!(stage.emit(id, "t").await.status, 202);
    }
    broken.wait_for(3).await;
    reload(&stage, &(broker("default") + &trigger("t", "default", &mended, patient))).await;
    for _ in 0..3 {
        stage.wait_for("delivery", |event| matches!(event, RuntimeEvent::EventDelivered { .. })).await;
    }
    let mut ids: Vec<String> = mended.received().iter().map(|it| it.header("ce-id").to_owned()).collect();
    ids.sort();
    assert_eq!(ids, ["1", "2", "3"], "each once");
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn what_waits_for_a_trigger_that_is_gone_is_a_dead_letter() {
    let broken = Sink::answering(&[503; 1000]).await;
    let patient = "delivery: {retry: 1000, backoffPolicy: linear, backoffDelay: PT10S}";
    let stage = Stage::up(&(broker("default") + &trigger("t", "default", &broken, patient))).await;
    assert_eq!(stage.emit("1", "t").await.status, 202);
    broken.wait_for(1).await;
    // The attempt is in the journal before the trigger goes.
    eventually("the attempt is written", || {
        delivery_records(stage.home.path(), "1").unwrap().first().is_some_and(|record| !record.attempts.is_empty())
    })
    .await;
    reload(&stage, &broker("default")).await;
    let letters = dead_letters(stage.home.path(), 10).unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].error.as_deref(), Some("its trigger is no longer in the manifests"));
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn a_reload_under_load_loses_no_event() {
    let sinks = [Sink::start(&[]).await, Sink::start(&[]).await];
    let yaml = |sink: &Sink| broker("default") + &trigger("t", "default", sink, "");
    let stage = Stage::up(&yaml(&sinks[0])).await;
    let stop = Arc::new(AtomicBool::new(false));
    let emitter = {
        let (stop, ingress) = (Arc::clone(&stop), stage.runtime.addresses().ingress.to_string());
        tokio::spawn(async move {
            let mut sent = 0;
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(emit(&ingress, &sent.to_string(), "t").await.status, 202);
                sent += 1;
            }
            sent
        })
    };
    for round in 1..=10 {
        let sink = &sinks[round % 2];
        let before = sink.received().len();
        reload(&stage, &yaml(sink)).await;
        sink.wait_for(before + 5).await;
    }
    stop.store(true, Ordering::Relaxed);
    let sent = emitter.await.unwrap();
    let arrived = || sinks.iter().map(|sink| sink.received().len()).sum::<usize>();
    eventually("all have arrived", || arrived() >= sent).await;
    stage.runtime.shutdown().await;
    assert_eq!(arrived(), sent, "each once");
}

#[tokio::test]
async fn an_order_that_is_asked_for_later_holds_from_then_on() {
    let sink = Sink::answering(&[503; 4]).await;
    let spec = "delivery: {retry: 100, backoffPolicy: linear, backoffDelay: PT0.05S}";
    let plain = broker("default") + &trigger("t", "default", &sink, spec);
    let ordered = plain.replace(
        "metadata: {name: t}",
        "metadata: {name: t, annotations: {kafka.eventing.knative.dev/delivery.order: ordered}}",
    );
    let mut stage = Stage::up(&plain).await;
    assert_eq!(stage.emit("0", "t").await.status, 202);
    stage.wait_for("failure", |event| matches!(event, RuntimeEvent::EventRetried { .. })).await;
    reload(&stage, &ordered).await;
    for id in ["1", "2", "3"] {
        assert_eq!(stage.emit(id, "t").await.status, 202);
    }
    stage.wait_for("end", |event| matches!(event, RuntimeEvent::EventDelivered { id, .. } if id == "3")).await;
    let ids: Vec<String> = sink.received().iter().map(|it| it.header("ce-id").to_owned()).collect();
    let first = |wanted: &str| ids.iter().position(|id| id == wanted).unwrap();
    let last = |wanted: &str| ids.iter().rposition(|id| id == wanted).unwrap();
    assert!(last("0") < first("1") && last("1") < first("2") && last("2") < first("3"), "{ids:?}");
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn a_flow_may_get_another_step() {
    let reply = |ty: &'static str| Script {
        status: 200,
        headers: vec![("ce-specversion", "1.0"), ("ce-id", ty), ("ce-source", "/r"), ("ce-type", ty)],
        body: "{}",
    };
    let (first, second) = (Sink::start(&[reply("one"), reply("two")]).await, Sink::start(&[]).await);
    let line = |steps: &str| {
        format!(
            "apiVersion: flows.knative.dev/v1\nkind: Sequence\nmetadata: {{name: line}}\nspec:\n  steps: [{{uri: \"{}\"}}{steps}]\n",
            first.url
        )
    };
    let mut stage = Stage::up(&line("")).await;
    let ingress = stage.runtime.addresses().ingress.to_string();
    assert_eq!(emit_to(&ingress, "default/line-kn-sequence-0", "1", "t").await.status, 202);
    stage.wait_for("end", |event| matches!(event, RuntimeEvent::EventDelivered { .. })).await;
    let objects = reload(&stage, &line(&format!(", {{uri: \"{}\"}}", second.url))).await;
    assert_eq!(objects, ["Sequence default/line"]);
    assert_eq!(emit_to(&ingress, "default/line-kn-sequence-0", "2", "t").await.status, 202);
    assert_eq!(second.wait_for(1).await[0].header("ce-id"), "two");
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn a_changed_sink_binding_reaches_running_functions_without_dropping_a_request() {
    let binding = |to: &str| {
        format!(
            "apiVersion: sources.knative.dev/v1\nkind: SinkBinding\nmetadata: {{name: b}}\nspec:\n  subject: {{apiVersion: \
             serving.knative.dev/v1, kind: Service, name: hello}}\n  sink: {{uri: \"http://127.0.0.1:9/{to}\"}}\n---\n"
        )
    };
    let hello = service("hello", &[LISTEN_FDS], &[], &[]);
    let stage = Stage::up(&(hello.clone() + &binding("one"))).await;
    let sink = async || stage.get("hello", "/env").await.json()["K_SINK"].clone();
    assert_eq!(sink().await, "http://127.0.0.1:9/one");
    let address = stage.gateway();
    let slow =
        tokio::spawn(async move { crate::stage::get(&address, "hello.default.localhost", "/sleep/4000").await.status });
    eventually("the slow request is under way", || stage.runtime.status().services[0].now.in_flight == 1).await;
    assert_eq!(reload(&stage, &(hello + &binding("two"))).await, ["SinkBinding default/b"]);
    assert_eq!(sink().await, "http://127.0.0.1:9/two");
    assert_eq!(slow.await.unwrap(), 200);
    assert_eq!(stage.runtime.status().services[0].revision, "hello-00001");
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn a_ping_source_may_come_change_and_go() {
    let ping = |schedule: &str| {
        format!(
            "apiVersion: sources.knative.dev/v1\nkind: PingSource\nmetadata: {{name: p}}\nspec:\n  schedule: \"{schedule}\"\n  \
             sink: {{uri: \"http://127.0.0.1:9/\"}}\n"
        )
    };
    let stage = Stage::up("").await;
    let next = || stage.runtime.status().ping_sources.first().map(|source| (source.source.clone(), source.next_at_ms));
    assert_eq!(next(), None);
    assert_eq!(reload(&stage, &ping("0 0 1 1 *")).await, ["PingSource default/p"]);
    let (name, new_year) = next().unwrap();
    assert_eq!(name, "default/p");
    assert_eq!(reload(&stage, &ping("0 0 1 7 *")).await, ["PingSource default/p"]);
    assert_ne!(next().unwrap().1, new_year, "in July");
    assert_eq!(reload(&stage, "").await, ["PingSource default/p"]);
    assert_eq!(next(), None);
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn point_16_a_trigger_without_its_broker_is_not_ready_until_that_comes() {
    let sink = Sink::start(&[]).await;
    let lost = trigger("t", "absent", &sink, "");
    let stage = Stage::up(&lost).await;
    let status = || stage.runtime.status().triggers.swap_remove(0);
    assert_eq!((status().ready, status().subscriber_uri), (false, None));
    assert_eq!(status().reason.as_deref(), Some("BrokerDoesNotExist: there is no Broker default/absent"));
    reload(&stage, &(broker("absent") + &lost)).await;
    assert_eq!((status().ready, status().reason), (true, None));
    assert_eq!(status().subscriber_uri.as_deref(), Some(format!("{}/", sink.url).as_str()));
    let ingress = stage.runtime.addresses().ingress.to_string();
    assert_eq!(emit_to(&ingress, "default/absent", "1", "t").await.status, 202);
    sink.wait_for(1).await;
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn point_17_a_ready_trigger_tells_its_dead_letter_sink() {
    let sink = Sink::start(&[]).await;
    let inherited = broker("default").replace(
        "metadata: {name: default}",
        "metadata: {name: default}\nspec: {delivery: {deadLetterSink: {uri: 'http://127.0.0.1:9/broker'}}}",
    );
    let by_reference =
        "delivery: {deadLetterSink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}}";
    let yaml = inherited
        + &trigger("a", "default", &sink, "")
        + &trigger("b", "default", &sink, by_reference)
        + &trigger("c", "default", &sink, "delivery: {retry: 1}");
    let stage = Stage::up(&yaml).await;
    let sinks: Vec<_> =
        stage.runtime.status().triggers.into_iter().map(|it| (it.ready, it.dead_letter_sink_uri)).collect();
    assert_eq!(
        sinks,
        [
            (true, Some("http://127.0.0.1:9/broker".to_owned())),
            (true, Some("http://broker-ingress.knative-eventing.svc.cluster.local/default/default".to_owned())),
            (true, None),
        ]
    );
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn point_18_the_broker_of_a_trigger_and_the_class_and_config_of_a_broker_stay() {
    let sink = Sink::start(&[]).await;
    let classed = |class: &str, config: &str| {
        broker("default").replace(
            "metadata: {name: default}",
            &format!("metadata: {{name: default, annotations: {{eventing.knative.dev/broker.class: {class}}}}}\nspec: {{config: {config}}}"),
        )
    };
    let config = "{apiVersion: v1, kind: ConfigMap, name: one}";
    let before = classed("MTChannelBasedBroker", config) + &broker("other") + &trigger("t", "default", &sink, "");
    let stage = Stage::up(&before).await;
    let other = "{apiVersion: v1, kind: ConfigMap, name: two}";
    let after = classed("Kafka", other) + &broker("other") + &trigger("t", "other", &sink, "");
    let error = stage.runtime.reload(application(&after)).await.unwrap_err().to_string();
    for part in [
        "Trigger default/t: spec.broker: immutable field changed from default to other",
        "Broker default/default: metadata.annotations[eventing.knative.dev/broker.class]: immutable",
        "Broker default/default: spec.config: immutable",
    ] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
    assert_eq!(stage.emit("1", "t").await.status, 202, "all is as it was");
    sink.wait_for(1).await;
    // Taken out and put in again it is another trigger.
    reload(&stage, &broker("other")).await;
    reload(&stage, &(broker("other") + &trigger("t", "other", &sink, ""))).await;
    stage.runtime.shutdown().await;
}

fn settings(name: &str, data: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: knative-serving}}\ndata: {data}\n---\n"
    )
}

#[tokio::test]
async fn autoscalers_take_changed_defaults_without_a_new_revision() {
    let hello = service("hello", &[LISTEN_FDS], &[], &[]);
    let stage = Stage::up(&hello).await;
    assert_eq!(stage.get("hello", "/").await.status, 200);
    let replicas = |stage: &Stage| stage.runtime.status().services[0].now.ready;
    let changed = settings("config-autoscaler", "{min-scale: \"3\"}") + &hello;
    let reloaded = stage.runtime.reload(application(&changed)).await.unwrap();
    assert_eq!(reloaded.objects, ["ConfigMap config-autoscaler"]);
    assert!(reloaded.revisions.is_empty() && reloaded.warnings.is_empty(), "{reloaded:?}");
    // Only the autoscaler asks for these: no request comes.
    eventually("the new lower bound holds", || {
        let now = &stage.runtime.status().services[0].now;
        now.ready + now.starting == 3
    })
    .await;
    eventually("they are ready", || replicas(&stage) >= 1).await;
    assert_eq!(stage.revision("hello").await, "hello-00001");
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn a_service_at_zero_takes_changed_defaults_too() {
    let hello = service("hello", &[LISTEN_FDS], &[], &[]);
    let stage = Stage::up(&hello).await;
    assert_eq!(stage.runtime.status().services[0].now.ready, 0);
    stage.runtime.reload(application(&(settings("config-autoscaler", "{min-scale: \"1\"}") + &hello))).await.unwrap();
    eventually("a replica comes", || {
        let now = &stage.runtime.status().services[0].now;
        now.ready + now.starting == 1
    })
    .await;
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn changed_serving_defaults_hold_for_the_next_revision_and_that_is_said() {
    let hello = |version: &str| service("hello", &[LISTEN_FDS], &[("VERSION", version)], &[]);
    let stage = Stage::up(&hello("one")).await;
    assert_eq!(stage.get("hello", "/").await.status, 200);
    let defaults = settings("config-defaults", "{revision-timeout-seconds: \"1\"}");
    let reloaded = stage.runtime.reload(application(&(defaults.clone() + &hello("one")))).await.unwrap();
    assert_eq!(reloaded.objects, ["ConfigMap config-defaults"]);
    assert!(reloaded.warnings[0].contains("hello-00001 keeps its timeouts"), "{reloaded:?}");
    assert_eq!(stage.get("hello", "/sleep/1500").await.status, 200, "a revision never changes");
    let reloaded = stage.runtime.reload(application(&(defaults + &hello("two")))).await.unwrap();
    assert_eq!((reloaded.revisions, reloaded.warnings), (vec!["hello-00002".to_owned()], Vec::new()));
    stage.all_to("hello-00002").await;
    assert_eq!(stage.get("hello", "/sleep/20000").await.status, 504);
    stage.runtime.shutdown().await;
}
