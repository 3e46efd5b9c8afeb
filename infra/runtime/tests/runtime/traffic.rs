//! Revisions, and who of them gets which requests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use regrove_runtime::{Error, RuntimeEvent};

use crate::stage::{LISTEN_FDS, Stage, application, config, eventually, get, service};

/// The service `hello` whose template differs by `value`, with lines for its spec and its annotations.
fn version(value: &str, spec: &str, annotations: &str) -> String {
    service("hello", &[LISTEN_FDS], &[("VERSION", value)], &[])
        .replace("spec:\n  template:", &format!("spec:\n{spec}  template:"))
        .replace("{name: hello}", &format!("{{name: hello, annotations: {{{annotations}}}}}"))
}

/// A home in which `hello` had the versions one, two, …, all of them ready.
async fn home_with(versions: &[&str]) -> tempfile::TempDir {
    let mut home = tempfile::tempdir().unwrap();
    for (index, value) in versions.iter().enumerate() {
        let stage = Stage::up_in(home, &version(value, "", "")).await;
        let name = format!("hello-{:05}", index + 1);
        if index > 0 {
            stage.all_to(&name).await;
        }
        assert_eq!(stage.revision("hello").await, name);
        let file = stage.home.path().join("revisions/default.hello.json");
        eventually("that it is ready is recorded", || {
            let recorded: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
            recorded["revisions"][index]["ready"] == true
        })
        .await;
        home = stage.down().await;
    }
    home
}

#[tokio::test]
async fn a_changed_template_is_a_new_revision_at_the_next_start() {
    let home = home_with(&["one", "two"]).await;
    let stage = Stage::up_in(home, &version("two", "", "")).await;
    assert_eq!(stage.revision("hello").await, "hello-00002", "the same template is the same revision");
    assert_eq!(stage.runtime.status().services[0].revision, "hello-00002");
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn a_revision_that_never_gets_ready_gets_no_traffic() {
    let folder = tempfile::tempdir().unwrap();
    let crashes = folder.path().join("crashes");
    std::fs::write(&crashes, "1000000").unwrap();
    let broken = version("two", "", "")
        .replace("{name: VERSION, value: \"two\"}", &format!("{{name: CRASHES, value: \"{}\"}}", crashes.display()));
    let mut stage = Stage::up_in(home_with(&["one"]).await, &broken).await;
    stage
        .wait_for(
            "the new revision crashes",
            |event| matches!(event, RuntimeEvent::ReplicaCrashed { replica, .. } if replica.starts_with("hello-00002")),
        )
        .await;
    assert_eq!(stage.revision("hello").await, "hello-00001");
    let status = stage.runtime.status();
    assert_eq!(status.services[0].revision, "hello-00001");
    assert!(status.services[0].revisions.iter().any(|it| it.revision == "hello-00002" && !it.proven), "{status:?}");
    // Mended from outside, it gets ready after all. A process that has just read the old number may write its own after us.
    eventually("the mended revision gets the traffic", || {
        std::fs::write(&crashes, "0").unwrap();
        stage.has_all("hello-00002")
    })
    .await;
    assert_eq!(stage.revision("hello").await, "hello-00002");
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn percentages_and_tags_share_the_traffic() {
    let traffic = "  traffic:\n    - {revisionName: hello-00001, percent: 30, tag: old}\n    \
                   - {latestRevision: true, percent: 70}\n    - {latestRevision: true, tag: new-one}\n";
    let stage = Stage::up_in(home_with(&["one", "two"]).await, &version("two", traffic, "")).await;
    let mut counts = BTreeMap::new();
    for _ in 0..400 {
        *counts.entry(stage.revision("hello").await).or_insert(0) += 1;
    }
    // 120 of 400 expected; the standard deviation is 9.2, so this fails once in a hundred thousand million.
    let old = counts["hello-00001"];
    assert!((58..=184).contains(&old) && old + counts["hello-00002"] == 400, "{counts:?}");
    assert_eq!(stage.revision("old-hello").await, "hello-00001");
    assert_eq!(stage.revision("new-one-hello").await, "hello-00002");
    assert_eq!(get(&stage.gateway(), "other-hello.default.localhost", "/").await.status, 404);
    let status = stage.runtime.status();
    assert_eq!(status.services[0].tags.keys().collect::<Vec<_>>(), ["new-one", "old"]);
    assert!(status.services[0].tags["old"].starts_with("http://old-hello.default.localhost:"), "{status:?}");
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn a_rollout_goes_step_by_step() {
    let annotation = "serving.knative.dev/rollout-duration: 3s";
    let mut stage = Stage::up(&version("one", "", annotation)).await;
    assert_eq!(stage.revision("hello").await, "hello-00001");
    stage.runtime.reload(application(&version("two", "", annotation))).await.unwrap();
    let mut shares = Vec::new();
    while shares.last() != Some(&100) {
        let event = stage
            .wait_for("a step", |event| {
                matches!(event, RuntimeEvent::TrafficAssigned { shares, .. }
                    if shares.iter().any(|share| share.revision == "hello-00002"))
            })
            .await;
        let RuntimeEvent::TrafficAssigned { shares: now, .. } = event else { unreachable!() };
        #[expect(clippy::cast_possible_truncation, reason = "percentages")]
        shares.extend(now.iter().filter(|share| share.revision == "hello-00002").map(|share| share.percent as i64));
        let sum: f64 = now.iter().map(|share| share.percent).sum();
        assert!((sum - 100.0).abs() < 1e-9, "{now:?}");
    }
    assert_eq!(shares, [1, 34, 67, 100]);
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn own_names_are_kept_to() {
    let named = |value: &str, name: &str| {
        version(value, "", "").replace("labels: {a: b}", &format!("labels: {{a: b}}\n      name: {name}"))
    };
    let stage = Stage::up(&named("one", "hello-first")).await;
    assert_eq!(stage.revision("hello").await, "hello-first");
    let error = stage.runtime.reload(application(&named("two", "hello-first"))).await.unwrap_err();
    assert!(matches!(&error, Error::Faults(_)), "{error}");
    assert!(error.to_string().contains("hello-first is the name of an earlier revision"), "{error}");
    assert_eq!(
        stage.runtime.reload(application(&named("two", "hello-second"))).await.unwrap().revisions,
        ["hello-second"]
    );
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn a_reload_under_load_drops_nothing() {
    let stage = Stage::up(&version("one", "", "")).await;
    assert_eq!(stage.revision("hello").await, "hello-00001");
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (stop, answered, address) = (Arc::clone(&stop), Arc::clone(&answered), stage.gateway());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let answer = get(&address, "hello.default.localhost", "/sleep/20").await;
                    assert_eq!(answer.status, 200, "{}", answer.text);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for (value, name) in [("two", "hello-00002"), ("three", "hello-00003")] {
        assert_eq!(stage.runtime.reload(application(&version(value, "", ""))).await.unwrap().revisions, [name]);
        stage.all_to(name).await;
        let before = answered.load(Ordering::Relaxed);
        eventually("the new revision answers", || answered.load(Ordering::Relaxed) > before + 20).await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(stage.revision("hello").await, "hello-00003");
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn an_unchanged_reload_changes_nothing_and_a_wrong_one_is_refused() {
    let stage = Stage::up(&version("one", "", "")).await;
    assert!(stage.runtime.reload(application(&version("one", "", ""))).await.unwrap().revisions.is_empty());
    let unknown = version("one", "", "").replace("image: test_function", "image: unknown");
    assert!(stage.runtime.reload(application(&unknown)).await.is_err());
    assert_eq!(stage.revision("hello").await, "hello-00001");
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn services_come_and_go_with_a_reload() {
    let stage = Stage::up(&version("one", "", "")).await;
    assert_eq!(stage.revision("hello").await, "hello-00001");
    let other = service("other", &[LISTEN_FDS], &[], &[]);
    stage.runtime.reload(application(&other)).await.unwrap();
    assert_eq!(stage.get("hello", "/").await.status, 404);
    assert_eq!(stage.revision("other").await, "other-00001");
    stage.runtime.reload(application(&(other + &version("one", "", "")))).await.unwrap();
    assert_eq!(stage.revision("hello").await, "hello-00001");
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn a_revision_that_no_route_leads_to_goes_to_zero() {
    let minimum = |value: &str| {
        version(value, "", "")
            .replace("regrove.io/listen-fds", "autoscaling.knative.dev/min-scale: \"1\"\n        regrove.io/listen-fds")
    };
    let home = tempfile::tempdir().unwrap();
    let mut start = config(&minimum("one"), home.path());
    start.time_scale = 100.0;
    let runtime = regrove_runtime::Runtime::start(start).await.unwrap();
    let mut stage = Stage { events: runtime.watch(), runtime, home };
    assert_eq!(stage.revision("hello").await, "hello-00001");
    stage.runtime.reload(application(&minimum("two"))).await.unwrap();
    stage.all_to("hello-00002").await;
    let stopped = stage.stopped().await;
    assert!(
        matches!(&stopped, RuntimeEvent::ReplicaStopped { replica, .. } if replica == "hello-00001-1"),
        "{stopped:?}"
    );
    let status = stage.runtime.status();
    let ready: Vec<_> = status.services[0].revisions.iter().map(|it| (it.revision.as_str(), it.ready)).collect();
    assert_eq!(ready, [("hello-00001", 0), ("hello-00002", 1)]);
    stage.runtime.shutdown().await;
}
