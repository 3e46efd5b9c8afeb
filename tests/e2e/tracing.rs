//! One trace from the request to the moment at which the model is served, as a collector gets it.

use std::collections::{BTreeMap, BTreeSet};

use regrove_test_support::SpanCollector;

use crate::polling::until;
use crate::up::{Up, UpOptions};

const DATA: &str = "synthetic:make_classification?n_samples=300&n_features=8&random_state=3";

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_one_trace_from_its_request_to_the_served_model() {
    let collector = SpanCollector::start().await.unwrap();
    let env = vec![("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), collector.endpoint().to_owned())];
    let up = Up::start(UpOptions { env, ..UpOptions::default() });
    let train = ["train", "--data", DATA, "--set", "n_estimators=9", "--shards", "3", "--id", "traced", "--wait"];
    up.regrove(&train).await.ok();
    let shown = up.regrove(&["job", "show", "traced", "--json"]).await.ok().json();
    let trace = shown["trace_id"].as_str().unwrap().to_owned();
    let of_job = || {
        let spans = collector.spans().into_iter();
        spans.filter(|span| span.attribute("cloudevents.event_subject") == "traced").collect::<Vec<_>>()
    };
    // Spans are sent a moment after the work.
    until("load-model's span", async || of_job().iter().any(|span| span.service == "load-model").then_some(())).await;
    let spans = until("register's last span", async || {
        let spans = of_job();
        let heard = |service: &str, name: &str| {
            spans.iter().filter(|span| span.service == service && span.text("name") == name).count()
        };
        (heard("register", "model-aggregated") > 0 && heard("aggregate", "shard-trained") >= 3).then_some(spans)
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
