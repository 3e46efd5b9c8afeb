//! Leases: who may do something that must not be done twice at the same time.
//!
//! A lease is held for a limited time and renewed while its holder lives; the death of the holder frees it. It keeps
//! two honest replicas apart, no more: what they do must still be safe to repeat.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use redis::Script;
use rusqlite::{OptionalExtension as _, params};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;

use crate::redis_link::Link;
use crate::sqlite::Database;

/// How long a lease outlives its holder.
pub const LEASE_TTL: Duration = Duration::from_secs(10);

/// A lease is renewed this many times before it would end.
const RENEWALS_PER_TTL: u32 = 4;
/// Shortest and longest pause of those who wait for another holder.
const WAIT_PAUSE: Duration = Duration::from_millis(20);
const WAIT_PAUSE_MAX: Duration = Duration::from_millis(250);

const KEY: &str = "regrove:lease:";

/// Why there is no lease.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another holder kept it for longer than the caller would wait.
    #[error("lease `{key}` is held by {holder} for longer than {} s", waited.as_secs_f64())]
    Busy {
        /// What it is about.
        key: String,
        /// Who holds it.
        holder: String,
        /// How long the caller waited.
        waited: Duration,
    },
    /// It could not be renewed in time: another may hold it now.
    #[error("lease `{key}` was lost: it could not be renewed in time")]
    Lost {
        /// What it is about.
        key: String,
    },
    /// The store cannot be reached or refuses.
    #[error("leases ({store}) failed: {message}")]
    Store {
        /// Which store: `sqlite` or `redis`.
        store: &'static str,
        /// What it said.
        message: String,
        /// Its own error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A lease that was granted. Nothing renews it by itself: see [`Leases::guard`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What it is about, such as `register/reference-1`.
    pub key: String,
    /// Who holds it, for people.
    pub owner: String,
    /// Tells this grant from every other.
    token: String,
}

/// Grants leases. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Leases {
    place: Place,
    ttl: Duration,
}

#[derive(Debug, Clone)]
enum Place {
    Sqlite(Arc<Database>),
    Redis(Arc<Link>),
}

/// Grants unless another token holds it; granting again to the same token is harmless. The value is `token owner`.
const ACQUIRE: &str = r"
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
if redis.call('GET', KEYS[1]) == ARGV[1] then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    return 1
end
return 0";
const RENEW: &str = r"
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0";
const RELEASE: &str = r"
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0";

/// The file's own clock in milliseconds, the same for all processes of the machine.
macro_rules! now {
    () => {
        "CAST(unixepoch('subsec') * 1000 AS INTEGER)"
    };
}

impl Leases {
    pub(crate) fn sqlite(database: Arc<Database>) -> Self {
        Self { place: Place::Sqlite(database), ttl: LEASE_TTL }
    }

    pub(crate) fn redis(link: Arc<Link>) -> Self {
        Self { place: Place::Redis(link), ttl: LEASE_TTL }
    }

    /// The same leases with another time to live in [`guard`](Self::guard) and [`with_lease`](Self::with_lease).
    #[must_use]
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Takes the lease for `ttl` if nobody holds it.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn acquire(&self, key: &str, owner: &str, ttl: Duration) -> Result<Option<Lease>, Error> {
        let lease = Lease { key: key.to_owned(), owner: owner.to_owned(), token: Uuid::new_v4().to_string() };
        let granted = match &self.place {
            Place::Sqlite(_) => {
                const SQL: &str = concat!(
                    "INSERT INTO lease (key, token, owner, expires) VALUES (?1, ?2, ?3, ",
                    now!(),
                    " + ?4) ",
                    "ON CONFLICT (key) DO UPDATE ",
                    "SET token = excluded.token, owner = excluded.owner, expires = excluded.expires ",
                    "WHERE lease.expires <= ",
                    now!()
                );
                self.execute(SQL, &lease, Some(ttl)).await?
            }
            Place::Redis(_) => self.script(ACQUIRE, &lease, Some(ttl)).await?,
        };
        Ok(granted.then_some(lease))
    }

    /// Holds the lease for `ttl` from now on; `false` when it was lost to somebody else.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<bool, Error> {
        match &self.place {
            Place::Sqlite(_) => {
                const SQL: &str = concat!(
                    "UPDATE lease SET expires = ",
                    now!(),
                    " + ?4 WHERE key = ?1 AND token = ?2 AND owner = ?3"
                );
                self.execute(SQL, lease, Some(ttl)).await
            }
            Place::Redis(_) => self.script(RENEW, lease, Some(ttl)).await,
        }
    }

    /// Gives the lease back; harmless when it was lost.
    ///
    /// # Errors
    /// [`Error::Store`]; the lease ends by itself then.
    pub async fn release(&self, lease: &Lease) -> Result<(), Error> {
        match &self.place {
            Place::Sqlite(_) => {
                const SQL: &str = "DELETE FROM lease WHERE key = ?1 AND token = ?2 AND owner = ?3";
                self.execute(SQL, lease, None).await?;
            }
            Place::Redis(_) => {
                self.script(RELEASE, lease, None).await?;
            }
        }
        Ok(())
    }

    /// Who holds a lease now.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn holder(&self, key: &str) -> Result<Option<String>, Error> {
        match &self.place {
            Place::Sqlite(database) => {
                const SQL: &str = concat!("SELECT owner FROM lease WHERE key = ?1 AND expires > ", now!());
                let key = key.to_owned();
                database
                    .read(move |connection| {
                        connection.prepare_cached(SQL)?.query_row(params![key], |row| row.get(0)).optional()
                    })
                    .await
                    .map_err(|failure| store_error("sqlite", failure))
            }
            Place::Redis(link) => {
                let value: Option<String> = link
                    .ask(|mut connection, _| {
                        let mut command = redis::cmd("GET");
                        command.arg(format!("{KEY}{key}"));
                        async move { command.query_async(&mut connection).await }
                    })
                    .await
                    .map_err(|failure| store_error("redis", failure))?;
                Ok(value.and_then(|value| value.split_once(' ').map(|(_, owner)| owner.to_owned())))
            }
        }
    }

    /// Takes the lease, waiting for another holder up to `wait_max`, and keeps renewing it until the guard is dropped.
    ///
    /// # Errors
    /// [`Error::Busy`] when the other holder kept it; [`Error::Store`].
    pub async fn guard(&self, key: &str, wait_max: Duration) -> Result<LeaseGuard, Error> {
        let owner = format!("process {}", std::process::id());
        let since = Instant::now();
        let mut pause = WAIT_PAUSE;
        loop {
            let asked = Instant::now();
            if let Some(lease) = self.acquire(key, &owner, self.ttl).await? {
                return Ok(LeaseGuard::new(self.clone(), lease, asked));
            }
            let waited = since.elapsed();
            if waited >= wait_max {
                let holder = self.holder(key).await?.unwrap_or_else(|| "nobody any more".to_owned());
                return Err(Error::Busy { key: key.to_owned(), holder, waited });
            }
            tokio::time::sleep(pause.min(wait_max.saturating_sub(waited))).await;
            pause = (pause * 2).min(WAIT_PAUSE_MAX);
        }
    }

    /// Does `work` while holding the lease; stops it halfway if the lease is lost.
    ///
    /// # Errors
    /// The error of `work`; as [`guard`](Self::guard); [`Error::Lost`] when the work was stopped.
    pub async fn with_lease<T, E, Work>(
        &self,
        key: &str,
        wait_max: Duration,
        work: impl FnOnce() -> Work,
    ) -> Result<T, E>
    where
        E: From<Error>,
        Work: Future<Output = Result<T, E>>,
    {
        let mut guard = self.guard(key, wait_max).await?;
        let result = tokio::select! {
            result = work() => result,
            error = guard.lost() => return Err(error.into()),
        };
        guard.release().await;
        result
    }

    async fn execute(&self, sql: &'static str, lease: &Lease, ttl: Option<Duration>) -> Result<bool, Error> {
        let Place::Sqlite(database) = &self.place else { return Ok(false) };
        let Lease { key, owner, token } = lease.clone();
        let rows = database
            .write(move |connection| {
                let mut statement = connection.prepare_cached(sql)?;
                match ttl {
                    Some(ttl) => statement.execute(params![key, token, owner, millis(ttl)]),
                    None => statement.execute(params![key, token, owner]),
                }
            })
            .await
            .map_err(|failure| store_error("sqlite", failure))?;
        Ok(rows == 1)
    }

    async fn script(&self, code: &'static str, lease: &Lease, ttl: Option<Duration>) -> Result<bool, Error> {
        let Place::Redis(link) = &self.place else { return Ok(false) };
        let script = Arc::new(Script::new(code));
        let done: i64 = link
            .ask(|mut connection, _| {
                let (script, key) = (Arc::clone(&script), format!("{KEY}{}", lease.key));
                let value = format!("{} {}", lease.token, lease.owner);
                async move {
                    let mut call = script.key(key);
                    call.arg(value).arg(ttl.map_or(0, millis));
                    call.invoke_async(&mut connection).await
                }
            })
            .await
            .map_err(|failure| store_error("redis", failure))?;
        Ok(done == 1)
    }
}

/// Stores count whole milliseconds; none would be no lease at all.
fn millis(ttl: Duration) -> i64 {
    i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX).clamp(1, i64::MAX / 4)
}

fn store_error(store: &'static str, failure: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Store { store, message: failure.to_string(), source: Box::new(failure) }
}

/// A lease that is renewed in the background. Dropping it gives the lease back, soon; [`release`](Self::release) does
/// so at once.
pub struct LeaseGuard {
    leases: Leases,
    lease: Option<Lease>,
    renewal: JoinHandle<()>,
    lost: watch::Receiver<bool>,
}

impl fmt::Debug for LeaseGuard {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("LeaseGuard").field("lease", &self.lease).finish_non_exhaustive()
    }
}

impl LeaseGuard {
    fn new(leases: Leases, lease: Lease, asked: Instant) -> Self {
        let (tell, lost) = watch::channel(false);
        let renewal = tokio::spawn(renew(leases.clone(), lease.clone(), asked, tell));
        Self { leases, lease: Some(lease), renewal, lost }
    }

    /// Whether the lease is still ours.
    pub fn is_held(&self) -> bool {
        !*self.lost.borrow()
    }

    /// Returns when the lease is no longer ours; never while it is.
    pub async fn lost(&mut self) -> Error {
        // An error means that the renewal ended: it only does so after it has said why.
        drop(self.lost.wait_for(|lost| *lost).await);
        Error::Lost { key: self.lease.as_ref().map(|lease| lease.key.clone()).unwrap_or_default() }
    }

    /// Gives the lease back.
    pub async fn release(mut self) {
        self.renewal.abort();
        if let Some(lease) = self.lease.take() {
            release(self.leases.clone(), lease).await;
        }
    }
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        self.renewal.abort();
        if let (Some(lease), Ok(runtime)) = (self.lease.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(release(self.leases.clone(), lease));
        }
    }
}

async fn release(leases: Leases, lease: Lease) {
    if let Err(error) = leases.release(&lease).await {
        tracing::warn!(key = %lease.key, %error, "a lease could not be given back; it ends by itself");
    }
}

/// Renews until the lease is lost, which it also is when the store stays silent for as long as it was granted.
async fn renew(leases: Leases, lease: Lease, mut granted: Instant, tell: watch::Sender<bool>) {
    loop {
        tokio::time::sleep(leases.ttl / RENEWALS_PER_TTL).await;
        let asked = Instant::now();
        match tokio::time::timeout_at(granted + leases.ttl, leases.renew(&lease, leases.ttl)).await {
            Ok(Ok(true)) => granted = asked,
            Ok(Err(error)) if granted.elapsed() < leases.ttl => {
                tracing::warn!(key = %lease.key, %error, "a lease could not be renewed, trying again");
            }
            Ok(_) | Err(_) => {
                tell.send_replace(true);
                return;
            }
        }
    }
}
