//! The store: one SQLite file and one folder of artifacts.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::error::{OpenError, Refusal};
use crate::schema;

/// How long a call waits for another process that holds the database.
const BUSY_WAIT: Duration = Duration::from_secs(10);

/// The record of one machine. Cheap to clone; all clones share one connection.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    connection: Mutex<Connection>,
    files: PathBuf,
    incoming: PathBuf,
}

impl Store {
    /// Opens the record in `folder`, which is created when missing: `record.db`, `artifacts/`, and `incoming/` for
    /// uploads that are not complete. What a killed process left in `incoming/` is removed.
    ///
    /// Blocking: call it at start, or off the async threads.
    ///
    /// # Errors
    /// [`OpenError`] when folder or database cannot be used.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let files = folder.join("artifacts");
        let incoming = folder.join("incoming");
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Folder { path, source }
        };
        std::fs::create_dir_all(&files).map_err(at(&files))?;
        match std::fs::remove_dir_all(&incoming) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(at(&incoming)(error)),
            _ => {}
        }
        std::fs::create_dir_all(&incoming).map_err(at(&incoming))?;
        let path = folder.join("record.db");
        let connection = connect(&path)?;
        Ok(Self { inner: Arc::new(Inner { connection: Mutex::new(connection), files, incoming }) })
    }

    /// Where artifacts are.
    pub(crate) fn files(&self) -> &Path {
        &self.inner.files
    }

    /// Where uploads grow, on the same file system as [`Store::files`].
    pub(crate) fn incoming(&self) -> &Path {
        &self.inner.incoming
    }

    /// Runs `work` in a transaction off the async threads; commits when it gives `Ok`. A caller that goes away does not
    /// interrupt it.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.transaction(TransactionBehavior::Immediate, work).await
    }

    /// Runs `work` on one state of the database, off the async threads.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.transaction(TransactionBehavior::Deferred, work).await
    }

    async fn transaction<T: Send + 'static>(
        &self,
        behaviour: TransactionBehavior,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let inner = Arc::clone(&self.inner);
        let task = tokio::task::spawn_blocking(move || {
            // A panic in another call rolled its transaction back: the connection is sound.
            let mut connection = inner.connection.lock().unwrap_or_else(PoisonError::into_inner);
            let transaction = connection.transaction_with_behavior(behaviour)?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        });
        match task.await {
            Ok(result) => result,
            Err(error) => {
                tracing::error!(%error, "record: a call broke off");
                Err(Refusal::internal("the call broke off"))
            }
        }
    }
}

fn connect(path: &Path) -> Result<Connection, OpenError> {
    let at = |source| OpenError::Database { path: path.to_owned(), source };
    let mut connection = Connection::open(path).map_err(at)?;
    connection.busy_timeout(BUSY_WAIT).map_err(at)?;
    // WAL with NORMAL: a killed process loses nothing that was committed; only a power cut can take the last calls.
    connection.pragma_update(None, "journal_mode", "WAL").map_err(at)?;
    connection.pragma_update(None, "synchronous", "NORMAL").map_err(at)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(at)?;
    connection.pragma_update(None, "case_sensitive_like", true).map_err(at)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(at)?;
    let found: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(at)?;
    if found > schema::LAYOUT {
        return Err(OpenError::Newer { path: path.to_owned(), found, known: schema::LAYOUT });
    }
    transaction.execute_batch(schema::CREATE).map_err(at)?;
    // MLflow has this experiment from the start, and clients use it when none is named.
    transaction
        .execute(
            "INSERT OR IGNORE INTO experiments (id, name, created, updated) VALUES (0, 'Default', ?1, ?1)",
            [now_ms()],
        )
        .map_err(at)?;
    transaction.pragma_update(None, "user_version", schema::LAYOUT).map_err(at)?;
    transaction.commit().map_err(at)?;
    Ok(connection)
}

/// Milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "a server stamps what it stores; no decision depends on it")]
pub(crate) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_layout_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        drop(Store::open(folder.path()).unwrap());
        let path = folder.path().join("record.db");
        let connection = Connection::open(&path).unwrap();
        connection.pragma_update(None, "user_version", schema::LAYOUT + 1).unwrap();
        drop(connection);
        let refused = Store::open(folder.path()).unwrap_err();
        assert!(matches!(refused, OpenError::Newer { .. }), "{refused}");
    }

    #[test]
    fn broken_uploads_are_removed_at_start() {
        let folder = tempfile::tempdir().unwrap();
        drop(Store::open(folder.path()).unwrap());
        let left = folder.path().join("incoming/half");
        std::fs::write(&left, b"half").unwrap();
        drop(Store::open(folder.path()).unwrap());
        assert!(!left.exists());
    }
}
