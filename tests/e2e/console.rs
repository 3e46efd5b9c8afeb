//! The console in a real browser: pages load, follow what happens, and their buttons do what they say.

use http::Method;
use regrove_events::{JobState, TrainRequested};
use serde_json::{Value, json};

use crate::browser::{Browser, Scheme};
use crate::jobs::{DEFAULT_MODEL, lengthy, small};
use crate::polling::until;
use crate::up::{Up, UpOptions};

/// An id that a page must not take for HTML wherever it stands.
const EVIL: &str = "<img src=x onerror=alert(1)>";

async fn api(up: &Up, method: Method, path: &str, body: Option<&Value>) -> Value {
    let answer = up.call("console", method, path, body).await;
    assert!(answer.status.is_success(), "{path}: {answer:?}");
    answer.json
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_followed_while_its_page_is_open() {
    let up = Up::start(UpOptions::default());
    let console = up.console();
    let browser = Browser::start(true).await;
    browser.open(&format!("{console}/")).await;
    browser.sees("#overview", "No jobs yet").await;
    browser.assert_accessible().await;
    browser.picture("overview-empty").await;

    // A person asks for a job with the form, and watches it end without touching the page again.
    browser.open(&format!("{console}/jobs/new")).await;
    browser.assert_accessible().await;
    browser.fill("#uri", "synthetic:make_classification?n_samples=600&n_features=20&random_state=3").await;
    browser.fill("#id", "from-the-page").await;
    browser.click("#submit").await;
    until("the job's page", async || browser.url().await.contains("/jobs/from-the-page").then_some(())).await;
    browser.sees("#job-state", "succeeded").await;
    browser.sees("#job", "models:/").await;
    browser.sees("#job", "Curves").await;
    browser.sees("#job", "trees_trained").await;
    browser.assert_quiet().await;
    browser.assert_accessible().await;
    browser.picture("job").await;

    // The list and the overview follow, too.
    browser.open(&format!("{console}/jobs")).await;
    browser.sees("#live-state", "live").await;
    up.request("said-elsewhere", &small(DEFAULT_MODEL, 7)).await;
    browser.sees("#jobs", "said-elsewhere").await;
    up.job_end("said-elsewhere").await;
    up.served(DEFAULT_MODEL, "2").await;
    browser.assert_quiet().await;

    every_page_is_sound(&up, &console, &browser).await;
    functions(&console, &browser).await;
    models(&console, &browser).await;
}

/// Every page, light and dark: no error on its console, nothing that axe finds, a picture kept.
async fn every_page_is_sound(up: &Up, console: &str, browser: &Browser) {
    let pages = [
        ("overview", "/".to_owned()),
        ("jobs", "/jobs".to_owned()),
        ("job", "/jobs/from-the-page".to_owned()),
        ("compare", "/jobs/compare?a=from-the-page&b=said-elsewhere".to_owned()),
        ("events", "/events".to_owned()),
        ("event", "/events/job/from-the-page/2".to_owned()),
        ("dead-letters", "/dead-letters".to_owned()),
        ("functions", "/functions".to_owned()),
        ("function", "/functions/train-shard".to_owned()),
        ("models", "/models".to_owned()),
        ("model", format!("/models/{DEFAULT_MODEL}")),
        ("not-found", format!("/jobs/{}", EVIL.replace(' ', "%20"))),
    ];
    for (name, path) in &pages {
        for (scheme, suffix) in [(Scheme::Light, "light"), (Scheme::Dark, "dark")] {
            browser.prefer(scheme).await;
            browser.open(&format!("{console}{path}")).await;
            browser.assert_accessible().await;
            if *name == "not-found" {
                // Of a page that is not there the browser says so, and nothing else.
                let complaints = browser.complaints().await;
                assert!(complaints.iter().all(|said| said.contains("404 (Not Found)")), "{complaints:#?}");
            } else {
                browser.assert_quiet().await;
            }
            browser.picture(&format!("{name}-{suffix}")).await;
        }
        assert_eq!(
            browser.run("return document.querySelectorAll('[onerror], [style], img').length").await,
            0,
            "{path}"
        );
        if *name != "not-found" {
            let twin = browser.run("return document.querySelector('.foot a').getAttribute('href')").await;
            assert!(api(up, Method::GET, twin.as_str().unwrap(), None).await.is_object(), "{path} has a JSON twin");
        }
    }
    browser.prefer(Scheme::Light).await;
    browser.open(&format!("{console}/models")).await;
    let ground = "return getComputedStyle(document.body).backgroundColor";
    let light = browser.run(ground).await;
    browser.click("#theme").await;
    assert_ne!(browser.run(ground).await, light, "the button turns the page dark");
    browser.open(&format!("{console}/jobs")).await;
    assert_ne!(browser.run(ground).await, light, "and it stays so on the next page");
    browser.click("#theme").await;
}

/// What the jobs did to the functions: a row each, a patch of colour where they answered, and where the time of a start from
/// zero went.
async fn functions(console: &str, browser: &Browser) {
    const NAMES: [&str; 4] = ["aggregate", "load-model", "register", "train-shard"];
    browser.open(&format!("{console}/functions")).await;
    let titles =
        "return [...document.querySelectorAll('svg.heat rect[class^=heat-] title')].map(title => title.textContent)";
    until("every function that answered has its patch on the heat map", async || {
        let titles: Vec<String> = serde_json::from_value(browser.run(titles).await).unwrap();
        let has_patch = |name: &&str| titles.iter().any(|title| title.starts_with(&format!("{name}: ")));
        NAMES.iter().all(has_patch).then_some(())
    })
    .await;
    let starts = "return [...document.querySelectorAll('[aria-labelledby=starts] tbody tr')]
        .map(row => [...row.cells].slice(1).map(cell => cell.textContent))";
    let starts: Vec<[String; 6]> = serde_json::from_value(browser.run(starts).await).unwrap();
    for name in NAMES {
        assert!(starts.iter().any(|[replica, ..]| replica.starts_with(name)), "{name} started from zero: {starts:?}");
    }
    for [replica, times @ ..] in &starts {
        let ms: Vec<f64> = times.iter().map(|time| time.strip_suffix(" ms").unwrap().parse().unwrap()).collect();
        // Each is rounded to a tenth.
        assert!((ms[0] + ms[1] + ms[2] - ms[3]).abs() < 0.21, "{replica}: the parts make the whole: {times:?}");
        // Each alone may be less than what is rounded away; the wait for the first byte is nothing where the request's own
        // answer came before a probe's.
        assert!(ms[1] + ms[2] > 0.0, "{replica}: a process is started, and answers: {times:?}");
    }
    browser.open(&format!("{console}/functions/train-shard")).await;
    browser.sees("#function", "train-shard-00001 100 %").await;
    browser.sees("#lines", "trained").await;
    browser.assert_quiet().await;
}

/// Loads an older version, rolls back, tries a prediction.
async fn models(console: &str, browser: &Browser) {
    browser.open(&format!("{console}/models/{DEFAULT_MODEL}")).await;
    browser.sees("#pointer", "v2").await;
    browser.click("form[action$='/load'] button.small").await;
    browser.sees("#pointer .big", "v1").await;
    browser.sees("#switch-list", "a request").await;
    browser.sees("main", "The version is served.").await;
    browser.click("#rollback").await;
    browser.sees("#pointer .big", "v2").await;
    browser.sees("#switch-list", "a rollback").await;
    browser.sees("main", "Confusion matrix of the served version").await;
    browser.sees(".confusion", "held-out rows").await;
    browser.sees("main", "Feature importances of the served version").await;
    browser.run("document.querySelector('#canary').value = '1'; document.querySelector('#percent').value = '25'").await;
    browser.click("#split").await;
    browser.sees("main", "The traffic is split as you said.").await;
    browser.sees("#pointer", "v1 answers 25 % of the requests").await;
    browser.run("document.querySelector('#canary').value = ''").await;
    browser.click("#split").await;
    browser.sees("main", "The traffic is split as you said.").await;
    // The page may still be the one before, which says the same.
    until("the canary is gone", async || {
        let split = browser.run("return document.querySelector('#pointer')?.textContent.includes('answers 25')").await;
        (split == false).then_some(())
    })
    .await;
    browser.click("#predict").await;
    browser.sees("#answer", "Prediction:").await;
    browser.sees("#answer", "from version 2").await;
    browser.assert_accessible().await;
    browser.fill("#x0", "not a number").await;
    browser.click("#predict").await;
    browser.sees("#answer", "value 1 is `not a number`").await;
    browser.assert_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_and_retry_do_what_they_say() {
    let up = Up::start(UpOptions::default());
    let console = up.console();
    let browser = Browser::start(true).await;
    // Long enough for a browser: minutes of work, in shards that end soon once nobody wants them.
    let mut wish = TrainRequested { shards: 64, ..lengthy("m") };
    wish.params.insert("n_estimators".to_owned(), json!(4000));
    up.request("long", &wish).await;
    up.job_when("long", "is at work", |job| job.state == JobState::Training).await;
    browser.open(&format!("{console}/jobs/long")).await;
    browser.fill("#reason", "wrong <b>data</b>").await;
    browser.click("#stop").await;
    browser.sees("#job-state", "cancelled").await;
    browser.sees("#job", "wrong <b>data</b>").await;
    assert_eq!(up.job("long").await.unwrap().state, JobState::Cancelled);
    browser.picture("job-cancelled").await;
    browser.click("#retry").await;
    until("the new job's page", async || browser.url().await.contains("/jobs/long.retry-2").then_some(())).await;
    let again = up.job_when("long.retry-2", "is asked for", |job| job.request.is_some()).await;
    assert_eq!(again.request, up.job("long").await.unwrap().request);
    // The API refuses what makes no sense.
    let ended = up.call("console", Method::POST, "/api/jobs/long/stop", Some(&json!({}))).await;
    assert_eq!((ended.status.as_u16(), &ended.json["type"]), (409, &json!("urn:regrove:problem:job-ended")));
    let unknown = up.call("console", Method::POST, "/api/jobs/nobody/stop", Some(&json!({}))).await;
    assert_eq!((unknown.status.as_u16(), &unknown.json["type"]), (404, &json!("urn:regrove:problem:job-not-found")));
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_seen_redriven_and_discarded() {
    let up = Up::start(UpOptions::default());
    let console = up.console();
    let browser = Browser::start(true).await;
    browser.open(&format!("{console}/dead-letters")).await;
    browser.sees("#letters", "No dead letters").await;
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "bad-one"),
        ("ce-source", "/e2e"),
        ("ce-subject", "bad"),
        ("ce-type", "io.regrove.train-requested"),
        ("content-type", "application/json"),
    ];
    let broken = json!({"dataset": {"uri": 7, "note": EVIL}}).to_string();
    assert_eq!(up.post_event(&headers, broken.clone()).await.status, 202);
    browser.sees("#letters", "bad-one").await;
    browser.sees("#letters", "422").await;
    browser.assert_accessible().await;
    browser.picture("dead-letters-filled").await;
    assert_eq!(browser.run("return document.querySelectorAll('img').length").await, 0);
    let letters = api(&up, Method::GET, "/api/dead-letters", None).await;
    let before = letters["letters"][0]["id"].as_i64().unwrap();
    browser.click("button[value='redrive']").await;
    // It fails again, as a letter of another number.
    until("the letter comes back", async || {
        let letters = api(&up, Method::GET, "/api/dead-letters", None).await;
        let numbers: Vec<i64> =
            letters["letters"].as_array()?.iter().filter_map(|letter| letter["id"].as_i64()).collect();
        (!numbers.is_empty() && !numbers.contains(&before)).then_some(())
    })
    .await;
    browser.open(&format!("{console}/dead-letters")).await;
    browser.click("form.actions button.danger").await;
    browser.sees("#letters", "No dead letters").await;
    browser.assert_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_can_be_read_without_scripts() {
    let up = Up::start(UpOptions::default());
    let console = up.console();
    up.request("plain", &small("m", 1)).await;
    up.job_end("plain").await;
    let browser = Browser::start(false).await;
    browser.open(&format!("{console}/jobs/plain")).await;
    let text = browser.text("main").await;
    for says in ["plain", "succeeded", "Shards", "Causes and effects", "models:/m/1", "Replay events"] {
        assert!(text.contains(says), "{says} is missing: {text}");
    }
    // Orders are forms: they need no script either.
    browser.open(&format!("{console}/jobs/new")).await;
    browser.fill("#id", "by-form").await;
    browser.click("#submit").await;
    until("the job's page", async || browser.url().await.contains("/jobs/by-form").then_some(())).await;
    up.job_end("by-form").await;
}
