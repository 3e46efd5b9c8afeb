//! The job API.

use regrove_events::Event;
use serde_json::{Value, json};

use crate::world::{HERE, World, request};

fn wish(id: &str) -> Value {
    json!({"id": id, "dataset": {"uri": "file:///data/iris.csv", "target": "species"}, "params": {"n_estimators": 10}})
}

#[tokio::test]
async fn a_submission_becomes_an_event_once() {
    let world = World::new(None).await;
    let first = world.post("/api/jobs", &wish("mine")).await;
    assert_eq!(first.status, 202, "{}", first.text);
    assert_eq!(first.header("location"), "/api/jobs/mine");
    let ordered = first.json();
    assert_eq!(
        (&ordered["id"], &ordered["state"], &ordered["created"]),
        (&json!("mine"), &json!("queued"), &json!(true))
    );
    let again = world.post("/api/jobs", &wish("mine")).await;
    assert_eq!((again.status.as_u16(), &again.json()["created"]), (200, &json!(false)));
    let said = world.said();
    assert_eq!(said.len(), 1, "the second one was known");
    let Ok(Event::TrainRequested(request)) = Event::read(&said[0]) else { panic!("{:?}", said[0]) };
    assert_eq!((request.dataset.target.as_str(), request.shards), ("species", 2));
    assert_eq!((said[0].source(), said[0].subject()), ("/regrove/console", Some("mine")));
    let parent = said[0].attribute("traceparent").unwrap();
    assert!(parent.starts_with("00-") && parent.ends_with("-01") && parent.len() == 55, "{parent}");
    let mut other = wish("mine");
    other["shards"] = 3.into();
    world.post("/api/jobs", &other).await.refuses(409, "job-id-taken");
    let named = world.post("/api/jobs", &json!({"dataset": {"uri": "file:///a.csv"}})).await.json();
    assert!(named["id"].as_str().unwrap().starts_with("job-"), "{named}");
}

#[tokio::test]
async fn a_body_that_is_no_job_is_refused_by_field() {
    let world = World::new(None).await;
    for (body, says, pointer) in [
        (json!({}), "dataset", ""),
        (json!({"dataset": {"uri": 3}}), "dataset.uri", "/dataset/uri"),
        (json!({"dataset": {"uri": "a"}, "shards": "four"}), "shards", "/shards"),
        (json!({"dataset": {"uri": "a"}, "trees": 4}), "trees", "/trees"),
        (json!({"dataset": {"uri": "a"}, "id": "<script>"}), "`id`", "/id"),
        (json!({"dataset": {"uri": "a"}, "id": 7}), "`id`", "/id"),
        (json!([]), "no JSON object", ""),
    ] {
        let refused = world.post("/api/jobs", &body).await;
        let detail = refused.refuses(422, "invalid-request");
        assert!(detail.contains(says), "{body}: {detail}");
        assert_eq!(refused.json()["pointer"], pointer, "{body}: {detail}");
    }
    let json = [("content-type", "application/json")];
    world.send(request("POST", "/api/jobs", HERE, &json, "{\"a\": ")).await.refuses(422, "invalid-request");
    assert!(world.said().is_empty());
}

#[tokio::test]
async fn jobs_are_listed_newest_first_filtered_and_in_pages() {
    let world = World::new(None).await;
    for (number, name) in ["a-1", "a-2", "b-1"].into_iter().enumerate() {
        world
            .record(name, "train-requested", |event| event["time"] = format!("2026-11-2{number}T08:00:00Z").into())
            .await;
    }
    world.record("b-1", "job-failed", |_| {}).await;
    let ids = |list: &Value| -> Vec<String> {
        list["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
    };
    for (query, wanted) in [
        ("", vec!["b-1", "a-2", "a-1"]),
        ("?state=failed", vec!["b-1"]),
        ("?state=failed,queued", vec!["b-1", "a-2", "a-1"]),
        ("?state=queued&name=A-", vec!["a-2", "a-1"]),
        ("?since=2026-11-21T00:00:00Z&until=2026-11-22T00:00:00Z", vec!["a-2"]),
        ("?state=&name=", vec!["b-1", "a-2", "a-1"]),
        ("?name=nobody", vec![]),
    ] {
        assert_eq!(ids(&world.get(&format!("/api/jobs{query}")).await.json()), wanted, "{query}");
    }
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = world.get(&format!("/api/jobs?limit=1&after={after}")).await.json();
        assert_eq!(page["total"], 3);
        seen.extend(ids(&page));
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => break,
        }
    }
    assert_eq!(seen, ["b-1", "a-2", "a-1"]);
    for (query, says) in [
        ("state=running", "queued, training"),
        ("limit=0", "1..=1000"),
        ("limit=1001", "1..=1000"),
        ("limit=x", "limit"),
        ("since=yesterday", "RFC 3339"),
        ("after=nobody", "`after`"),
        ("colour=red", "colour"),
    ] {
        let detail = world.get(&format!("/api/jobs?{query}")).await.refuses(422, "invalid-request");
        assert!(detail.contains(says), "{query}: {detail}");
    }
    // The lists follow the log.
    world.record("a-2", "job-cancelled", |_| {}).await;
    assert_eq!(ids(&world.get("/api/jobs?state=cancelled").await.json()), ["a-2"]);
}

#[tokio::test]
async fn a_job_is_shown_with_all_its_parts() {
    let world = World::new(None).await;
    world.succeeded("whole").await;
    let job = world.get("/api/jobs/whole").await.json();
    assert_eq!(job["state"], "succeeded");
    assert_eq!(job["model"]["uri"], "models:/RandomForestClassifierModel/7", "{}", job["model"]);
    assert_eq!(job["data"]["n_samples"], 569);
    assert_eq!(job["shard_list"][0]["attempts"][0]["attempt"], 1);
    assert!(job["shard_list"][0]["n_nodes"].is_u64());
    assert_eq!(job["timeline"].as_array().unwrap().len(), 5);
    assert_eq!(job["timeline"][4]["caused_by"], "whole/model-aggregated");
    let links = job["links"]["model_version"].as_str().unwrap();
    assert!(links.ends_with("/#/models/RandomForestClassifierModel/versions/7"), "{links}");
    assert_eq!(job["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert!(job["metrics"]["holdout_accuracy"].is_f64());
    assert_eq!(job["feature_importances"][1][0], "größe €");
    let reason = job["mlflow"]["unavailable"].as_str().unwrap();
    assert!(!reason.is_empty(), "an MLflow that does not answer is said");
    let events = world.get("/api/jobs/whole/events").await.json();
    assert_eq!(events["events"][3]["data"]["n_estimators"], 75);
    for path in
        ["/api/jobs/nobody", "/api/jobs/nobody/events", "/api/jobs/compare?a=whole&b=nobody", "/api/jobs/%3Cb%3E"]
    {
        world.get(path).await.refuses(404, "job-not-found");
    }
}

#[tokio::test]
async fn a_stop_is_a_wish_and_a_finished_job_cannot_be_stopped() {
    let world = World::new(None).await;
    world.record("running", "train-requested", |_| {}).await;
    world.succeeded("done").await;
    let answer = world.post("/api/jobs/running/stop", &json!({"reason": "wrong data"})).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["state"]), (202, &json!("stopping")));
    let said = world.said();
    let Ok(Event::TrainCancelled(wish)) = Event::read(&said[0]) else { panic!("{said:?}") };
    assert_eq!((said[0].id(), wish.reason.as_deref()), ("running/cancel", Some("wrong data")));
    let detail = world.post("/api/jobs/done/stop", &json!({})).await.refuses(409, "job-ended");
    assert!(detail.contains("succeeded"), "{detail}");
    world.post("/api/jobs/nobody/stop", &json!({})).await.refuses(404, "job-not-found");
    world.post("/api/jobs/running/stop", &json!({"because": 1})).await.refuses(422, "invalid-request");
    assert_eq!(world.said().len(), 1);
}

#[tokio::test]
async fn a_retry_is_a_new_job_with_the_same_request() {
    let world = World::new(None).await;
    world.record("lost", "train-requested", |_| {}).await;
    world.post("/api/jobs/lost/retry", &json!({})).await.refuses(409, "job-not-retryable");
    world.record("lost", "job-failed", |_| {}).await;
    let first = world.post("/api/jobs/lost/retry", &json!({})).await.json();
    assert_eq!(first["id"], "lost.retry-2");
    world.record("lost.retry-2", "job-failed", |_| {}).await;
    assert_eq!(world.post("/api/jobs/lost.retry-2/retry", &json!({})).await.json()["id"], "lost.retry-3");
    assert_eq!(world.post("/api/jobs/lost/retry", &json!({"id": "again"})).await.json()["id"], "again");
    let request = |job: &Value| job["request"].clone();
    let (lost, again) = (world.get("/api/jobs/lost").await.json(), world.get("/api/jobs/again").await.json());
    assert_eq!(request(&lost), request(&again));
}

#[tokio::test]
async fn a_replay_says_the_jobs_events_again_in_order() {
    let world = World::new(None).await;
    world.succeeded("whole").await;
    let dry = world.post("/api/jobs/whole/replay", &json!({"dry_run": true})).await.json();
    assert_eq!(dry["events"].as_array().unwrap().len(), 5);
    assert!(world.said().is_empty());
    world.post("/api/jobs/whole/replay", &json!({})).await;
    let said: Vec<String> = world.said().iter().map(|event| event.id().to_owned()).collect();
    assert_eq!(json!(said), dry["events"]);
}

#[tokio::test]
async fn two_jobs_are_compared() {
    let world = World::new(None).await;
    world.succeeded("one").await;
    world.record("two", "train-requested", |event| event["data"]["params"] = json!({"n_estimators": 80})).await;
    let view = world.get("/api/jobs/compare?a=one&b=two").await.json();
    let settings = view["settings"].as_array().unwrap();
    let row = settings.iter().find(|row| row["name"] == "n_estimators").unwrap();
    assert_eq!((&row["left"], &row["right"], &row["differs"]), (&json!(75), &json!(80), &json!(true)));
    assert_eq!(view["same_model"], Value::Null);
    let same = world.get("/api/jobs/compare?a=one&b=one").await.json();
    assert_eq!(same["same_model"], true);
    assert!(same["settings"].as_array().unwrap().iter().all(|row| row["differs"] == false));
}

#[tokio::test]
async fn a_job_has_its_spans_as_a_tree() {
    let world = World::new(None).await;
    world.succeeded("whole").await;
    let trace = world.get("/api/jobs/whole/trace").await.json();
    let names: Vec<&str> =
        trace["children"].as_array().unwrap().iter().map(|span| span["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"shard 0, attempt 1") && names.contains(&"register"), "{names:?}");
    world.get("/api/jobs/nobody/trace").await.refuses(404, "job-not-found");
}

#[tokio::test]
async fn what_only_the_runtime_knows_is_said_to_be_unknown_without_one() {
    let world = World::new(None).await;
    world.succeeded("whole").await;
    for (path, reason) in [
        ("/api/dead-letters", "/unavailable"),
        ("/api/functions", "/unavailable"),
        ("/api/jobs/whole/logs", "/unavailable"),
        ("/api/events/job/whole/1", "/deliveries_unavailable"),
    ] {
        let view = world.get(path).await.json();
        let said = view.pointer(reason).and_then(Value::as_str).unwrap_or_default();
        assert!(said.contains("regrove up"), "{path}: {view}");
    }
    world.get("/api/functions/predict").await.refuses(501, "runtime-absent");
    world.post("/api/dead-letters/redrive", &json!({"all": true})).await.refuses(501, "runtime-absent");
    for body in [json!({}), json!({"ids": [1], "all": true})] {
        world.post("/api/dead-letters/discard", &body).await.refuses(422, "invalid-request");
    }
    for path in ["/dead-letters", "/functions", "/jobs/whole", "/events/job/whole/1"] {
        assert!(world.page(path).await.text.contains("Not known here"), "{path}");
    }
    world.get("/api/jobs/nobody/logs").await.refuses(404, "job-not-found");
}

#[tokio::test]
async fn events_are_listed_filtered_and_shown_with_cause_and_effects() {
    let world = World::new(None).await;
    world.succeeded("whole").await;
    world.record("other", "train-requested", |_| {}).await;
    let ids = |list: &Value| -> Vec<String> {
        list["events"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
    };
    for (query, wanted) in [
        ("?limit=2", vec!["other/train-requested", "whole/model-registered"]),
        ("?type=train-requested", vec!["other/train-requested", "whole/train-requested"]),
        ("?type=io.regrove.shard-trained", vec!["whole/shard-trained"]),
        ("?subject=other", vec!["other/train-requested"]),
        ("?text=models%3A%2FRandomForestClassifierModel%2F7", vec!["whole/model-registered"]),
        ("?text=nowhere", vec![]),
    ] {
        assert_eq!(ids(&world.get(&format!("/api/events{query}")).await.json()), wanted, "{query}");
    }
    let (mut seen, mut before) = (Vec::new(), String::new());
    loop {
        let page = world.get(&format!("/api/events?limit=4&before={before}")).await.json();
        seen.extend(ids(&page));
        match page["next"].as_u64() {
            Some(next) => before = next.to_string(),
            None => break,
        }
    }
    assert_eq!(seen.len(), 6);
    let shown = world.get("/api/events/job/whole/3").await.json();
    assert_eq!(shown["event"]["id"], "whole/shard-trained");
    assert_eq!(shown["cause"]["id"], "whole/shard-requested");
    assert_eq!(shown["effects"][0]["id"], "whole/model-aggregated");
    assert!(shown["event"]["data"]["model"]["sha256"].is_string());
    for place in ["job/whole/6", "job/whole/0", "job/whole/x", "job/nobody/1", "x"] {
        world.get(&format!("/api/events/{place}")).await.refuses(404, "event-not-found");
    }
}

#[tokio::test]
async fn news_of_a_job_come_as_a_batch_of_events() {
    let world = World::new(None).await;
    let empty = world.get("/api/jobs/late/news").await;
    assert_eq!((empty.json(), empty.header("content-type")), (json!([]), "application/cloudevents-batch+json"));
    world.succeeded("whole").await;
    let news = world.get("/api/jobs/whole/news?after=3&wait_ms=1000").await.json();
    let types: Vec<&str> = news.as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["io.regrove.model-aggregated", "io.regrove.model-registered"]);
    assert_eq!((&news[0]["specversion"], &news[0]["data"]["n_estimators"]), (&json!("1.0"), &json!(75)));
    world.get("/api/jobs/whole/news?wait_ms=60000").await.refuses(422, "invalid-request");
    let steps = world.get("/api/jobs/whole/steps").await.json();
    assert_eq!((steps.as_array().unwrap().len(), &steps[4]["state"]), (5, &json!("succeeded")));
    world.get("/api/jobs/nobody/steps").await.refuses(404, "job-not-found");
    world.get("/api/jobs/whole/logs?follow=true").await.refuses(501, "runtime-absent");
}

#[tokio::test]
async fn a_replay_can_be_of_what_is_waited_for_only() {
    let world = World::new(None).await;
    world.record("open", "train-requested", |_| {}).await;
    world.succeeded("whole").await;
    let said = world.post("/api/jobs/open/replay", &json!({"waiting": true})).await.json();
    assert_eq!(said["events"], json!(["open/train-requested"]));
    world.post("/api/jobs/whole/replay", &json!({"waiting": true})).await.refuses(409, "job-ended");
}
