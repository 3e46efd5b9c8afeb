//! Artifacts: bytes under the name of their SHA-256.
//!
//! Storing the same bytes again is harmless, and whoever reads them knows that they are the right ones.

mod files;
mod shared;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use regrove_events::Artifact;

use crate::redis_link::Link;

pub use regrove_hash::sha256;

/// Largest artifact in bytes unless `--artifact-bytes-max` says otherwise: 512 MiB.
pub const ARTIFACT_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Days that Redis keeps an artifact after it was last stored, unless `--artifact-days` says otherwise.
pub const ARTIFACT_DAYS: u32 = 7;
/// Bytes from which a thread of its own compares the hash. All that it saves is the time of building: half a millisecond for a
/// model of 1 MiB, hashed in three to six (Cascade Lake, no SHA extensions); two more threads start in up to 0.2 ms, and take
/// processor time that a cold start has to share.
const APART_BYTES: u64 = 1 << 20;

/// Why there are no bytes, or not the right ones.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing is stored under the hash: it was never there, or it has expired.
    #[error("artifact {sha256} is not in {place}")]
    Missing {
        /// The hash.
        sha256: String,
        /// Where it was looked for.
        place: String,
    },
    /// What is stored has another hash or length.
    #[error("artifact {sha256} in {place} is damaged: {reason}")]
    Corrupt {
        /// The hash.
        sha256: String,
        /// Where it is.
        place: String,
        /// What is different.
        reason: String,
    },
    /// It is over the limit.
    #[error("an artifact of {bytes} bytes is over the limit of {limit} bytes (--artifact-bytes-max)")]
    TooLarge {
        /// How large it is.
        bytes: u64,
        /// How large it may be.
        limit: u64,
    },
    /// The name is not that of an artifact.
    #[error("`{sha256}` is not a SHA-256 in 64 lower-case hexadecimal digits")]
    Name {
        /// The name.
        sha256: String,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What was to be made of it panicked.
    #[error("artifact {sha256} cannot be used: {source}")]
    Unusable {
        /// The hash.
        sha256: String,
        /// How the work ended.
        source: tokio::task::JoinError,
    },
    /// Redis cannot be reached or refuses.
    #[error("artifacts (redis) failed: {message}")]
    Store {
        /// What it said.
        message: String,
        /// Its own error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Keeps bytes under their hash. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Artifacts {
    files: files::Files,
    redis: Option<shared::Chunks>,
    bytes_max: u64,
}

/// What is thought of bytes in Redis that have the right name and length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Trusted,
    Doubted,
}

/// Bytes that came over the network, or where their file is.
#[derive(Debug)]
enum Fetched {
    Bytes(Bytes, String),
    Named(files::Files),
}

impl Fetched {
    /// The bytes, and where they come from. Blocks.
    fn read(self, artifact: &Artifact) -> Result<(Bytes, String), Error> {
        match self {
            Self::Bytes(bytes, place) => Ok((bytes, place)),
            Self::Named(files) => files.read(artifact).map(|bytes| (bytes, files.place())),
        }
    }
}

impl Artifacts {
    pub(crate) fn files(directory: PathBuf, bytes_max: u64) -> Self {
        Self { files: files::Files::new(directory), redis: None, bytes_max }
    }

    pub(crate) fn redis(link: Arc<Link>, expiry: Duration, directory: PathBuf, bytes_max: u64) -> Self {
        let redis = Some(shared::Chunks::new(link, expiry));
        Self { files: files::Files::new(directory), redis, bytes_max }
    }

    /// Stores bytes and says under which name. Bytes that are there already only stay there for longer.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::File`], [`Error::Store`].
    pub async fn put(&self, bytes: impl Into<Bytes>) -> Result<Artifact, Error> {
        self.store(bytes.into(), Held::Trusted).await
    }

    /// Stores bytes over whatever lies under their name, which may be damaged. Costs more than [`put`](Self::put) where they
    /// are there already.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub async fn replace(&self, bytes: impl Into<Bytes>) -> Result<Artifact, Error> {
        self.store(bytes.into(), Held::Doubted).await
    }

    async fn store(&self, bytes: Bytes, held: Held) -> Result<Artifact, Error> {
        self.check_size(bytes.len() as u64)?;
        let hashed = bytes.clone();
        let sha256 = blocking(move || Ok(sha256(&hashed))).await?;
        let artifact = Artifact { sha256, bytes: bytes.len() as u64 };
        if let Some(redis) = &self.redis {
            redis.put(&artifact, &bytes, held).await?;
        } else {
            // Files are compared whenever they are put.
            let (files, artifact) = (self.files.clone(), artifact.clone());
            blocking(move || files.put(&artifact, &bytes)).await?;
        }
        Ok(artifact)
    }

    /// Stores a file whose hash and length are known, and takes the file away if it can become the artifact itself.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::File`], [`Error::Store`].
    pub async fn put_file(&self, artifact: &Artifact, path: PathBuf) -> Result<(), Error> {
        self.check(artifact)?;
        let (files, named) = (self.files.clone(), artifact.clone());
        let Some(redis) = &self.redis else { return blocking(move || files.adopt(&named, &path)).await };
        let read = move || std::fs::read(&path).map_err(|source| Error::File { path, source });
        let bytes = Bytes::from(blocking(read).await?);
        redis.put(artifact, &bytes, Held::Trusted).await
    }

    /// The bytes, after their hash has been compared.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Corrupt`], [`Error::TooLarge`], [`Error::Name`], [`Error::File`],
    /// [`Error::Store`].
    pub async fn get(&self, artifact: &Artifact) -> Result<Bytes, Error> {
        let (bytes, place) = self.unverified(artifact).await?;
        let artifact = artifact.clone();
        blocking(move || verify(&artifact, &bytes, &place).map(|()| bytes)).await
    }

    /// What `build` makes of the bytes. Of large ones it is made while another thread compares their hash, so it must bear any
    /// bytes; what it has made is dropped when they are not the right ones.
    ///
    /// # Errors
    /// As [`get`](Self::get); [`Error::Unusable`] when `build` panics over the right bytes.
    pub async fn get_built<T: Send + 'static>(
        &self,
        artifact: &Artifact,
        build: impl FnOnce(Bytes) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let unusable = |source| Error::Unusable { sha256: artifact.sha256.clone(), source };
        let named = artifact.clone();
        if artifact.bytes < APART_BYTES {
            let fetched = self.fetch(artifact).await?;
            let work = move || {
                let (bytes, place) = fetched.read(&named)?;
                verify(&named, &bytes, &place).map(|()| build(bytes))
            };
            return tokio::task::spawn_blocking(work).await.map_err(unusable)?;
        }
        let (bytes, place) = self.unverified(artifact).await?;
        let hashed = bytes.clone();
        let building = tokio::task::spawn_blocking(move || build(bytes));
        let (verified, made) = tokio::join!(blocking(move || verify(&named, &hashed, &place)), building);
        verified?;
        made.map_err(unusable)
    }

    /// Bytes whose length is right, and where they come from.
    async fn unverified(&self, artifact: &Artifact) -> Result<(Bytes, String), Error> {
        let (fetched, artifact) = (self.fetch(artifact).await?, artifact.clone());
        blocking(move || fetched.read(&artifact)).await
    }

    /// As much as can be done before a thread may block.
    async fn fetch(&self, artifact: &Artifact) -> Result<Fetched, Error> {
        self.check(artifact)?;
        Ok(match &self.redis {
            Some(redis) => Fetched::Bytes(redis.get(artifact).await?, redis.place().to_owned()),
            None => Fetched::Named(self.files.clone()),
        })
    }

    /// A file with the bytes, to be read or mapped, after their hash has been compared. Nobody ever changes the file.
    ///
    /// From Redis it is fetched first, unless it was fetched before.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn open(&self, artifact: &Artifact) -> Result<PathBuf, Error> {
        self.check(artifact)?;
        let (files, named) = (self.files.clone(), artifact.clone());
        let local = blocking(move || files.open(&named)).await;
        if self.redis.is_none() || local.is_ok() {
            return local;
        }
        let bytes = self.get(artifact).await?;
        let (files, named) = (self.files.clone(), artifact.clone());
        blocking(move || files.put(&named, &bytes).map(|()| files.path(&named.sha256))).await
    }

    /// Whether the artifact is there. Its bytes are not looked at.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::File`], [`Error::Store`].
    pub async fn contains(&self, artifact: &Artifact) -> Result<bool, Error> {
        check_name(artifact)?;
        if let Some(redis) = &self.redis {
            return redis.contains(artifact).await;
        }
        let (files, artifact) = (self.files.clone(), artifact.clone());
        blocking(move || files.contains(&artifact)).await
    }

    /// Has the bytes stay there for longer; `false` when they are not there, or not all of them.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::File`], [`Error::Store`].
    pub async fn keep(&self, artifact: &Artifact) -> Result<bool, Error> {
        match &self.redis {
            Some(redis) => {
                check_name(artifact)?;
                redis.keep(artifact).await
            }
            // Files stay.
            None => self.contains(artifact).await,
        }
    }

    fn check(&self, artifact: &Artifact) -> Result<(), Error> {
        check_name(artifact)?;
        self.check_size(artifact.bytes)
    }

    fn check_size(&self, bytes: u64) -> Result<(), Error> {
        if bytes > self.bytes_max {
            return Err(Error::TooLarge { bytes, limit: self.bytes_max });
        }
        Ok(())
    }
}

/// The name becomes a path and a key: nothing else may get in.
fn check_name(artifact: &Artifact) -> Result<(), Error> {
    let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if artifact.sha256.len() == 64 && artifact.sha256.bytes().all(digit) {
        return Ok(());
    }
    Err(Error::Name { sha256: artifact.sha256.clone() })
}

fn verify(artifact: &Artifact, bytes: &[u8], place: &str) -> Result<(), Error> {
    let corrupt = |reason: String| Error::Corrupt { sha256: artifact.sha256.clone(), place: place.to_owned(), reason };
    if bytes.len() as u64 != artifact.bytes {
        return Err(corrupt(format!("it has {} bytes, not {}", bytes.len(), artifact.bytes)));
    }
    let found = sha256(bytes);
    if found != artifact.sha256 {
        return Err(corrupt(format!("its SHA-256 is {found}")));
    }
    Ok(())
}

/// Hashing and files block: they have threads of their own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::File { path: PathBuf::from("artifacts"), source: io::Error::other(error) })?
}
