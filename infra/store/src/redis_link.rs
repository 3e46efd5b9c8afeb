//! The connection to Redis: made at the first use, made again when it breaks, never saying the password.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex as Lock, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, IntoConnectionInfo as _, RedisError, ServerErrorKind};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use crate::{OpenError, StoreArgs};

/// How long making a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an answer may take. A missing answer breaks the connection and asks again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// For how long a server that has answered before is tried again: longer than a restart takes.
const AWAY_MAX: Duration = Duration::from_secs(20);
/// For how long a server that has never answered is tried: a wrong address should not take long to see.
const NEVER_SEEN_MAX: Duration = Duration::from_secs(2);
/// Pause before the second attempt; each further one is twice as long, up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// How much longer than asked a blocking command may take before its connection counts as dead.
const BLOCK_GRACE: Duration = Duration::from_secs(3);
/// Connections for blocking commands that are kept when nobody waits.
const IDLE_MAX: usize = 4;

/// Why Redis did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {source}")]
pub(crate) struct Failure {
    place: String,
    source: RedisError,
}

/// A Redis server. One connection for all commands, and some more for those who wait.
pub(crate) struct Link {
    client: Client,
    place: String,
    shared: Mutex<Option<Shared>>,
    waiting: Lock<Vec<MultiplexedConnection>>,
    made: AtomicU64,
    seen: AtomicBool,
}

/// The connection that everybody uses, and which one it is.
struct Shared {
    number: u64,
    connection: MultiplexedConnection,
}

impl fmt::Debug for Link {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Link").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Link {
    /// Reads the address. Contacts nothing.
    pub(crate) fn new(url: &str, args: &StoreArgs) -> Result<Self, OpenError> {
        let wrong = |reason: String| OpenError::Url { url: redacted(url), reason };
        let parsed = Url::parse(url).map_err(|error| wrong(error.to_string()))?;
        let encrypted = match parsed.scheme() {
            "redis" => false,
            "rediss" => true,
            other => return Err(wrong(format!("scheme `{other}` is not supported"))),
        };
        if parsed.host_str().is_none_or(str::is_empty) {
            return Err(wrong("the host is missing".to_owned()));
        }
        if parsed.fragment().is_some() {
            return Err(wrong("a fragment has no meaning; certificates are always verified".to_owned()));
        }
        if encrypted {
            // An error means that the program has chosen one already: that is the one to use.
            drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        }
        // The crate's messages quote nothing of the URL.
        let info = url.into_connection_info().map_err(|error| wrong(error.to_string()))?;
        let mut settings = info.redis_settings().clone();
        if let Some(user) = args.redis_username.as_deref().filter(|user| !user.is_empty()) {
            settings = settings.set_username(user);
        }
        if let Some(password) = args.redis_password.as_deref().filter(|password| !password.is_empty()) {
            settings = settings.set_password(password);
        }
        let info = info.set_redis_settings(settings);
        let client = match args.redis_ca.as_deref().filter(|path| !path.as_os_str().is_empty()) {
            None => Client::open(info).map_err(|error| wrong(error.to_string()))?,
            Some(path) => {
                let unusable = |reason: String| OpenError::Ca { path: path.to_owned(), reason };
                if !encrypted {
                    return Err(unusable("REDIS_URL is not encrypted: write rediss://".to_owned()));
                }
                let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
                if !CertificateDer::pem_slice_iter(&pem).any(|certificate| certificate.is_ok()) {
                    return Err(unusable("it holds no certificate in PEM form".to_owned()));
                }
                let certificates = redis::TlsCertificates { client_tls: None, root_cert: Some(pem) };
                Client::build_with_tls(info, certificates).map_err(|error| unusable(error.to_string()))?
            }
        };
        Ok(Self {
            client,
            place: redacted(url),
            shared: Mutex::new(None),
            waiting: Lock::new(Vec::new()),
            made: AtomicU64::new(0),
            seen: AtomicBool::new(false),
        })
    }

    /// The URL without its password.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    pub(crate) fn failure(&self, source: RedisError) -> Failure {
        Failure { place: self.place.clone(), source }
    }

    /// Asks until there is an answer or the server has been away for too long.
    ///
    /// `ask` is called with a connection and the number of attempts before: when that is not 0, an earlier one may
    /// have had its effect and only the answer was lost.
    pub(crate) async fn ask<T, F, Asked>(&self, mut ask: F) -> Result<T, Failure>
    where
        F: FnMut(MultiplexedConnection, u32) -> Asked + Send,
        Asked: Future<Output = Result<T, RedisError>> + Send,
    {
        let since = Instant::now();
        let (mut attempts, mut pause) = (0, PAUSE);
        loop {
            let error = match self.connection().await {
                Ok((number, connection)) => match ask(connection, attempts).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => {
                        attempts += 1;
                        self.give_up(number, &error).await;
                        error
                    }
                },
                Err(error) => error,
            };
            let patience = if self.seen.load(Ordering::Relaxed) { AWAY_MAX } else { NEVER_SEEN_MAX };
            if !is_passing(&error) || since.elapsed() + pause > patience {
                return Err(self.failure(error));
            }
            tracing::warn!(redis = %self.place, %error, "Redis did not answer, asking again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn connection(&self) -> Result<(u64, MultiplexedConnection), RedisError> {
        let mut shared = self.shared.lock().await;
        if let Some(Shared { number, connection }) = &*shared {
            return Ok((*number, connection.clone()));
        }
        let connection = self.connect(Some(ANSWER_TIMEOUT)).await?;
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        *shared = Some(Shared { number, connection: connection.clone() });
        if !self.seen.swap(true, Ordering::Relaxed) {
            tokio::spawn(look_at_configuration(connection.clone(), self.place.clone()));
        }
        Ok((number, connection))
    }

    async fn connect(&self, answer_timeout: Option<Duration>) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(answer_timeout);
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// Throws the connection away if the error says that it is broken, unless somebody has already made another.
    async fn give_up(&self, number: u64, error: &RedisError) {
        if is_answer(error) {
            return;
        }
        let mut shared = self.shared.lock().await;
        if shared.as_ref().is_some_and(|shared| shared.number == number) {
            *shared = None;
        }
    }

    /// Sends one command that blocks for at most `block`, on a connection of its own.
    pub(crate) async fn block<T: redis::FromRedisValue>(
        &self,
        command: &redis::Cmd,
        block: Duration,
    ) -> Result<T, RedisError> {
        let idle = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.connect(None).await?,
        };
        // Whoever is cancelled here takes the connection along: nobody reads an answer that was for another.
        let answer = tokio::time::timeout(block + BLOCK_GRACE, command.query_async(&mut connection))
            .await
            .map_err(|_| RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut)))??;
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < IDLE_MAX {
            waiting.push(connection);
        }
        Ok(answer)
    }
}

/// Whether the server itself answered, so that the connection is in order.
fn is_answer(error: &RedisError) -> bool {
    match error.kind() {
        // After a failover the old server refuses writes; its name may lead to the new one.
        ErrorKind::Server(kind) => kind != ServerErrorKind::ReadOnly,
        ErrorKind::UnexpectedReturnType | ErrorKind::Extension => true,
        _ => false,
    }
}

/// Whether trying again can help.
pub(crate) fn is_passing(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Io => true,
        ErrorKind::Server(kind) => matches!(
            kind,
            ServerErrorKind::BusyLoading
                | ServerErrorKind::MasterDown
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ReadOnly
        ),
        _ => false,
    }
}

/// Warns when the server may forget what it was told. Says nothing when it must not look.
async fn look_at_configuration(mut connection: MultiplexedConnection, place: String) {
    let mut value = async |name: &str| -> Option<String> {
        let pair: Vec<String> = redis::cmd("CONFIG").arg("GET").arg(name).query_async(&mut connection).await.ok()?;
        pair.into_iter().nth(1)
    };
    if value("appendonly").await.is_some_and(|value| value != "yes") {
        tracing::warn!(redis = %place, "appendonly is off: a restart of Redis forgets events; set `appendonly yes`");
    }
    let limited = value("maxmemory").await.is_some_and(|value| value != "0");
    if limited && value("maxmemory-policy").await.is_some_and(|value| value != "noeviction") {
        tracing::warn!(redis = %place, "Redis may evict events; set `maxmemory-policy noeviction`");
    }
}

/// A URL with `***` in place of its password, whether or not it is a valid one.
pub(crate) fn redacted(url: &str) -> String {
    let Some((before, host)) = url.rsplit_once('@') else { return url.to_owned() };
    let (scheme, credentials) = match before.split_once("://") {
        Some((scheme, credentials)) => (format!("{scheme}://"), credentials),
        None => (String::new(), before),
    };
    match credentials.split_once(':') {
        Some((user, _)) => format!("{scheme}{user}:***@{host}"),
        None if scheme.is_empty() => format!("***@{host}"),
        None => format!("{scheme}{credentials}@{host}"),
    }
}
