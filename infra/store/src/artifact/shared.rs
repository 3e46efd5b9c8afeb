//! Artifacts in Redis, in chunks that expire: `regrove:artifact:<hash>:<chunk>`.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use regrove_events::Artifact;

use super::{Error, Held};
use crate::redis_link::{Failure, Link};

/// Bytes per key: small enough that no single command holds the server up.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

const KEY: &str = "regrove:artifact:";

/// Artifacts for many machines.
#[derive(Debug, Clone)]
pub(super) struct Chunks {
    link: Arc<Link>,
    expiry: Duration,
}

fn store_error(failure: Failure) -> Error {
    Error::Store { message: failure.to_string(), source: Box::new(failure) }
}

fn key(artifact: &Artifact, chunk: usize) -> String {
    format!("{KEY}{}:{chunk}", artifact.sha256)
}

/// How many chunks there are: one at least, so that an empty artifact can be there or not.
fn count(artifact: &Artifact) -> usize {
    usize::try_from(artifact.bytes).unwrap_or(usize::MAX).div_ceil(CHUNK_BYTES).max(1)
}

impl Chunks {
    pub(super) fn new(link: Arc<Link>, expiry: Duration) -> Self {
        Self { link, expiry }
    }

    pub(super) fn place(&self) -> &str {
        self.link.place()
    }

    /// Stores the chunks that are not there, or all of them if what is there is doubted, and has all of them expire later.
    pub(super) async fn put(&self, artifact: &Artifact, bytes: &Bytes, held: Held) -> Result<(), Error> {
        let expiry = self.expiry.as_secs();
        for chunk in 0..count(artifact) {
            let key = key(artifact, chunk);
            let part = part(bytes, chunk);
            if held == Held::Trusted && self.prolong(&key, part.len()).await? {
                continue;
            }
            self.link
                .ask(|mut connection, _| {
                    let mut set = redis::cmd("SET");
                    set.arg(&key).arg(part.as_ref()).arg("EX").arg(expiry);
                    async move { set.query_async::<()>(&mut connection).await }
                })
                .await
                .map_err(store_error)?;
        }
        Ok(())
    }

    /// Has a chunk expire later; `false` when it is not there, or has another length.
    async fn prolong(&self, key: &str, length: usize) -> Result<bool, Error> {
        let expiry = self.expiry.as_secs();
        self.link
            .ask(|mut connection, _| {
                let mut look = redis::pipe();
                look.cmd("STRLEN").arg(key).cmd("EXPIRE").arg(key).arg(expiry);
                async move {
                    let (held, kept): (usize, bool) = look.query_async(&mut connection).await?;
                    Ok(kept && held == length)
                }
            })
            .await
            .map_err(store_error)
    }

    /// The bytes as they are stored, not yet compared.
    pub(super) async fn get(&self, artifact: &Artifact) -> Result<Bytes, Error> {
        let mut bytes = BytesMut::new();
        for chunk in 0..count(artifact) {
            let key = key(artifact, chunk);
            let part: Option<Bytes> = self
                .link
                .ask(|mut connection, _| {
                    let mut get = redis::cmd("GET");
                    get.arg(&key);
                    async move { get.query_async(&mut connection).await }
                })
                .await
                .map_err(store_error)?;
            let Some(part) = part else {
                return Err(Error::Missing { sha256: artifact.sha256.clone(), place: self.place().to_owned() });
            };
            bytes.extend_from_slice(&part);
        }
        Ok(bytes.freeze())
    }

    pub(super) async fn contains(&self, artifact: &Artifact) -> Result<bool, Error> {
        let count = count(artifact);
        let found: usize = self
            .link
            .ask(|mut connection, _| {
                let mut exists = redis::cmd("EXISTS");
                for chunk in 0..count {
                    exists.arg(key(artifact, chunk));
                }
                async move { exists.query_async(&mut connection).await }
            })
            .await
            .map_err(store_error)?;
        Ok(found == count)
    }

    /// Has all chunks expire later. `false` when there is one missing.
    pub(super) async fn keep(&self, artifact: &Artifact) -> Result<bool, Error> {
        let expiry = self.expiry.as_secs();
        let there: Vec<bool> = self
            .link
            .ask(|mut connection, _| {
                let mut prolong = redis::pipe();
                for chunk in 0..count(artifact) {
                    prolong.cmd("EXPIRE").arg(key(artifact, chunk)).arg(expiry);
                }
                async move { prolong.query_async(&mut connection).await }
            })
            .await
            .map_err(store_error)?;
        Ok(!there.contains(&false))
    }
}

fn part(bytes: &Bytes, chunk: usize) -> Bytes {
    let from = (chunk * CHUNK_BYTES).min(bytes.len());
    bytes.slice(from..(from + CHUNK_BYTES).min(bytes.len()))
}
