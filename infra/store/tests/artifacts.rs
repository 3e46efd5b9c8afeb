//! Artifacts in both stores.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use regrove_events::Artifact;
use regrove_store::artifact::{Error, sha256};
use regrove_store::{Artifacts, Control, StoreArgs};
use regrove_test_support::RedisServer;

/// FIPS 180-2, appendix B.1: the hash of `abc`.
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
/// More than two chunks in Redis.
const LARGE: usize = 9 * 1024 * 1024 + 17;
/// Enough for a thread of its own to compare the hash.
const APART: usize = 1024 * 1024 + 17;

fn named(sha256: &str, bytes: u64) -> Artifact {
    Artifact { sha256: sha256.to_owned(), bytes }
}

async fn keeps_bytes(writer: &Artifacts, reader: &Artifacts) -> Result<()> {
    let large: Vec<u8> = (0..=250).cycle().take(LARGE).collect();
    for bytes in [&b"abc"[..], b"", &large] {
        let artifact = writer.put(bytes.to_vec()).await?;
        assert_eq!(artifact, named(&sha256(bytes), bytes.len() as u64));
        assert_eq!(writer.put(bytes.to_vec()).await?, artifact, "again");
        assert!(reader.contains(&artifact).await?);
        assert_eq!(reader.get(&artifact).await?, bytes);
        assert_eq!(reader.get_built(&artifact, |bytes| bytes.to_vec()).await?, bytes);
        let path = reader.open(&artifact).await?;
        assert_eq!(fs::read(&path)?, bytes);
        assert_eq!(reader.open(&artifact).await?, path);
    }
    assert_eq!(writer.put("abc").await?.sha256, ABC);
    let at_once = (0..8).map(|_| {
        let (writer, large) = (writer.clone(), [&large[..], b"together"].concat());
        tokio::spawn(async move { writer.put(large).await })
    });
    for put in at_once.collect::<Vec<_>>() {
        reader.get(&put.await??).await?;
    }
    Ok(())
}

async fn refuses(artifacts: &Artifacts) -> Result<()> {
    let absent = named(&sha256(b"never stored"), 12);
    assert!(!artifacts.contains(&absent).await?);
    assert!(matches!(artifacts.get(&absent).await, Err(Error::Missing { sha256, .. }) if sha256 == absent.sha256));
    assert!(matches!(artifacts.open(&absent).await, Err(Error::Missing { .. })));
    artifacts.put("abc").await?;
    let built = artifacts.get_built(&named(ABC, 3), |bytes| assert!(bytes.is_empty(), "three bytes")).await;
    assert!(matches!(&built, Err(Error::Unusable { sha256, .. }) if sha256 == ABC), "{built:?}");
    assert!(matches!(artifacts.get(&named(ABC, 4)).await, Err(Error::Corrupt { .. })), "another length");
    for name in ["", "../../etc/passwd", &ABC.to_uppercase(), &format!("{ABC}0"), "ba78"] {
        assert!(matches!(artifacts.get(&named(name, 3)).await, Err(Error::Name { .. })), "{name}");
        assert!(matches!(artifacts.contains(&named(name, 3)).await, Err(Error::Name { .. })), "{name}");
    }
    Ok(())
}

async fn limits(args: StoreArgs) -> Result<()> {
    let small = Control::open(&StoreArgs { artifact_bytes_max: 3, ..args })?.artifacts;
    small.put("abc").await?;
    let refused = small.put("abcd").await;
    assert!(matches!(refused, Err(Error::TooLarge { bytes: 4, limit: 3 })), "{refused:?}");
    assert!(matches!(small.get(&named(ABC, 1 << 40)).await, Err(Error::TooLarge { limit: 3, .. })));
    Ok(())
}

async fn all(args: StoreArgs, other_home: PathBuf) -> Result<()> {
    let writer = Control::open(&args)?.artifacts;
    let reader = Control::open(&StoreArgs { home: other_home, ..args.clone() })?.artifacts;
    keeps_bytes(&writer, &reader).await?;
    refuses(&reader).await?;
    limits(args).await
}

#[tokio::test]
async fn files() -> Result<()> {
    let home = tempfile::tempdir()?;
    all(StoreArgs::embedded(home.path()), home.path().to_owned()).await?;
    let leftovers = fs::read_dir(home.path().join("artifacts/sha256/ba"))?.count();
    assert_eq!(leftovers, 1, "drafts are left");
    Ok(())
}

#[tokio::test]
async fn redis() -> Result<()> {
    let (home, other) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let server = RedisServer::start()?;
    all(StoreArgs::redis(server.url(), home.path()), other.path().to_owned()).await
}

#[tokio::test]
async fn a_damaged_file_is_noticed_and_mended() -> Result<()> {
    let home = tempfile::tempdir()?;
    let artifacts = Control::embedded(home.path()).artifacts;
    for right in [b"abc".to_vec(), vec![7; APART]] {
        let artifact = artifacts.put(right.clone()).await?;
        let path = artifacts.open(&artifact).await?;
        let (mut flipped, last) = (right.clone(), right.len() - 1);
        flipped[last] ^= 1;
        for damaged in [flipped, right[..last].to_vec(), [&right[..], b"d"].concat(), Vec::new()] {
            let what = format!("{} of {} bytes", damaged.len(), right.len());
            fs::write(&path, &damaged)?;
            assert!(matches!(artifacts.get(&artifact).await, Err(Error::Corrupt { .. })), "{what}");
            assert!(matches!(artifacts.open(&artifact).await, Err(Error::Corrupt { .. })), "{what}");
            let built = artifacts.get_built(&artifact, |bytes| bytes.len()).await;
            assert!(matches!(built, Err(Error::Corrupt { .. })), "{what}: {built:?}");
            artifacts.put(right.clone()).await?;
            assert_eq!(artifacts.get(&artifact).await?, right);
        }
    }
    Ok(())
}

#[tokio::test]
async fn redis_forgets_after_the_named_days_and_notices_damage() -> Result<()> {
    let home = tempfile::tempdir()?;
    let server = RedisServer::start()?;
    let args = StoreArgs { artifact_days: 2, ..StoreArgs::redis(server.url(), home.path()) };
    let artifacts = Control::open(&args)?.artifacts;
    let artifact = artifacts.put("abc").await?;
    let ask = |command: &[&str]| -> Result<String> {
        let port = server.port().to_string();
        let output = std::process::Command::new("redis-cli").args(["-p", &port]).args(command).output()?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    let key = format!("regrove:artifact:{ABC}:0");
    let seconds: u32 = ask(&["TTL", &key])?.parse()?;
    assert!((172_700..=172_800).contains(&seconds), "{seconds}");
    ask(&["EXPIRE", &key, "100"])?;
    artifacts.put("abc").await?;
    let seconds: u32 = ask(&["TTL", &key])?.parse()?;
    assert!(seconds > 172_700, "storing again keeps it for longer: {seconds}");
    ask(&["EXPIRE", &key, "100"])?;
    assert!(artifacts.keep(&artifact).await?);
    let seconds: u32 = ask(&["TTL", &key])?.parse()?;
    assert!(seconds > 172_700, "and so does asking for it: {seconds}");
    ask(&["SET", &key, "abd"])?;
    assert!(matches!(artifacts.get(&artifact).await, Err(Error::Corrupt { .. })));
    assert_eq!(artifacts.replace("abc").await?, artifact);
    assert_eq!(artifacts.get(&artifact).await?, "abc", "mended");
    ask(&["DEL", &key])?;
    assert!(!artifacts.keep(&artifact).await?);
    assert!(matches!(artifacts.get(&artifact).await, Err(Error::Missing { .. })));
    Ok(())
}
