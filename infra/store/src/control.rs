//! The state that functions share.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use regrove_events::log::{self, EventLog};

use crate::artifact::ARTIFACT_BYTES_MAX;
use crate::redis_link::Link;
use crate::redis_log::RedisLog;
use crate::sqlite::Database;
use crate::sqlite_log::SqliteLog;
use crate::{Artifacts, Leases, StoreArgs};

/// Name of the database under the home directory.
const DATABASE: &str = "control.db";
/// Name of the artifacts' directory there.
const ARTIFACTS: &str = "artifacts";

const SECONDS_PER_DAY: u64 = 24 * 60 * 60;

/// Which kind of store keeps the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// Files on this machine.
    Embedded,
    /// A Redis server.
    Redis,
}

impl fmt::Display for StoreKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Embedded => "embedded",
            Self::Redis => "redis",
        })
    }
}

/// Why [`StoreArgs`] cannot be used. Never holds a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL is not one of a Redis server.
    #[error("REDIS_URL `{url}` is invalid: {reason}; expected redis://[USER:PASSWORD@]HOST[:PORT][/DB] or rediss://…")]
    Url {
        /// The URL without its password.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file of certificate authorities cannot be used.
    #[error("REGROVE_REDIS_CA `{}` is unusable: {reason}", path.display())]
    Ca {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// The event log, leases and artifacts, in one kind of store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Control {
    /// What happened.
    pub log: Arc<dyn EventLog>,
    /// Who is at it.
    pub leases: Leases,
    /// Bytes by their hash.
    pub artifacts: Artifacts,
    kind: StoreKind,
    place: String,
}

impl Control {
    /// Takes the store that the arguments name. Contacts nothing and opens nothing before the first use.
    ///
    /// # Errors
    /// [`OpenError`] when the arguments cannot name a store.
    pub fn open(args: &StoreArgs) -> Result<Self, OpenError> {
        let Some(url) = args.redis_url.as_deref().filter(|url| !url.trim().is_empty()) else {
            return Ok(Self::in_files(&args.home, args.artifact_bytes_max));
        };
        let link = Arc::new(Link::new(url.trim(), args)?);
        let expiry = Duration::from_secs(u64::from(args.artifact_days) * SECONDS_PER_DAY);
        Ok(Self {
            log: Arc::new(RedisLog::new(Arc::clone(&link))),
            leases: Leases::redis(Arc::clone(&link)),
            artifacts: Artifacts::redis(Arc::clone(&link), expiry, args.home.join(ARTIFACTS), args.artifact_bytes_max),
            kind: StoreKind::Redis,
            place: link.place().to_owned(),
        })
    }

    /// The store in files under `home`.
    pub fn embedded(home: &Path) -> Self {
        Self::in_files(home, ARTIFACT_BYTES_MAX)
    }

    fn in_files(home: &Path, artifact_bytes_max: u64) -> Self {
        let path = home.join(DATABASE);
        let database = Arc::new(Database::new(path.clone()));
        Self {
            log: Arc::new(SqliteLog::new(Arc::clone(&database), path)),
            leases: Leases::sqlite(database),
            artifacts: Artifacts::files(home.join(ARTIFACTS), artifact_bytes_max),
            kind: StoreKind::Embedded,
            place: home.display().to_string(),
        }
    }

    /// Which kind of store this is.
    pub fn kind(&self) -> StoreKind {
        self.kind
    }

    /// Where it is, for people: a directory, or a URL without its password.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Reaches for the store once: for readiness and `regrove doctor`.
    ///
    /// # Errors
    /// [`log::Error::Store`] when it is not there.
    pub async fn check(&self) -> Result<(), log::Error> {
        self.log.head().await.map(|_| ())
    }
}
