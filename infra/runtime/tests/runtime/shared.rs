//! The broker's journal in Redis: what was acknowledged is there, whatever happens to this machine.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use regrove_runtime::{
    DeliveryState, Error, ReplayFrom, Runtime, RuntimeConfig, RuntimeEvent, SHARED_JOURNAL, dead_letters,
    delivery_records, redrive, replay,
};
use regrove_store::{SharedJournal, StoreArgs};
use regrove_test_support::RedisServer;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::sink::Sink;
use crate::stage::{Stage, emit, eventually, programs};

fn eventing(subscriber: &str, delivery: &str) -> String {
    let object = "apiVersion: eventing.knative.dev/v1\nkind";
    format!(
        "{object}: Broker\nmetadata: {{name: default}}\n---\n{object}: Trigger\nmetadata: {{name: t}}\nspec:\n  broker: \
         default\n  subscriber: {{uri: \"{subscriber}\"}}\n  delivery: {{{delivery}}}\n"
    )
}

const PATIENT: &str = "retry: 1000, backoffPolicy: linear, backoffDelay: PT0.1S";

fn journal(server: &RedisServer) -> Arc<SharedJournal> {
    Arc::new(SharedJournal::open(&StoreArgs::redis(server.url(), "unused"), SHARED_JOURNAL).unwrap().unwrap())
}

async fn up(server: &RedisServer, yaml: &str, adjust: impl FnOnce(&mut RuntimeConfig)) -> Stage {
    Stage::up_with(yaml, |config| {
        config.shared_journal = Some(journal(server));
        adjust(config);
    })
    .await
}

/// A runtime as a process, and its ingress.
async fn launch(yaml: &str, folder: &Path, server: &RedisServer) -> (Child, String) {
    let manifest = folder.join("app.yaml");
    std::fs::write(&manifest, yaml).unwrap();
    let mut child = Command::new(programs().join("runtime_process"))
        .args([&manifest, &folder.join("home"), &programs()])
        .arg(server.url())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let line = BufReader::new(child.stdout.take().unwrap()).lines().next_line().await.unwrap();
    let ingress = line.expect("the runtime starts").split_once(' ').unwrap().1.to_owned();
    (child, ingress)
}

#[tokio::test]
async fn events_survive_the_death_of_the_runtime_and_the_loss_of_its_folder() {
    let server = RedisServer::start().unwrap();
    let broken = Sink::answering(&[503; 1000]).await;
    let folder = TempDir::new().unwrap();
    let (mut runtime, ingress) = launch(&eventing(&broken.url, PATIENT), folder.path(), &server).await;
    for number in 0..50 {
        assert_eq!(emit(&ingress, &format!("event-{number}"), "t").await.status, 202);
    }
    broken.wait_for(1).await;
    runtime.kill().await.unwrap();
    drop(folder);
    let (sink, elsewhere) = (Sink::start(&[]).await, TempDir::new().unwrap());
    // The dead runtime keeps the journal for some seconds.
    let (mut runtime, _) = launch(&eventing(&sink.url, PATIENT), elsewhere.path(), &server).await;
    let mut ids: Vec<String> = sink.wait_for(50).await.iter().map(|it| it.header("ce-id").to_owned()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 50);
    runtime.kill().await.unwrap();
}

#[tokio::test]
async fn a_killed_runtime_goes_on_at_once_in_its_own_folder() {
    let server = RedisServer::start().unwrap();
    let broken = Sink::answering(&[503; 1000]).await;
    let folder = TempDir::new().unwrap();
    let (mut runtime, ingress) = launch(&eventing(&broken.url, PATIENT), folder.path(), &server).await;
    assert_eq!(emit(&ingress, "1", "t").await.status, 202);
    broken.wait_for(2).await;
    runtime.kill().await.unwrap();
    let sink = Sink::start(&[]).await;
    let (mut runtime, ingress) = launch(&eventing(&sink.url, PATIENT), folder.path(), &server).await;
    assert_eq!(sink.wait_for(1).await[0].header("ce-id"), "1");
    assert_eq!(emit(&ingress, "2", "t").await.status, 202);
    sink.wait_for(2).await;
    runtime.kill().await.unwrap();
}

#[tokio::test]
async fn records_dead_letters_and_history_are_made_anew_from_redis() {
    let server = RedisServer::start().unwrap();
    let sink = Sink::answering(&[422, 200, 422]).await;
    let yaml = eventing(&sink.url, "retry: 0");
    let mut stage = up(&server, &yaml, |_| {}).await;
    stage.emit("dead", "t").await;
    stage.wait_for("end", |event| matches!(event, RuntimeEvent::EventDead { .. })).await;
    stage.emit("fine", "t").await;
    stage.wait_for("end", |event| matches!(event, RuntimeEvent::EventDelivered { .. })).await;
    stage.emit("redriven", "t").await;
    stage.wait_for("end", |event| matches!(event, RuntimeEvent::EventDead { id, .. } if id == "redriven")).await;
    // By a command beside the runtime.
    let letters = dead_letters(stage.home.path(), 10).unwrap();
    assert_eq!(redrive(stage.home.path(), &[letters[0].id]).unwrap(), 1);
    stage.wait_for("end", |event| matches!(event, RuntimeEvent::EventDelivered { id, .. } if id == "redriven")).await;
    let records = delivery_records(stage.home.path(), "dead").unwrap();
    drop(stage.down().await);

    let stage = up(&server, &yaml, |_| {}).await;
    assert_eq!(delivery_records(stage.home.path(), "dead").unwrap(), records);
    let states: Vec<DeliveryState> =
        delivery_records(stage.home.path(), "redriven").unwrap().iter().map(|record| record.state).collect();
    assert_eq!(states, [DeliveryState::Redriven, DeliveryState::Delivered]);
    let letters = dead_letters(stage.home.path(), 10).unwrap();
    assert_eq!(letters.iter().map(|letter| letter.event.id()).collect::<Vec<_>>(), ["dead"]);
    replay(stage.home.path(), "default/t", &ReplayFrom::Event("fine".to_owned())).unwrap();
    let again = sink.wait_for(6).await;
    let again: BTreeSet<&str> = again[4..].iter().map(|request| request.header("ce-id")).collect();
    assert_eq!(again, ["fine", "redriven"].into(), "what came before is not replayed");
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn without_redis_nothing_is_acknowledged_and_what_was_is_kept() {
    let mut server = RedisServer::start().unwrap();
    let broken = Sink::answering(&[503; 1000]).await;
    let mut stage = up(&server, &eventing(&broken.url, PATIENT), |_| {}).await;
    assert_eq!(stage.emit("before", "t").await.status, 202);
    stage.wait_for("retry", |event| matches!(event, RuntimeEvent::EventRetried { .. })).await;
    server.kill().unwrap();
    let answer = stage.emit("meanwhile", "t").await;
    assert_eq!(answer.status, 500, "{}", answer.text);
    assert!(answer.text.contains("redis://"), "{}", answer.text);
    server.restart().unwrap();
    assert_eq!(stage.emit("after", "t").await.status, 202);
    let home = stage.down().await;
    drop(home);
    let sink = Sink::start(&[]).await;
    let stage = up(&server, &eventing(&sink.url, PATIENT), |_| {}).await;
    let mut ids: Vec<String> = sink.wait_for(2).await.iter().map(|it| it.header("ce-id").to_owned()).collect();
    ids.sort();
    assert_eq!(ids, ["after", "before"]);
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn one_runtime_at_a_time_writes_a_journal() {
    let server = RedisServer::start().unwrap();
    let first = up(&server, "", |_| {}).await;
    let home = TempDir::new().unwrap();
    let mut config = crate::stage::config("", home.path());
    config.shared_journal = Some(journal(&server));
    let error = Runtime::start(config.clone()).await.expect_err("it has an owner");
    assert!(matches!(&error, Error::Journal(_)), "{error}");
    assert!(error.to_string().contains("another runtime writes the journal in redis://"), "{error}");
    first.runtime.shutdown().await;
    Runtime::start(config).await.unwrap().shutdown().await;
}

#[tokio::test]
async fn a_stream_is_cleaned_and_still_holds_everything() {
    let server = RedisServer::start().unwrap();
    let sink = Sink::answering(&[422]).await;
    let yaml = eventing(&sink.url, "retry: 0");
    let mut stage = up(&server, &yaml, |config| config.event_retention = Duration::ZERO).await;
    stage.emit("dead", "t").await;
    stage.wait_for("end", |event| matches!(event, RuntimeEvent::EventDead { .. })).await;
    let first = journal(&server).read("0", 1).await.unwrap().swap_remove(0);
    // Old events are looked for every thousand new ones, and each event is at least one entry here.
    for number in 0..2100 {
        assert_eq!(stage.emit(&number.to_string(), "t").await.status, 202);
    }
    sink.wait_for(2101).await;
    assert!(!journal(&server).has(&first.id).await.unwrap(), "the oldest entry is gone");
    drop(stage.down().await);
    let stage = up(&server, &yaml, |_| {}).await;
    let letters = dead_letters(stage.home.path(), 10).unwrap();
    assert_eq!(
        letters.iter().map(|letter| letter.event.id()).collect::<Vec<_>>(),
        ["dead"],
        "what its entry said is not"
    );
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn a_redis_that_lost_the_journal_gets_it_again() {
    let (lost, empty) = (RedisServer::start().unwrap(), RedisServer::start().unwrap());
    let broken = Sink::answering(&[503; 1000]).await;
    let mut stage = up(&lost, &eventing(&broken.url, PATIENT), |_| {}).await;
    assert_eq!(stage.emit("1", "t").await.status, 202);
    stage.wait_for("retry", |event| matches!(event, RuntimeEvent::EventRetried { .. })).await;
    let home = stage.down().await;
    let mut config = crate::stage::config(&eventing(&broken.url, PATIENT), home.path());
    config.shared_journal = Some(journal(&empty));
    Runtime::start(config).await.unwrap().shutdown().await;
    drop(home);
    let sink = Sink::start(&[]).await;
    let stage = up(&empty, &eventing(&sink.url, PATIENT), |_| {}).await;
    assert_eq!(sink.wait_for(1).await[0].header("ce-id"), "1");
    stage.runtime.shutdown().await;
}

#[tokio::test]
async fn a_command_finds_the_journal_that_is_in_use() {
    let server = RedisServer::start().unwrap();
    let sink = Sink::start(&[]).await;
    let yaml = eventing(&sink.url, "retry: 0");
    let stage = Stage::up(&yaml).await;
    stage.emit("file", "t").await;
    sink.wait_for(1).await;
    let home = stage.down().await;
    let known = |id: &str| !delivery_records(home.path(), id).unwrap().is_empty();
    assert!(known("file"));
    let mut config = crate::stage::config(&yaml, home.path());
    config.shared_journal = Some(journal(&server));
    let runtime = Runtime::start(config).await.unwrap();
    assert_eq!(emit(&runtime.addresses().ingress.to_string(), "redis", "t").await.status, 202);
    eventually("its delivery is recorded", || known("redis")).await;
    assert!(!known("file"), "that is another journal");
    runtime.shutdown().await;
}
