//! One trace from the request to the moment at which the model is served, as a collector gets it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use regrove_events::CloudEvent;
use regrove_events::log::job_stream;
use regrove_test_support::SpanCollector;
use regrove_test_support::programs::workspace;

use crate::operations::copy;
use crate::polling::until;
use crate::up::{Up, UpOptions};

const DATA: &str = "synthetic:make_classification?n_samples=300&n_features=8&random_state=3";

/// A runtime whose functions send their spans, with these manifests instead of ours.
async fn traced(watched: Option<PathBuf>) -> (SpanCollector, Up) {
    let collector = SpanCollector::start().await.unwrap();
    let env = vec![("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), collector.endpoint().to_owned())];
    (collector, Up::start(UpOptions { env, watched, ..UpOptions::default() }))
}

/// Which functions hear of what, and how often at least, in a job of three shards.
const HEARD: [(&str, &str, usize); 5] = [
    ("aggregate", "train-requested", 1),
    ("train-shard", "shard-requested", 3),
    ("aggregate", "shard-trained", 3),
    ("register", "model-aggregated", 1),
    ("load-model", "model-registered", 1),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_one_trace_from_its_request_to_the_served_model() {
    let (collector, up) = traced(None).await;
    let train = ["train", "--data", DATA, "--set", "n_estimators=9", "--shards", "3", "--id", "traced", "--wait"];
    up.regrove(&train).await.ok();
    let shown = up.regrove(&["job", "show", "traced", "--json"]).await.ok().json();
    let trace = shown["trace_id"].as_str().unwrap().to_owned();
    let of_job = || {
        let spans = collector.spans().into_iter();
        spans.filter(|span| span.attribute("cloudevents.event_subject") == "traced").collect::<Vec<_>>()
    };
    // Spans are sent a moment after the work, by each process in its own time.
    let spans = until("the spans of every step", async || {
        let spans = of_job();
        let heard = |(service, name, least): &(&str, &str, usize)| {
            spans.iter().filter(|span| span.service == *service && span.text("name") == *name).count() >= *least
        };
        HEARD.iter().all(heard).then_some(spans)
    })
    .await;
    let strays: Vec<_> = spans.iter().filter(|span| span.text("traceId") != trace).collect();
    assert!(strays.is_empty(), "not in the job's trace {trace}: {strays:?}");
    let shards: BTreeSet<&str> = spans
        .iter()
        .filter(|span| span.service == "train-shard" && span.text("name") == "shard-requested")
        .map(|span| span.attribute("cloudevents.event_id"))
        .collect();
    assert_eq!(
        shards,
        (0..3)
            .map(|shard| format!("traced/shard/{shard}/request/1"))
            .collect::<Vec<_>>()
            .iter()
            .map(String::as_str)
            .collect()
    );
    // Each lies below another one of the trace; those of the request itself below what the command began with.
    let by_id: BTreeMap<&str, &str> = spans.iter().map(|span| (span.text("spanId"), span.text("name"))).collect();
    for span in &spans {
        let above = by_id.get(span.text("parentSpanId")).copied();
        let expected: &[Option<&str>] = match span.text("name") {
            "train-requested" => &[None],
            "shard-requested" => &[Some("train-requested")],
            "shard-trained" => &[Some("shard-requested")],
            "model-aggregated" => &[Some("shard-trained")],
            "model-registered" => &[Some("model-aggregated")],
            other => panic!("what is `{other}`? {span:?}"),
        };
        assert!(expected.contains(&above), "{span:?} lies below {above:?}");
    }
    // And what the functions wrote names the trace.
    let lines = up.regrove(&["job", "logs", "traced", "--json"]).await.ok().json_lines();
    let trained: Vec<_> = lines.iter().filter(|line| line["message"] == "trained").collect();
    assert_eq!(trained.len(), 3);
    assert!(trained.iter().all(|line| line["fields"]["trace_id"] == trace.as_str()), "{trained:?}");
}

/// Old enough for the next tick.
const LONG_AGO: &str = "2026-11-23T08:00:00Z";
/// The trace that the first request of the lost shard belongs to, and the tick's.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const TICK: (&str, &str) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_is_asked_for_again_is_linked_to_the_tick_that_asked() {
    // The ping sources come once a year, so as not to ask before the test does.
    let manifests = tempfile::tempdir().unwrap();
    let copied = manifests.path().join("k8s");
    copy(&workspace().join("k8s"), &copied);
    let pings = std::fs::read_to_string(copied.join("eventing/ping.yaml")).unwrap();
    let rare = pings.replace("schedule: \"* * * * *\"", "schedule: \"0 0 1 1 *\"");
    assert_ne!(rare, pings);
    std::fs::write(copied.join("eventing/ping.yaml"), rare).unwrap();
    let (collector, up) = traced(Some(copied)).await;
    let train = ["train", "--data", DATA, "--set", "n_estimators=4", "--shards", "2", "--id", "whole", "--wait"];
    up.regrove(&train).await.ok();
    lose_shards(&up, "whole", "lost").await;

    let traceparent = format!("00-{}-{}-01", TICK.0, TICK.1);
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "tick"),
        ("ce-source", "/e2e"),
        ("ce-type", "dev.knative.sources.ping"),
        ("traceparent", &traceparent),
        ("ce-traceparent", &traceparent),
    ];
    let answer = up.post_to("aggregate", "/tick", &headers).await;
    assert_eq!(answer.status, http::StatusCode::ACCEPTED, "{answer:?}");

    let again: BTreeSet<String> = (0..2).map(|shard| format!("lost/shard/{shard}/request/2")).collect();
    let spans = until("both shards' spans", async || {
        let mut spans = collector.spans();
        spans.retain(|span| span.service == "train-shard" && again.contains(span.attribute("cloudevents.event_id")));
        (spans.len() >= 2).then_some(spans)
    })
    .await;
    let mut linked = BTreeSet::new();
    for span in &spans {
        assert_eq!(span.text("traceId"), TRACE, "{span:?}");
        let links = span.span["links"].as_array().unwrap_or_else(|| panic!("no links: {span:?}"));
        assert_eq!(links.len(), 1, "{span:?}");
        assert_eq!(links[0]["traceId"], TICK.0, "{span:?}");
        linked.insert(links[0]["spanId"].as_str().unwrap().to_owned());
    }
    // The span that sent the event stands between the tick's own and the link.
    until("the spans that are linked to", async || {
        let spans = collector.spans();
        let of_tick: Vec<_> = spans.iter().filter(|span| span.text("traceId") == TICK.0).collect();
        let ids: BTreeSet<String> = of_tick.iter().map(|span| span.text("spanId").to_owned()).collect();
        (linked.is_subset(&ids) && of_tick.iter().any(|span| span.service == "aggregate")).then_some(())
    })
    .await;
}

/// A job like another one of which no shard was heard of, since long ago.
async fn lose_shards(up: &Up, like: &str, job: &str) {
    let log = up.control().log;
    let mut lost = Vec::new();
    for event in log.read(&job_stream(like), 0).await.unwrap() {
        if event.ty().ends_with("train-requested") || event.ty().ends_with("shard-requested") {
            let id = event.id().replacen(like, job, 1);
            let copy = CloudEvent::builder(id, event.source(), event.ty()).subject(job).time(LONG_AGO.parse().unwrap());
            let copy = copy.extension("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01"));
            lost.push(copy.data("application/json", event.data().unwrap().clone()).build().unwrap());
        }
    }
    assert_eq!(lost.len(), 3, "{lost:?}");
    log.append(&job_stream(job), 0, &lost).await.unwrap();
}
