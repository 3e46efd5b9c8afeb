//! The broker's file: its tables and how it is opened.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

/// Name of the file inside the runtime's folder.
const FILE: &str = "broker.db";
/// Name of the file that is what a stream in Redis adds up to.
const SHARED_FILE: &str = "broker-redis.db";
/// Names the one of them that the last runtime used, for commands that look into it.
const CURRENT: &str = "broker.current";

/// How long a statement waits for another process's lock, such as that of `regrove event redrive`.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Version of the tables, kept in `user_version`.
const VERSION: i64 = 2;

/// Times are milliseconds since 1970. An event has one delivery per trigger that wants it.
///
/// `deliveries.state`: 0 pending, 1 delivered, 2 dead and in its sink, 3 dead without a sink that took it, 4 redriven,
/// 5 discarded.
/// `triggers` are those of the runtime that was started last. `replays` are parts of the history that are still to be
/// delivered again: events from `next_event` to `last_event`.
///
/// `deliveries.stage`: 0 to the subscriber, 1 to the dead letter sink. `attempt` counts within the stage.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        namespace TEXT NOT NULL,
        broker TEXT NOT NULL,
        id TEXT NOT NULL,
        type TEXT NOT NULL,
        headers TEXT NOT NULL,
        event BLOB NOT NULL,
        accepted_at INTEGER NOT NULL
    );
    CREATE INDEX IF NOT EXISTS events_by_id ON events (id);
    CREATE TABLE IF NOT EXISTS deliveries (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        event INTEGER NOT NULL REFERENCES events (seq) ON DELETE CASCADE,
        trigger TEXT NOT NULL,
        state INTEGER NOT NULL DEFAULT 0,
        stage INTEGER NOT NULL DEFAULT 0,
        attempt INTEGER NOT NULL DEFAULT 0,
        next_at INTEGER NOT NULL,
        error_destination TEXT,
        error_code INTEGER,
        error_data TEXT,
        error TEXT,
        ended_at INTEGER
    );
    CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (trigger, next_at) WHERE state = 0;
    CREATE INDEX IF NOT EXISTS deliveries_dead ON deliveries (ended_at) WHERE state IN (2, 3);
    CREATE INDEX IF NOT EXISTS deliveries_by_event ON deliveries (event);
    CREATE TABLE IF NOT EXISTS attempts (
        delivery INTEGER NOT NULL REFERENCES deliveries (seq) ON DELETE CASCADE,
        at INTEGER NOT NULL,
        stage INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        destination TEXT NOT NULL,
        code INTEGER,
        latency_us INTEGER NOT NULL,
        error TEXT
    );
    CREATE INDEX IF NOT EXISTS attempts_by_delivery ON attempts (delivery);
    CREATE TABLE IF NOT EXISTS triggers (
        key TEXT PRIMARY KEY,
        namespace TEXT NOT NULL,
        broker TEXT NOT NULL
    );
    CREATE TABLE IF NOT EXISTS replays (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        trigger TEXT NOT NULL,
        next_event INTEGER NOT NULL,
        last_event INTEGER NOT NULL
    );
    CREATE INDEX IF NOT EXISTS replays_by_trigger ON replays (trigger);
    CREATE INDEX IF NOT EXISTS deliveries_in_order ON deliveries (trigger, seq) WHERE state = 0;
";

/// Path of the file that the last runtime used.
pub(crate) fn path(home: &Path) -> PathBuf {
    let current = std::fs::read_to_string(home.join(CURRENT)).unwrap_or_default();
    home.join(if current.trim() == SHARED_FILE { SHARED_FILE } else { FILE })
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("{CURRENT} cannot be written: {0}")]
    Current(#[from] std::io::Error),
    #[error("its tables have version {0}, this program knows {VERSION}; move the file away")]
    Version(i64),
}

/// Opens the file for the runtime, making it when it is missing. A `shared` one can be made anew from Redis.
pub(crate) fn create(home: &Path, shared: bool) -> Result<Connection, Unusable> {
    let file = if shared { SHARED_FILE } else { FILE };
    std::fs::write(home.join(CURRENT), file)?;
    let connection = Connection::open(home.join(file))?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // What was acknowledged survives a crash of the machine, not only of the process.
    connection.pragma_update(None, "synchronous", if shared { "NORMAL" } else { "FULL" })?;
    connection.pragma_update(None, "foreign_keys", true)?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    // Version 1 had no `triggers` and no `replays`; nothing else has changed.
    if version < VERSION {
        connection.execute_batch(TABLES)?;
        connection.pragma_update(None, "user_version", VERSION)?;
    } else if version != VERSION {
        return Err(Unusable::Version(version));
    }
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// Opens the file beside a running runtime; `None` when there is none yet.
pub(crate) fn open(home: &Path) -> rusqlite::Result<Option<Connection>> {
    let path = path(home);
    if !path.exists() {
        return Ok(None);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(Some(connection))
}
