//! A list of changes in a Redis Stream that one owner writes and anybody may take over when the owner is gone.
//!
//! | key | holds |
//! |---|---|
//! | `regrove:journal:<name>` | the stream; each entry has one field, `c`: a change, bytes of the owner's own |
//! | `regrove:journal:<name>:owner` | who writes; expires when the owner no longer says that it is there |
//! | `regrove:journal:<name>:lineage` | made with the stream; another one is another stream, whatever its entries are called |

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use redis::Script;
use uuid::Uuid;

use crate::redis_link::{Failure, Link};
use crate::{OpenError, StoreArgs};

const PREFIX: &str = "regrove:journal:";

/// Keys: the owner. Arguments: who asks, milliseconds. Answers `1` if they own it from now on.
static OWN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
",
    )
});

/// Keys: the stream, the owner. Arguments: who asks, milliseconds, the change. Answers the entry's id, or nothing when
/// somebody else is the owner. An owner that was away for too long may go on if nobody has taken its place.
static APPEND: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local owner = redis.call('GET', KEYS[2])
if owner and owner ~= ARGV[1] then return false end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return redis.call('XADD', KEYS[1], '*', 'c', ARGV[3])
",
    )
});

/// Keys: the owner. Arguments: who asks.
static RELEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new("if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1")
});

/// Why the journal did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SharedJournalError {
    /// Redis cannot be used.
    #[error("{0}")]
    Store(String),
    /// Somebody else writes.
    #[error("another runtime writes the journal in {place}")]
    NotOwner {
        /// The URL without its password.
        place: String,
    },
}

impl From<Failure> for SharedJournalError {
    fn from(failure: Failure) -> Self {
        Self::Store(failure.to_string())
    }
}

/// A change, and where it stands. Ids grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Such as `1700000000000-0`.
    pub id: String,
    /// What the owner wrote.
    pub bytes: Vec<u8>,
}

/// The journal. Contacts nothing before the first use.
pub struct SharedJournal {
    link: Arc<Link>,
    stream: String,
    owner: String,
    lineage: String,
}

impl fmt::Debug for SharedJournal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SharedJournal")
            .field("place", &self.link.place())
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

/// An entry as Redis tells it: its id and its one field.
type Entry = (String, (String, Vec<u8>));

impl SharedJournal {
    /// The journal of this name in the Redis that the arguments name; `None` when they name none.
    ///
    /// # Errors
    /// [`OpenError`] when the arguments cannot name a store.
    pub fn open(args: &StoreArgs, name: &str) -> Result<Option<Self>, OpenError> {
        let Some(url) = args.redis_url.as_deref().map(str::trim).filter(|url| !url.is_empty()) else {
            return Ok(None);
        };
        let stream = format!("{PREFIX}{name}");
        let (owner, lineage) = (format!("{stream}:owner"), format!("{stream}:lineage"));
        Ok(Some(Self { link: Arc::new(Link::new(url, args)?), stream, owner, lineage }))
    }

    /// The URL without its password.
    pub fn place(&self) -> &str {
        self.link.place()
    }

    /// Becomes or stays the owner for `ttl`; false when somebody else is.
    ///
    /// # Errors
    /// [`SharedJournalError::Store`].
    pub async fn own(&self, me: &str, ttl: Duration) -> Result<bool, SharedJournalError> {
        let owned: i64 = self
            .link
            .ask(|mut connection, _| {
                let mut own = OWN.key(&self.owner);
                own.arg(me).arg(millis(ttl));
                async move { own.invoke_async(&mut connection).await }
            })
            .await?;
        Ok(owned == 1)
    }

    /// Lets go of it.
    ///
    /// # Errors
    /// [`SharedJournalError::Store`].
    pub async fn release(&self, me: &str) -> Result<(), SharedJournalError> {
        let _: i64 = self
            .link
            .ask(|mut connection, _| {
                let mut release = RELEASE.key(&self.owner);
                release.arg(me);
                async move { release.invoke_async(&mut connection).await }
            })
            .await?;
        Ok(())
    }

    /// What tells this stream from one that was there before it; made if the stream is new.
    ///
    /// # Errors
    /// [`SharedJournalError::Store`].
    pub async fn lineage(&self) -> Result<String, SharedJournalError> {
        let fresh = Uuid::new_v4().to_string();
        let lineage = self
            .link
            .ask(|mut connection, _| {
                let mut pipe = redis::pipe();
                pipe.atomic().cmd("SET").arg(&self.lineage).arg(&fresh).arg("NX").ignore();
                pipe.cmd("GET").arg(&self.lineage);
                async move {
                    let (lineage,): (String,) = pipe.query_async(&mut connection).await?;
                    Ok(lineage)
                }
            })
            .await?;
        Ok(lineage)
    }

    /// Appends a change; returns its id. Asked again because an answer was lost, it may append it twice.
    ///
    /// # Errors
    /// [`SharedJournalError`].
    pub async fn append(&self, me: &str, ttl: Duration, change: &[u8]) -> Result<String, SharedJournalError> {
        let id: Option<String> = self
            .link
            .ask(|mut connection, _| {
                let mut append = APPEND.key(&self.stream);
                append.key(&self.owner).arg(me).arg(millis(ttl)).arg(change);
                async move { append.invoke_async(&mut connection).await }
            })
            .await?;
        id.ok_or_else(|| SharedJournalError::NotOwner { place: self.place().to_owned() })
    }

    /// Up to `count` changes after the one of this id, `0` for the first.
    ///
    /// # Errors
    /// [`SharedJournalError::Store`].
    pub async fn read(&self, after: &str, count: usize) -> Result<Vec<Change>, SharedJournalError> {
        let entries: Vec<Entry> = self
            .link
            .ask(|mut connection, _| {
                let mut command = redis::cmd("XRANGE");
                command.arg(&self.stream).arg(format!("({after}")).arg("+").arg("COUNT").arg(count);
                async move { command.query_async(&mut connection).await }
            })
            .await?;
        Ok(entries.into_iter().map(|(id, (_, bytes))| Change { id, bytes }).collect())
    }

    /// Whether the change of this id is still there.
    ///
    /// # Errors
    /// [`SharedJournalError::Store`].
    pub async fn has(&self, id: &str) -> Result<bool, SharedJournalError> {
        let entries: Vec<Entry> = self
            .link
            .ask(|mut connection, _| {
                let mut command = redis::cmd("XRANGE");
                command.arg(&self.stream).arg(id).arg(id);
                async move { command.query_async(&mut connection).await }
            })
            .await?;
        Ok(!entries.is_empty())
    }

    /// How many changes there are.
    ///
    /// # Errors
    /// [`SharedJournalError::Store`].
    pub async fn count(&self) -> Result<usize, SharedJournalError> {
        let count = self
            .link
            .ask(|mut connection, _| {
                let mut command = redis::cmd("XLEN");
                command.arg(&self.stream);
                async move { command.query_async(&mut connection).await }
            })
            .await?;
        Ok(count)
    }

    /// Forgets the changes up to the one of this id, which stays.
    ///
    /// # Errors
    /// [`SharedJournalError::Store`].
    pub async fn trim(&self, from: &str) -> Result<(), SharedJournalError> {
        let _: i64 = self
            .link
            .ask(|mut connection, _| {
                let mut command = redis::cmd("XTRIM");
                command.arg(&self.stream).arg("MINID").arg(from);
                async move { command.query_async(&mut connection).await }
            })
            .await?;
        Ok(())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
