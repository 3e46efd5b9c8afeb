//! One SQLite file, shared by all processes of the machine.
//!
//! Connections live on threads of their own, one for writing and one for reading, started at the first use: SQLite
//! blocks, and async threads must not. The file is in WAL mode with `synchronous=NORMAL`: a commit survives the death
//! of every process; after a loss of power the newest commits may be missing, never half there.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use tokio::sync::oneshot;

/// How long a writer waits for other processes' writers.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to sleep before a busy file is tried again while its schema is made.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// `PRAGMA user_version` of the schema below.
const SCHEMA_VERSION: i64 = 1;

/// Position is the row id: transactions that write are one after the other, so positions follow commits without gaps.
const SCHEMA: &str = "
    CREATE TABLE event (
        position INTEGER PRIMARY KEY,
        stream   TEXT    NOT NULL,
        version  INTEGER NOT NULL,
        event    BLOB    NOT NULL,
        UNIQUE (stream, version)
    ) STRICT;
    CREATE TABLE lease (
        key     TEXT    PRIMARY KEY,
        token   TEXT    NOT NULL,
        owner   TEXT    NOT NULL,
        expires INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    PRAGMA user_version = 1;
";

/// Why the file did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("cannot create the directory {}: {source}", path.display())]
    Directory { path: PathBuf, source: std::io::Error },
    #[error("{}: {source}", path.display())]
    Sqlite { path: PathBuf, source: rusqlite::Error },
    #[error("{} has schema {found}, this program knows {SCHEMA_VERSION}: a newer Regrove made it", path.display())]
    Newer { path: PathBuf, found: i64 },
    #[error("the thread of {} is gone", path.display())]
    Gone { path: PathBuf },
}

/// A file and the threads that have it open.
#[derive(Debug)]
pub(crate) struct Database {
    writer: Worker,
    reader: Worker,
}

impl Database {
    /// Nothing is opened before the first use.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { writer: Worker::new(path.clone()), reader: Worker::new(path) }
    }

    /// Runs `task` where other writes wait for it.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        self.writer.run(task).await
    }

    /// Runs `task`, which must only read, beside the writers.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        self.reader.run(task).await
    }
}

type Task = Box<dyn FnOnce(Result<&mut Connection, Failure>) + Send>;

/// A thread with a connection; it ends when the worker is dropped.
#[derive(Debug)]
struct Worker {
    path: PathBuf,
    tasks: Mutex<Option<mpsc::Sender<Task>>>,
}

impl Worker {
    fn new(path: PathBuf) -> Self {
        Self { path, tasks: Mutex::new(None) }
    }

    async fn run<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let (reply, answer) = oneshot::channel();
        let path = self.path.clone();
        let gone = || Failure::Gone { path: self.path.clone() };
        self.send(Box::new(move |connection| {
            let result =
                connection.and_then(|connection| task(connection).map_err(|source| Failure::Sqlite { path, source }));
            // Nobody waits any more when the caller was cancelled: the work is done all the same.
            drop(reply.send(result));
        }))
        .map_err(|()| gone())?;
        answer.await.map_err(|_| gone())?
    }

    fn send(&self, task: Task) -> Result<(), ()> {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if tasks.is_none() {
            let (sender, receiver) = mpsc::channel();
            let path = self.path.clone();
            std::thread::Builder::new()
                .name("regrove-sqlite".to_owned())
                .spawn(move || work(&path, &receiver))
                .map_err(|_| ())?;
            *tasks = Some(sender);
        }
        if tasks.as_ref().is_some_and(|tasks| tasks.send(task).is_ok()) {
            return Ok(());
        }
        // The thread died of a panic: the next task starts another.
        *tasks = None;
        Err(())
    }
}

fn work(path: &Path, tasks: &mpsc::Receiver<Task>) {
    let mut open: Option<Connection> = None;
    for task in tasks {
        if open.is_none() {
            match connect(path) {
                Ok(connection) => open = Some(connection),
                Err(failure) => {
                    // Not for ever: whatever stands in the way may be gone at the next task.
                    task(Err(failure));
                    continue;
                }
            }
        }
        if let Some(connection) = &mut open {
            task(Ok(connection));
        }
    }
}

/// Opens the file, and makes it when there is none.
fn connect(path: &Path) -> Result<Connection, Failure> {
    let wrong = |source| Failure::Sqlite { path: path.to_owned(), source };
    if let Some(directory) = path.parent() {
        // Before SQLite looks: where it cannot make the file it opens what is there by then for reading only, so that
        // the database of another process that made both in between could not be written.
        std::fs::create_dir_all(directory)
            .map_err(|source| Failure::Directory { path: directory.to_owned(), source })?;
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(wrong)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(wrong)?;
    match schema_version(&connection).map_err(wrong)? {
        SCHEMA_VERSION => {}
        0 => create(&mut connection).map_err(wrong)?,
        found => return Err(Failure::Newer { path: path.to_owned(), found }),
    }
    connection.pragma_update(None, "synchronous", "NORMAL").map_err(wrong)?;
    Ok(connection)
}

fn schema_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Several processes may start on an empty directory at once: one of them makes the schema.
fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    let since = Instant::now();
    // Going to WAL needs the file alone, and SQLite does not call its busy handler for that.
    while let Err(error) = connection.pragma_update(None, "journal_mode", "WAL") {
        let busy = matches!(
            error.sqlite_error_code(),
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked)
        );
        if !busy || since.elapsed() > BUSY_TIMEOUT {
            return Err(error);
        }
        std::thread::sleep(BUSY_PAUSE);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if schema_version(&transaction)? == 0 {
        transaction.execute_batch(SCHEMA)?;
    }
    transaction.commit()
}
