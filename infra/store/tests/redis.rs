//! What only a server on a network can do: refuse, go away, come back, lose an answer.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use regrove_events::CloudEvent;
use regrove_events::log::Error;
use regrove_store::{Control, StoreArgs};
use regrove_test_support::{FaultyProxy, Port, RedisOptions, RedisServer};

fn event(id: &str) -> Result<CloudEvent> {
    Ok(CloudEvent::builder(id, "/test", "io.regrove.test").build()?)
}

fn ids(events: &[CloudEvent]) -> Vec<String> {
    events.iter().map(|event| event.id().to_owned()).collect()
}

#[tokio::test]
async fn an_append_whose_answer_was_lost_is_there_once() -> Result<()> {
    let server = RedisServer::start()?;
    let proxy = FaultyProxy::start(server.port()).await?;
    let control = Control::open(&StoreArgs::redis(format!("redis://127.0.0.1:{}", proxy.port()), "unused"))?;
    assert_eq!(control.log.append("job/a", 0, &[event("1")?]).await?, 1);
    proxy.lose_answers(2);
    assert_eq!(control.log.append("job/a", 1, &[event("2")?, event("3")?]).await?, 3);
    assert_eq!(proxy.lost(), 2, "the proxy lost no answer: the test tests nothing");
    assert_eq!(ids(&control.log.read("job/a", 0).await?), ["1", "2", "3"]);
    assert_eq!(control.log.head().await?, 3);
    Ok(())
}

#[tokio::test]
async fn a_conflict_whose_answer_was_lost_stays_a_conflict() -> Result<()> {
    let server = RedisServer::start()?;
    let proxy = FaultyProxy::start(server.port()).await?;
    let direct = Control::open(&StoreArgs::redis(server.url(), "unused"))?;
    let faulty = Control::open(&StoreArgs::redis(format!("redis://127.0.0.1:{}", proxy.port()), "unused"))?;
    faulty.log.append("job/a", 0, &[event("1")?]).await?;
    direct.log.append("job/a", 1, &[event("theirs")?]).await?;
    proxy.lose_answers(1);
    let refused = faulty.log.append("job/a", 1, &[event("ours")?]).await;
    assert!(matches!(refused, Err(Error::Conflict { expected: 1, actual: 2, .. })), "{refused:?}");
    assert_eq!(proxy.lost(), 1);
    assert_eq!(ids(&direct.log.read("job/a", 0).await?), ["1", "theirs"]);
    Ok(())
}

#[tokio::test]
async fn a_lease_whose_answer_was_lost_is_ours() -> Result<()> {
    let server = RedisServer::start()?;
    let proxy = FaultyProxy::start(server.port()).await?;
    let control = Control::open(&StoreArgs::redis(format!("redis://127.0.0.1:{}", proxy.port()), "unused"))?;
    control.leases.acquire("warm", "up", Duration::from_mins(1)).await?;
    proxy.lose_answers(1);
    let lease = control.leases.acquire("key", "me", Duration::from_mins(1)).await?;
    assert_eq!(proxy.lost(), 1);
    assert_eq!(lease.map(|lease| lease.key).as_deref(), Some("key"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_go_on_after_ten_seconds_without_redis() -> Result<()> {
    let mut server = RedisServer::start()?;
    let control = Control::open(&StoreArgs::redis(server.url(), "unused"))?;
    let log = control.log.clone();
    log.append("job/a", 0, &[event("0")?]).await?;
    let writer = {
        let log = control.log.clone();
        tokio::spawn(async move {
            for version in 1..200 {
                log.append("job/a", version, &[event(&version.to_string())?]).await?;
            }
            anyhow::Ok(())
        })
    };
    let waiter = {
        let log = control.log.clone();
        tokio::spawn(async move { log.wait(199, Duration::from_mins(1)).await })
    };
    // Killed somewhere in the middle of the appends.
    while log.head().await? < 20 {}
    server.kill()?;
    let away = tokio::task::spawn_blocking(move || {
        std::thread::sleep(Duration::from_secs(10));
        server.restart().map(|()| server)
    });
    let _server = away.await??;
    writer.await??;
    assert!(waiter.await??, "the wait missed the last append");
    let expected: Vec<String> = (0..200).map(|id| id.to_string()).collect();
    assert_eq!(ids(&log.read("job/a", 0).await?), expected);
    assert_eq!(log.tail(0, 1000).await?.iter().map(|entry| entry.version).max(), Some(200));
    Ok(())
}

#[tokio::test]
async fn a_server_that_answers_nothing_for_a_while_is_asked_again() -> Result<()> {
    let server = RedisServer::start()?;
    let control = Control::open(&StoreArgs::redis(server.url(), "unused"))?;
    control.log.append("job/a", 0, &[event("0")?]).await?;
    server.pause()?;
    let append = tokio::spawn({
        let log = control.log.clone();
        async move { anyhow::Ok(log.append("job/a", 1, &[event("1")?]).await?) }
    });
    tokio::time::sleep(Duration::from_secs(6)).await;
    server.resume()?;
    assert_eq!(append.await??, 2);
    assert_eq!(ids(&control.log.read("job/a", 0).await?), ["0", "1"]);
    Ok(())
}

#[tokio::test]
async fn a_server_that_never_was_there_is_an_error_soon() -> Result<()> {
    let nobody = Port::reserve()?;
    let address = nobody.address();
    let control = Control::open(&StoreArgs::redis(format!("redis://u:s3cret@{address}/0"), "unused"))?;
    let since = Instant::now();
    let error = control.check().await.unwrap_err();
    // One that has answered before is tried for twenty seconds, another one for two.
    assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    assert!(!format!("{error} {error:?} {control:?}").contains("s3cret"), "{error:?}");
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_is_an_error_without_the_password() -> Result<()> {
    let user = Some(("regrove".to_owned(), "s3cret".to_owned()));
    let server = RedisServer::start_with(RedisOptions { tls: false, user })?;
    let url = format!("redis://127.0.0.1:{}", server.port());
    let with = |user: &str, password: &str| StoreArgs {
        redis_username: Some(user.to_owned()),
        redis_password: Some(password.to_owned()),
        ..StoreArgs::redis(&url, "unused")
    };
    Control::open(&with("regrove", "s3cret"))?.check().await?;
    let error = Control::open(&with("regrove", "wr0ng"))?.check().await.unwrap_err();
    assert!(error.to_string().to_lowercase().contains("auth"), "{error}");
    assert!(!format!("{error} {error:?}").contains("wr0ng"), "{error:?}");
    Ok(())
}

/// What was logged, as text.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Logged {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_forgetful_server_is_warned_of() -> Result<()> {
    let server = RedisServer::start()?;
    let client = redis::Client::open(server.url())?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    for (name, value) in [("appendonly", "no"), ("maxmemory", "100mb"), ("maxmemory-policy", "allkeys-lru")] {
        redis::cmd("CONFIG").arg("SET").arg(name).arg(value).exec_async(&mut connection).await?;
    }
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    Control::open(&StoreArgs::redis(server.url(), "unused"))?.check().await?;
    let both = async {
        while !(logged.text().contains("appendonly yes") && logged.text().contains("noeviction")) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), both).await?;
    Ok(())
}

#[tokio::test]
async fn an_unknown_certificate_authority_is_refused() -> Result<()> {
    let server = RedisServer::start_with(RedisOptions { tls: true, user: None })?;
    let other = RedisServer::start_with(RedisOptions { tls: true, user: None })?;
    let args = StoreArgs { redis_ca: Some(other.ca()), ..StoreArgs::redis(server.url(), "unused") };
    let error = Control::open(&args)?.check().await.unwrap_err();
    assert!(matches!(error, Error::Store { store: "redis", .. }), "{error:?}");
    Ok(())
}
