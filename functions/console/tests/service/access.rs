//! Who gets in, and whose orders are taken.

use regrove_console::openapi;
use serde_json::json;

use crate::world::{ELSEWHERE, HERE, TOKEN, World, request};

/// Every page and call that shows or changes something.
const GUARDED: [&str; 9] =
    ["/", "/jobs", "/jobs/new", "/events", "/models", "/api/jobs", "/api/overview", "/live", "/no-such-page"];

#[tokio::test]
async fn without_a_token_only_this_machine_gets_an_answer() {
    let world = World::new(None).await;
    assert_eq!(world.get("/api/jobs").await.status, 200);
    for path in GUARDED {
        world.send(request("GET", path, ELSEWHERE, &[], "")).await.refuses(401, "token-required");
        world.send(request("GET", path, HERE, &[("host", "evil.example")], "")).await.refuses(401, "token-required");
        let forwarded = [("x-forwarded-for", "192.0.2.7")];
        world.send(request("GET", path, HERE, &forwarded, "")).await.refuses(401, "token-required");
    }
    let detail = world.send(request("GET", "/", ELSEWHERE, &[], "")).await.refuses(401, "token-required");
    assert!(detail.contains("REGROVE_TOKEN"), "{detail}");
}

#[tokio::test]
async fn with_a_token_everything_asks_for_it_from_here_too() {
    let world = World::new(Some(TOKEN)).await;
    for path in GUARDED {
        let answer = world.get(path).await;
        if path.starts_with("/api") {
            answer.refuses(401, "token-required");
            assert!(answer.header("www-authenticate").starts_with("Bearer"));
        } else {
            assert_eq!(answer.status, 303, "{path}");
            assert!(answer.header("location").starts_with("/login?next="), "{path}");
        }
    }
    for (authorization, kind) in [
        (format!("Bearer {TOKEN}x"), "wrong-token"),
        ("Bearer ".to_owned(), "wrong-token"),
        (format!("Basic {TOKEN}"), "token-required"),
    ] {
        let headers = [("authorization", authorization.as_str())];
        let answer = world.send(request("GET", "/api/jobs", HERE, &headers, "")).await;
        answer.refuses(401, kind);
        assert!(!answer.text.contains(TOKEN), "{}", answer.text);
    }
    let headers = [("authorization", format!("Bearer {TOKEN}")), ("host", "console.example".to_owned())];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(world.send(request("GET", "/api/jobs", ELSEWHERE, &headers, "")).await.status, 200);
    // What says nothing of anyone needs no token.
    for path in ["/login", "/openapi.json", "/docs", "/assets/console.css", "/assets/console.js"] {
        assert_eq!(world.send(request("GET", path, ELSEWHERE, &[], "")).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn the_login_page_turns_the_token_into_a_cookie() {
    let world = World::new(Some(TOKEN)).await;
    let wrong = world.form("/login", "/login", "token=not-the-token-at-all&next=%2Fjobs").await;
    assert_eq!(wrong.status, 401);
    assert!(wrong.text.contains("That is not the token"), "{}", wrong.text);
    assert!(
        !wrong.headers.get_all("set-cookie").iter().any(|value| value.to_str().unwrap().contains("regrove_session"))
    );
    let right = world.form("/login", "/login", &format!("token={TOKEN}&next=%2Fjobs%3Fstate%3Dfailed")).await;
    assert_eq!((right.status.as_u16(), right.header("location")), (303, "/jobs?state=failed"));
    let cookie = format!("regrove_session={}", right.cookie("regrove_session"));
    assert!(!cookie.contains(TOKEN));
    assert_eq!(world.send(request("GET", "/jobs", ELSEWHERE, &[("cookie", &cookie)], "")).await.status, 200);
    let spoiled = format!("{cookie}0");
    assert_eq!(world.send(request("GET", "/jobs", HERE, &[("cookie", &spoiled)], "")).await.status, 303);
    let away = world.form("/login", "/login", &format!("token={TOKEN}&next=%2F%2Fevil.example")).await;
    assert_eq!(away.header("location"), "/");
}

#[tokio::test]
async fn orders_from_another_sites_page_are_refused() {
    let world = World::new(None).await;
    world.record("job-1", "train-requested", |_| {}).await;
    let body = json!({}).to_string();
    for headers in [
        [("origin", "http://evil.example"), ("content-type", "application/json")],
        [("origin", "null"), ("content-type", "application/json")],
        [("sec-fetch-site", "cross-site"), ("content-type", "application/json")],
        [("origin", "http://evil.example"), ("content-type", "text/plain")],
    ] {
        for path in ["/api/jobs", "/api/jobs/job-1/stop", "/jobs/job-1/stop"] {
            world.send(request("POST", path, HERE, &headers, &body)).await.refuses(403, "cross-site-request");
        }
    }
    let form = [("content-type", "application/x-www-form-urlencoded"), ("origin", "http://localhost:8265")];
    let answer = world.send(request("POST", "/jobs/job-1/stop", HERE, &form, "reason=x")).await;
    let detail = answer.refuses(403, "cross-site-request");
    assert!(detail.contains("load the page again"), "{detail}");
    world
        .send(request("POST", "/api/jobs/job-1/stop", HERE, &form, "reason=x"))
        .await
        .refuses(415, "unsupported-media-type");
    assert!(world.said().is_empty());
    assert_eq!(world.form("/jobs/job-1", "/jobs/job-1/stop", "reason=x").await.status, 303);
    assert_eq!(world.said().len(), 1);
}

#[tokio::test]
async fn every_answer_keeps_browsers_strict() {
    let world = World::new(None).await;
    for path in ["/", "/jobs", "/api/jobs", "/login", "/assets/console.js", "/no-such-page", "/api/jobs/nobody"] {
        let answer = world.page(path).await;
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
    }
    for path in ["/", "/jobs", "/jobs/new", "/events", "/models"] {
        let text = world.page(path).await.text;
        for banned in [" style=", " onclick=", "<style", "javascript:", "https://", "http://cdn"] {
            assert!(!text.contains(banned), "{path} has {banned}");
        }
    }
}

#[tokio::test]
async fn the_api_has_a_page_to_try_it_on() {
    let world = World::new(None).await;
    let page = world.page("/docs").await;
    let policy = page.header("content-security-policy");
    assert!(policy.contains("script-src 'unsafe-inline'") && policy.contains("connect-src 'self'"), "{policy}");
    assert!(page.text.contains("fetch(\"openapi.json\")"), "{}", page.text);
    assert!(!page.text.contains("http://") && !page.text.contains("https://"), "nothing comes from elsewhere");
    let policy = world.page("/jobs").await.header("content-security-policy").to_owned();
    assert!(policy.contains("script-src 'self'"), "the console's own pages stay strict: {policy}");
    assert!(world.page("/jobs").await.text.contains("href=\"/docs\""));
}

#[test]
fn the_description_is_openapi_and_has_every_call() {
    let document = serde_json::to_value(openapi()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let source = include_str!("../../src/api.rs");
    let routes = source.lines().filter_map(|line| line.trim().strip_prefix(".route(\"")?.split('"').next());
    let mut seen = 0;
    for route in routes {
        let path = format!("/api{}", route.replace("{*", "{"));
        assert!(document["paths"].get(&path).is_some(), "{path} is not described");
        seen += 1;
    }
    assert_eq!(seen, document["paths"].as_object().unwrap().len(), "paths described that do not exist");
}
