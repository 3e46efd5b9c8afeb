//! The event log's conformance suite, against SQLite and real Redis servers.

use std::path::Path;

use anyhow::Result;
use regrove_events::log::conformance::{Subject, all};
use regrove_store::{Control, StoreArgs, StoreKind};
use regrove_test_support::{RedisOptions, RedisServer};

/// As many handles as processes might have, each with connections of its own.
const HANDLES: usize = 3;

async fn conforms(args: &StoreArgs, kind: StoreKind) -> Result<()> {
    let controls = (0..HANDLES).map(|_| Control::open(args)).collect::<Result<Vec<_>, _>>()?;
    assert!(controls.iter().all(|control| control.kind() == kind));
    let handles: Vec<_> = controls.into_iter().map(|control| control.log).collect();
    for run in ["first", "second"] {
        all(&Subject { handles: handles.clone(), run: run.to_owned() }).await?;
    }
    all(&Subject { handles: handles.into_iter().take(1).collect(), run: "alone".to_owned() }).await?;
    Ok(())
}

fn home() -> Result<tempfile::TempDir> {
    Ok(tempfile::tempdir()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite() -> Result<()> {
    let home = home()?;
    conforms(&StoreArgs::embedded(home.path().join("not/there/yet")), StoreKind::Embedded).await
}

#[tokio::test]
async fn sqlite_on_one_thread() -> Result<()> {
    let home = home()?;
    conforms(&StoreArgs::embedded(home.path()), StoreKind::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn redis() -> Result<()> {
    let server = RedisServer::start()?;
    conforms(&StoreArgs::redis(server.url(), Path::new("unused")), StoreKind::Redis).await
}

#[tokio::test]
async fn redis_over_tls_as_an_acl_user() -> Result<()> {
    let user = Some(("regrove".to_owned(), "s3cret".to_owned()));
    let server = RedisServer::start_with(RedisOptions { tls: true, user })?;
    let args = StoreArgs { redis_ca: Some(server.ca()), ..StoreArgs::redis(server.url(), "unused") };
    conforms(&args, StoreKind::Redis).await
}
