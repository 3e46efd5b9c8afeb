//! Kept events: delivering them again, and letting go of them.

use std::time::Duration;

use regrove_runtime::{ReplayError, ReplayFrom, RuntimeEvent, delivery_records, replay};

use crate::sink::Sink;
use crate::stage::Stage;

fn eventing(sink: &Sink, filter: &str) -> String {
    let object = "apiVersion: eventing.knative.dev/v1\nkind";
    format!(
        "{object}: Broker\nmetadata: {{name: default}}\n---\n{object}: Trigger\nmetadata: {{name: t}}\nspec:\n  broker: \
         default\n  {filter}\n  subscriber: {{uri: \"{}\"}}\n",
        sink.url
    )
}

fn ids(sink: &Sink, from: usize) -> Vec<String> {
    let mut ids: Vec<String> =
        sink.received()[from..].iter().map(|request| request.header("ce-id").to_owned()).collect();
    ids.sort();
    ids
}

async fn delivered(stage: &mut Stage, count: usize) {
    for _ in 0..count {
        stage.wait_for("delivery", |event| matches!(event, RuntimeEvent::EventDelivered { .. })).await;
    }
}

#[tokio::test]
async fn history_is_delivered_again_from_an_event_or_a_time_on() {
    let sink = Sink::start(&[]).await;
    let mut stage = Stage::up(&eventing(&sink, "")).await;
    for id in ["1", "2", "3"] {
        stage.emit(id, "t").await;
    }
    delivered(&mut stage, 3).await;
    let request = replay(stage.home.path(), "default/t", &ReplayFrom::Event("2".to_owned())).unwrap();
    assert_eq!((request.broker.as_str(), request.events), ("default/default", 2));
    sink.wait_for(5).await;
    assert_eq!(ids(&sink, 3), ["2", "3"]);
    delivered(&mut stage, 2).await;
    let since = jiff::Timestamp::from_millisecond(delivery_records(stage.home.path(), "1").unwrap()[0].accepted_at_ms);
    let request = replay(stage.home.path(), "default/t", &ReplayFrom::Time(since.unwrap())).unwrap();
    assert_eq!(request.events, 3);
    sink.wait_for(8).await;
    assert_eq!(ids(&sink, 5), ["1", "2", "3"]);
    delivered(&mut stage, 3).await;
    assert_eq!(delivery_records(stage.home.path(), "2").unwrap().len(), 3, "each delivery has a record of its own");
    let later = replay(stage.home.path(), "default/t", &ReplayFrom::Time(jiff::Timestamp::MAX)).unwrap();
    assert_eq!(later.events, 0);
    stage.runtime.shutdown().await;
    assert_eq!(sink.received().len(), 8);
}

#[tokio::test]
async fn a_new_trigger_gets_history_through_its_filter_after_a_restart() {
    let (old, new) = (Sink::start(&[]).await, Sink::start(&[]).await);
    let mut stage = Stage::up(&eventing(&old, "filter: {attributes: {type: other}}")).await;
    // More than one part of a replay.
    for number in 0..620 {
        stage.emit(&format!("{number:03}"), if number % 2 == 0 { "even" } else { "odd" }).await;
    }
    stage.emit("last", "other").await;
    delivered(&mut stage, 1).await;
    let Stage { runtime, home, .. } = stage;
    runtime.shutdown().await;
    // Asked for while nothing runs.
    replay(home.path(), "default/t", &ReplayFrom::Event("000".to_owned())).unwrap();
    let config = crate::stage::config(&eventing(&new, "filter: {attributes: {type: odd}}"), home.path());
    let runtime = regrove_runtime::Runtime::start(config).await.unwrap();
    new.wait_for(310).await;
    runtime.shutdown().await;
    let expected: Vec<String> = (0..620).filter(|n| n % 2 == 1).map(|n| format!("{n:03}")).collect();
    assert_eq!(ids(&new, 0), expected, "each once, and none that the filter holds back");
    assert_eq!(old.received().len(), 1);
}

#[tokio::test]
async fn unknown_triggers_and_events_are_named() {
    let home = tempfile::tempdir().unwrap();
    let any = ReplayFrom::Time(jiff::Timestamp::UNIX_EPOCH);
    assert!(matches!(replay(home.path(), "a/b", &any), Err(ReplayError::NoTrigger { .. })));
    let sink = Sink::start(&[]).await;
    let stage = Stage::up(&eventing(&sink, "")).await;
    let error = replay(stage.home.path(), "t", &any).unwrap_err().to_string();
    assert!(error.contains("`t`") && error.contains("default/t"), "{error}");
    let error = replay(stage.home.path(), "default/t", &ReplayFrom::Event("gone".to_owned())).unwrap_err();
    assert!(matches!(&error, ReplayError::NoEvent { id, .. } if id == "gone"), "{error}");
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn delivered_events_are_kept_as_long_as_configured() {
    for (retention, kept) in [(Duration::ZERO, false), (Duration::from_hours(1), true)] {
        let sink = Sink::start(&[]).await;
        let mut stage = Stage::up_with(&eventing(&sink, ""), |config| config.event_retention = retention).await;
        stage.emit("old", "t").await;
        delivered(&mut stage, 1).await;
        // Old events are looked for every thousand new ones.
        for number in 0..1100 {
            stage.emit(&number.to_string(), "t").await;
        }
        sink.wait_for(1101).await;
        let records = delivery_records(stage.home.path(), "old").unwrap();
        assert_eq!(!records.is_empty(), kept, "{retention:?}");
        stage.runtime.shutdown().await;
    }
}
