//! Pages as texts: what a browser without scripts gets.

use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt as _;
use serde_json::json;
use tower::ServiceExt as _;

use crate::world::{HERE, World, request};

#[tokio::test]
async fn every_page_can_be_read_and_has_a_twin() {
    let world = World::new(None).await;
    world.succeeded("whole").await;
    for (page, twin, api, says) in [
        ("/", "/overview.json", "/api/overview", "whole"),
        ("/jobs", "/jobs.json", "/api/jobs", "whole"),
        ("/jobs?state=failed", "/jobs.json?state=failed", "/api/jobs?state=failed", "No job fits"),
        ("/jobs/whole", "/jobs/whole.json", "/api/jobs/whole", "75 trees, "),
        (
            "/jobs/compare?a=whole&b=whole",
            "/jobs/compare.json?a=whole&b=whole",
            "/api/jobs/compare?a=whole&b=whole",
            "bit for bit",
        ),
        ("/events", "/events.json", "/api/events", "whole/shard-trained"),
        ("/events/job/whole/3", "/events/job/whole/3.json", "/api/events/job/whole/3", "whole/model-aggregated"),
        ("/models", "/models.json", "/api/models", "RandomForestClassifierModel"),
        (
            "/models/RandomForestClassifierModel",
            "/models/RandomForestClassifierModel.json",
            "/api/models/RandomForestClassifierModel",
            "v7",
        ),
    ] {
        let answer = world.page(page).await;
        assert_eq!(answer.status, 200, "{page}: {}", answer.text);
        assert!(answer.header("content-type").starts_with("text/html"), "{page}");
        assert!(answer.text.contains(says), "{page} does not say {says}: {}", answer.text);
        assert!(answer.text.contains("<html lang=\"en\"") && answer.text.contains("<main"), "{page}");
        let stable = |path: &'static str| {
            let world = &world;
            async move {
                let mut json = world.get(path).await.json();
                // The minutes go on while the test runs.
                json.as_object_mut().unwrap().remove("events_per_minute");
                json
            }
        };
        assert_eq!(stable(twin).await, stable(api).await, "{twin} and {api}");
        let by_header = world.send(request("GET", page, HERE, &[("accept", "application/json")], "")).await;
        assert!(by_header.json().is_object(), "{page}");
    }
}

#[tokio::test]
async fn a_model_shows_what_it_takes_for_what_and_how_to_ask_it() {
    let world = World::new(None).await;
    world.served("whole").await;
    let model = world.get("/api/models/RandomForestClassifierModel").await.json();
    assert_eq!(model["confusion_matrix"], json!({"of": "held-out rows", "counts": [[41, 2], [1, 70]]}));
    assert_eq!(model["signature"]["categories"], json!({"größe €": ["large", "small"]}));
    let page = world.page("/models/RandomForestClassifierModel").await.text;
    for says in [
        "Confusion matrix of the served version",
        "95.3 %",
        "&lt;no&gt;",
        "<option value=\"small\" selected>",
        "value=\"14.25\"",
    ] {
        assert!(page.contains(says), "{says}: {page}");
    }
    // Nobody answers for predict and load-model here: their refusals are problems for programs, and said on the page.
    let key = world.page("/models/RandomForestClassifierModel").await.cookie("regrove_form");
    let cookie = format!("regrove_form={key}");
    let headers = [
        ("cookie", cookie.as_str()),
        ("content-type", "application/x-www-form-urlencoded"),
        ("origin", "http://localhost:8265"),
    ];
    let path = "/models/RandomForestClassifierModel/predict.json";
    let wrong = world.send(request("POST", path, HERE, &headers, &format!("form_key={key}&x0=many&x1=small"))).await;
    assert!(wrong.refuses(422, "invalid-request").contains("value 1 is `many`"), "{}", wrong.text);
    world
        .send(request("POST", path, HERE, &headers, &format!("form_key={key}&x0=1&x1=small")))
        .await
        .refuses(503, "dependency-unavailable");
    for body in
        [json!({"canary": "6"}), json!({"percent": 10}), json!({"canary": 6, "percent": 10}), json!({"share": 1})]
    {
        world.post("/api/models/RandomForestClassifierModel/traffic", &body).await.refuses(422, "invalid-request");
    }
}

#[tokio::test]
async fn a_shard_that_was_asked_for_again_has_a_bar_for_each_attempt() {
    let world = World::new(None).await;
    world.record("late", "train-requested", |_| {}).await;
    for (attempt, time) in [(1, "2026-11-23T08:00:01Z"), (2, "2026-11-23T08:00:21Z")] {
        let change = |event: &mut serde_json::Value| {
            event["id"] = format!("late/shard/1/request/{attempt}").into();
            event["time"] = time.into();
            event["data"]["attempt"] = attempt.into();
        };
        world.record("late", "shard-requested", change).await;
    }
    world.record("late", "shard-trained", |event| event["time"] = "2026-11-23T08:00:31Z".into()).await;
    let page = world.page("/jobs/late").await.text;
    assert_eq!(page.matches("class=\"bar retried\"").count(), 1, "{page}");
    assert!(page.contains("attempt 1: nothing came back for 20"), "{page}");
    assert!(page.contains("attempt 2: grew trees") && page.contains("×2"), "{page}");
}

#[tokio::test]
async fn a_sweep_has_a_page() {
    let world = World::new(None).await;
    world.get("/api/sweeps/nobody").await.refuses(404, "job-not-found");
    let train = json!({"dataset": {"uri": "file:///a.csv"}});
    let million: Vec<u32> = (0..1000).collect();
    let wish = json!({"id": "large", "train": train, "grid": {"max_depth": million, "max_leaf_nodes": million}});
    let detail = world.post("/api/sweeps", &wish).await.refuses(422, "invalid-request");
    assert!(detail.contains("1000000 combinations"), "{detail}");
    let wish = json!({"id": "few", "train": train, "grid": {"max_depth": [1, 2]}});
    let asked = world.post("/api/sweeps", &wish).await;
    assert_eq!((asked.status.as_u16(), asked.header("location")), (202, "/api/sweeps/few"), "{}", asked.text);
    let said = world.said();
    assert_eq!((said.len(), said[0].id(), said[0].ty()), (1, "few/request", "io.regrove.sweep-requested"));
    assert!(said[0].attribute("traceparent").is_some());
    world.record_sweep("few", &said[0]).await;
    assert_eq!(world.post("/api/sweeps", &wish).await.status, 200, "the same sweep was there before");
    let page = world.page("/sweeps/few").await.text;
    assert!(page.contains("0 of 2 done") && page.contains("Stop"), "{page}");
    assert_eq!(world.get("/sweeps/few.json").await.json(), world.get("/api/sweeps/few").await.json());
    assert_eq!(world.get("/jobs/new.json").await.json()["shards"], 4);
}

#[tokio::test]
async fn html_in_names_is_escaped_everywhere() {
    let world = World::new(None).await;
    let evil = "<script>alert(1)</script>\"'&";
    let dirty = |event: &mut serde_json::Value| {
        if event["data"].get("dataset").is_some() {
            event["data"]["dataset"]["uri"] = evil.into();
            event["data"]["dataset"]["name"] = evil.into();
            event["data"]["dataset"]["target"] = evil.into();
        }
        if event["data"].get("params").is_some() {
            event["data"]["params"][evil] = evil.into();
        }
        for field in ["experiment", "reason"] {
            if event["data"].get(field).is_some() {
                event["data"][field] = evil.into();
            }
        }
    };
    world.record("dirty", "train-requested", dirty).await;
    world
        .record("dirty", "shard-requested", |event| {
            dirty(event);
            event["data"]["dataset"]["feature_names"] = json!([evil, "b"]);
            event["data"]["dataset"]["classes"] = json!([evil, 1]);
            event["source"] = "/regrove/%3Cscript%3E".into();
        })
        .await;
    world.record("dirty", "job-failed", dirty).await;
    for page in [
        "/",
        "/jobs",
        "/jobs/dirty",
        "/events",
        "/events/job/dirty/1",
        "/events/job/dirty/2",
        "/models",
        "/jobs/compare?a=dirty&b=dirty",
        "/jobs?name=%3Cscript%3Ealert(1)%3C%2Fscript%3E%22",
        "/events?text=%3Cscript%3Ealert(1)%3C%2Fscript%3E%22",
        "/jobs/%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "/models/%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "/no-such-page/%3Cscript%3Ealert(1)%3C%2Fscript%3E",
    ] {
        let text = world.page(page).await.text;
        assert!(!text.contains("<script>alert"), "{page}: {text}");
        assert!(!text.contains("\"\"'&"), "{page}: an attribute was broken out of: {text}");
    }
    assert!(world.page("/jobs/dirty").await.text.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
}

#[tokio::test]
async fn a_refusal_is_a_page_for_people_and_a_problem_for_programs() {
    let world = World::new(None).await;
    let page = world.page("/jobs/nobody").await;
    assert_eq!(page.status, 404);
    assert!(page.text.contains("<h1>Job not found</h1>") && page.text.contains("there is no job"), "{}", page.text);
    world.get("/api/jobs/nobody").await.refuses(404, "job-not-found");
    world
        .send(request("GET", "/jobs/nobody", HERE, &[("accept", "application/json")], ""))
        .await
        .refuses(404, "job-not-found");
    assert_eq!(world.page("/no-such-page").await.status, 404);
    assert_eq!(world.page("/jobs?limit=x").await.status, 422);
}

#[tokio::test]
async fn the_form_for_a_new_job_asks_for_one() {
    let world = World::new(None).await;
    let fields = "uri=file%3A%2F%2F%2Fa.csv&target=y&params=%7B%22n_estimators%22%3A5%7D&shards=3&test_size=0&model=m&alias=&experiment=e&id=mine";
    let answer = world.form("/jobs/new", "/jobs", fields).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (303, "/jobs/mine?notice=asked"));
    let job = world.get("/api/jobs/mine").await.json();
    assert_eq!(job["request"]["shards"], 3);
    assert_eq!(job["request"]["dataset"], json!({"uri": "file:///a.csv", "target": "y"}));
    assert!(world.page("/jobs/mine?notice=asked").await.text.contains("The job is asked for."));
    let wrong = world.form("/jobs/new", "/jobs", "uri=a&params=%7B&shards=3&test_size=0").await;
    assert_eq!(wrong.status, 422);
    assert!(wrong.text.contains("<h1>Invalid request</h1>") && wrong.text.contains("params"), "{}", wrong.text);
}

#[tokio::test]
async fn the_stream_says_where_the_log_stands_and_when_it_moves() {
    let world = World::new(None).await;
    world.record("first", "train-requested", |_| {}).await;
    let response = world.router().oneshot(request("GET", "/live", HERE, &[], "")).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body: Body = response.into_body();
    let mut text = String::new();
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    let mut read_until = async |wanted: &str| {
        while !text.contains(wanted) {
            let frame = tokio::time::timeout_at(deadline, body.frame()).await.unwrap().unwrap().unwrap();
            text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
    };
    read_until("data: 1\n").await;
    world.record("second", "train-requested", |_| {}).await;
    read_until("data: 2\n").await;
}
