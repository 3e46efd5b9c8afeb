//! Leases in both stores.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use regrove_store::lease::Error;
use regrove_store::{Control, Leases, StoreArgs};
use regrove_test_support::RedisServer;

const LONG: Duration = Duration::from_mins(1);
const SHORT: Duration = Duration::from_millis(300);
/// Renewed once a second, which a machine that is busy may do late, but not by three seconds.
const RENEWED: Duration = Duration::from_secs(4);

async fn excludes(first: &Leases, second: &Leases) -> Result<()> {
    let lease = first.acquire("register/a", "first", LONG).await?.context("free")?;
    assert_eq!(second.acquire("register/a", "second", LONG).await?, None);
    assert_eq!(second.holder("register/a").await?.as_deref(), Some("first"));
    assert!(second.acquire("register/b", "second", LONG).await?.is_some(), "another key");
    assert!(first.renew(&lease, LONG).await?);
    first.release(&lease).await?;
    assert_eq!(second.holder("register/a").await?, None);
    let taken = second.acquire("register/a", "second", LONG).await?.context("given back")?;
    // Whoever lost it can neither renew it nor give it back.
    assert!(!first.renew(&lease, LONG).await?);
    first.release(&lease).await?;
    assert_eq!(first.holder("register/a").await?.as_deref(), Some("second"));
    second.release(&taken).await?;
    Ok(())
}

async fn ends_by_itself(first: &Leases, second: &Leases) -> Result<()> {
    let lease = first.acquire("ends", "first", SHORT).await?.context("free")?;
    let guard = second.guard("ends", LONG).await?;
    assert!(!first.renew(&lease, SHORT).await?);
    assert!(guard.is_held());
    guard.release().await;
    assert_eq!(first.holder("ends").await?, None);
    Ok(())
}

async fn is_renewed_while_held(first: &Leases, second: &Leases) -> Result<()> {
    let first = first.clone().with_ttl(RENEWED);
    let guard = first.guard("renewed", Duration::ZERO).await?;
    let refused = second.guard("renewed", RENEWED * 3 / 2).await;
    assert!(matches!(&refused, Err(Error::Busy { key, .. }) if key == "renewed"), "{refused:?}");
    assert!(guard.is_held());
    drop(guard);
    second.guard("renewed", LONG).await?.release().await;
    Ok(())
}

async fn work_is_done_one_at_a_time(first: &Leases, second: &Leases) -> Result<()> {
    let (inside, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut workers = Vec::new();
    for number in 0..8 {
        let leases = if number % 2 == 0 { first.clone() } else { second.clone() };
        let (inside, done) = (Arc::clone(&inside), Arc::clone(&done));
        workers.push(tokio::spawn(async move {
            leases
                .with_lease("work", LONG, || async {
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two at the same time");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                    done.fetch_add(1, Ordering::SeqCst);
                    Ok::<_, Error>(())
                })
                .await
        }));
    }
    for worker in workers {
        worker.await??;
    }
    assert_eq!(done.load(Ordering::SeqCst), 8);
    Ok(())
}

async fn all(args: &StoreArgs) -> Result<()> {
    let (first, second) = (Control::open(args)?.leases, Control::open(args)?.leases);
    excludes(&first, &second).await?;
    ends_by_itself(&first, &second).await?;
    is_renewed_while_held(&first, &second).await?;
    work_is_done_one_at_a_time(&first, &second).await
}

#[tokio::test]
async fn sqlite() -> Result<()> {
    let home = tempfile::tempdir()?;
    all(&StoreArgs::embedded(home.path())).await
}

#[tokio::test]
async fn redis() -> Result<()> {
    let server = RedisServer::start()?;
    all(&StoreArgs::redis(server.url(), "unused")).await
}

#[tokio::test]
async fn work_stops_when_its_lease_cannot_be_renewed() -> Result<()> {
    let mut server = RedisServer::start()?;
    let leases = Control::open(&StoreArgs::redis(server.url(), "unused"))?.leases.with_ttl(SHORT);
    let stopped = leases
        .with_lease("lost", Duration::ZERO, || async {
            server.kill().unwrap();
            std::future::pending::<Result<(), Error>>().await
        })
        .await;
    assert!(matches!(&stopped, Err(Error::Lost { key }) if key == "lost"), "{stopped:?}");
    Ok(())
}
