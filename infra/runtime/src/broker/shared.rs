//! The journal in Redis: every commit is first an entry of a stream, and the file only what the stream adds up to.
//!
//! Triggers of the file note which rows a transaction changed, whoever made it: the runtime or a command such as
//! `regrove event redrive`. Before the runtime commits, it appends the noted rows, as they are then, to the stream. So
//! what is acknowledged is in Redis; the file may be lost with its machine, and is made anew from the stream. An entry
//! whose commit did not come to pass is found at the next start and taken over.
//!
//! The stream is cleaned as log-structured stores are (Rosenblum and Ousterhout 1992): what still holds of its oldest
//! entries is appended again, and they are forgotten.

use std::sync::Arc;
use std::time::Duration;

use regrove_store::{Change, SharedJournal, SharedJournalError};
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, OptionalExtension, ToSql, Transaction, TransactionBehavior, params, params_from_iter};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

/// For how long a runtime that has gone silent keeps others from the journal.
const OWNER_TTL: Duration = Duration::from_secs(10);
/// Time between two signs of life.
const OWNER_RENEWAL: Duration = Duration::from_secs(3);
/// Time between two looks whether the journal is free.
const OWNER_POLL: Duration = Duration::from_millis(250);
/// Changes read at once.
const PAGE: usize = 200;
/// Shorter streams are not cleaned.
const CLEANED_FROM: usize = 100;
/// Part of a stream that is cleaned at a time.
const CLEANED_PART: usize = 20;

/// Tables whose rows make up the journal, and their columns; the first is the row's number.
const TABLES: [(&str, &str); 4] = [
    ("events", "seq, namespace, broker, id, type, headers, event, accepted_at"),
    (
        "deliveries",
        "seq, event, trigger, state, stage, attempt, next_at, error_destination, error_code, error_data, error, ended_at",
    ),
    ("attempts", "rowid, delivery, at, stage, attempt, destination, code, latency_us, error"),
    ("replays", "seq, trigger, next_event, last_event"),
];

/// Where the file stands in the stream, and rows that changed since.
const BOOKKEEPING: &str = "
    CREATE TABLE IF NOT EXISTS shared (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        owner TEXT NOT NULL,
        lineage TEXT NOT NULL,
        position TEXT NOT NULL,
        restoring INTEGER NOT NULL
    );
    CREATE TABLE IF NOT EXISTS unsent (
        source TEXT NOT NULL,
        row INTEGER NOT NULL,
        PRIMARY KEY (source, row)
    ) WITHOUT ROWID;
";

/// Why the journal in Redis cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SharedError {
    #[error(transparent)]
    File(#[from] rusqlite::Error),
    #[error(transparent)]
    Stream(#[from] SharedJournalError),
    #[error("entry {id} of the stream cannot be read: {reason}")]
    Entry { id: String, reason: String },
}

/// A row as the stream has it; without cells it is gone.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    #[serde(rename = "t")]
    table: String,
    #[serde(rename = "r")]
    number: i64,
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    cells: Option<Vec<Cell>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Cell {
    Integer(i64),
    Text(String),
    /// An event: its JSON.
    Blob {
        blob: String,
    },
    Null(()),
}

impl Cell {
    fn of(value: ValueRef<'_>) -> rusqlite::Result<Self> {
        Ok(match value {
            ValueRef::Null => Self::Null(()),
            ValueRef::Integer(number) => Self::Integer(number),
            ValueRef::Text(_) => Self::Text(value.as_str().map(str::to_owned)?),
            ValueRef::Blob(bytes) => Self::Blob { blob: String::from_utf8_lossy(bytes).into_owned() },
            ValueRef::Real(_) => return Err(rusqlite::Error::InvalidQuery),
        })
    }
}

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Integer(number) => ToSqlOutput::Owned(Value::Integer(*number)),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Self::Blob { blob } => ToSqlOutput::Borrowed(ValueRef::Blob(blob.as_bytes())),
            Self::Null(()) => ToSqlOutput::Owned(Value::Null),
        })
    }
}

/// The stream, and who this runtime is to it.
#[derive(Debug)]
pub(crate) struct Shared {
    journal: Arc<SharedJournal>,
    owner: String,
    handle: Handle,
    _renewing: DropGuard,
}

impl Shared {
    /// Makes the file what the stream says and becomes its owner.
    pub(crate) async fn take_over(
        connection: &mut Connection,
        journal: Arc<SharedJournal>,
    ) -> Result<Self, SharedError> {
        prepare(connection)?;
        let owner: String = connection.query_row("SELECT owner FROM shared", [], |row| row.get(0))?;
        own(&journal, &owner).await?;
        let renewing = CancellationToken::new();
        tokio::spawn(renew(Arc::clone(&journal), owner.clone(), renewing.clone()));
        let shared = Self { journal, owner, handle: Handle::current(), _renewing: renewing.drop_guard() };
        shared.catch_up(connection).await?;
        Ok(shared)
    }

    async fn catch_up(&self, connection: &mut Connection) -> Result<(), SharedError> {
        let lineage = self.journal.lineage().await?;
        let (known, mut position): (String, String) =
            connection.query_row("SELECT lineage, position FROM shared", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let empty = self.journal.count().await? == 0;
        let follows = known == lineage && (position == "0" || self.journal.has(&position).await?);
        if empty && !follows {
            let rows = note_all(connection, &lineage)?;
            if rows > 0 {
                tracing::warn!(
                    rows,
                    redis = self.journal.place(),
                    "the journal in Redis is empty; it gets what is here"
                );
            }
            return Ok(());
        }
        if !follows {
            forget_all(connection, &lineage)?;
            "0".clone_into(&mut position);
        }
        loop {
            let changes = self.journal.read(&position, PAGE).await?;
            let Some(last) = changes.last() else {
                return Ok(());
            };
            position.clone_from(&last.id);
            restore(connection, &changes)?;
        }
    }

    /// Appends what the transaction changed; it may be committed then. Must be called outside of the loop that serves.
    pub(crate) fn send(&self, transaction: &Transaction<'_>) -> Result<(), SharedError> {
        let bytes = unsent(transaction)?;
        if bytes.is_empty() {
            return Ok(());
        }
        let position = self.handle.block_on(self.journal.append(&self.owner, OWNER_TTL, &bytes))?;
        transaction.execute("DELETE FROM unsent", [])?;
        transaction.prepare_cached("UPDATE shared SET position = ?1")?.execute([position])?;
        Ok(())
    }

    /// Cleans a part of the stream. Must be called outside of the loop that serves.
    pub(crate) fn clean(&self, connection: &mut Connection) -> Result<(), SharedError> {
        let length = self.handle.block_on(self.journal.count())?;
        if length < CLEANED_FROM {
            return Ok(());
        }
        // One more, which is where the stream begins afterwards.
        let mut oldest = self.handle.block_on(self.journal.read("0", length / CLEANED_PART + 1))?;
        let Some(begins) = oldest.pop() else {
            return Ok(());
        };
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for row in rows(&oldest)? {
            if select(&transaction, &row.table, row.number)?.is_some() {
                note(&transaction, &row.table, row.number)?;
            }
        }
        self.send(&transaction)?;
        transaction.commit()?;
        Ok(self.handle.block_on(self.journal.trim(&begins.id))?)
    }

    /// Lets go of the stream. Must be called outside of the loop that serves.
    pub(crate) fn release(&self) {
        if let Err(error) = self.handle.block_on(self.journal.release(&self.owner)) {
            tracing::warn!(%error, "the journal in Redis is kept from others for some seconds");
        }
    }
}

/// Waits until nobody else owns the journal, as long as a silent one keeps it.
async fn own(journal: &SharedJournal, owner: &str) -> Result<(), SharedError> {
    let deadline = Instant::now() + OWNER_TTL + OWNER_RENEWAL;
    while !journal.own(owner, OWNER_TTL).await? {
        if Instant::now() >= deadline {
            return Err(SharedJournalError::NotOwner { place: journal.place().to_owned() }.into());
        }
        tokio::time::sleep(OWNER_POLL).await;
    }
    Ok(())
}

async fn renew(journal: Arc<SharedJournal>, owner: String, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(OWNER_RENEWAL) => {}
            () = stop.cancelled() => return,
        }
        match journal.own(&owner, OWNER_TTL).await {
            Ok(true) => {}
            Ok(false) => tracing::error!(redis = journal.place(), "another runtime has taken the journal over"),
            Err(error) => tracing::warn!(%error, "no sign of life was given to the journal in Redis"),
        }
    }
}

/// Adds to the file what tells where it stands.
fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(BOOKKEEPING)?;
    for (table, _) in TABLES {
        for (event, row) in [("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD")] {
            connection.execute_batch(&format!(
                "CREATE TRIGGER IF NOT EXISTS {table}_{event} AFTER {event} ON {table}
                 WHEN (SELECT restoring FROM shared) = 0
                 BEGIN INSERT OR IGNORE INTO unsent VALUES ('{table}', {row}.rowid); END"
            ))?;
        }
    }
    connection.execute(
        "INSERT OR IGNORE INTO shared (one, owner, lineage, position, restoring) VALUES (1, ?1, '', '0', 0)",
        [Uuid::new_v4().to_string()],
    )?;
    Ok(())
}

fn columns(table: &str) -> Option<&'static str> {
    TABLES.iter().find(|(name, _)| *name == table).map(|(_, columns)| *columns)
}

fn note(transaction: &Transaction<'_>, table: &str, number: i64) -> rusqlite::Result<()> {
    transaction.prepare_cached("INSERT OR IGNORE INTO unsent VALUES (?1, ?2)")?.execute(params![table, number])?;
    Ok(())
}

/// Has every row sent with the next commit, to a stream of this lineage. Answers how many there are.
fn note_all(connection: &mut Connection, lineage: &str) -> rusqlite::Result<usize> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut count = 0;
    for (table, _) in TABLES {
        let all = format!("INSERT OR IGNORE INTO unsent SELECT '{table}', rowid FROM {table}");
        count += transaction.execute(&all, [])?;
    }
    transaction.execute("UPDATE shared SET lineage = ?1, position = '0'", [lineage])?;
    transaction.commit()?;
    Ok(count)
}

/// Empties the file, which is to follow a stream of this lineage from its beginning.
fn forget_all(connection: &mut Connection, lineage: &str) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute("UPDATE shared SET restoring = 1", [])?;
    for (table, _) in TABLES.iter().rev() {
        transaction.execute(&format!("DELETE FROM {table}"), [])?;
    }
    transaction.execute("DELETE FROM unsent", [])?;
    transaction.execute("UPDATE shared SET lineage = ?1, position = '0', restoring = 0", [lineage])?;
    transaction.commit()
}

fn select(transaction: &Transaction<'_>, table: &str, number: i64) -> rusqlite::Result<Option<Vec<Cell>>> {
    let Some(columns) = columns(table) else {
        return Ok(None);
    };
    let mut statement = transaction.prepare_cached(&format!("SELECT {columns} FROM {table} WHERE rowid = ?1"))?;
    let width = statement.column_count();
    statement.query_row([number], |row| (0..width).map(|at| Cell::of(row.get_ref(at)?)).collect()).optional()
}

/// The rows that are still to be sent, as they are now, one on each line. Parents come before their children.
fn unsent(transaction: &Transaction<'_>) -> Result<Vec<u8>, SharedError> {
    let mut bytes = Vec::new();
    for (table, _) in TABLES {
        let mut noted = transaction.prepare_cached("SELECT row FROM unsent WHERE source = ?1 ORDER BY row")?;
        for number in noted.query_map([table], |row| row.get::<_, i64>(0))? {
            let number = number?;
            let row = Row { table: table.to_owned(), number, cells: select(transaction, table, number)? };
            serde_json::to_writer(&mut bytes, &row)
                .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
            bytes.push(b'\n');
        }
    }
    Ok(bytes)
}

fn rows(changes: &[Change]) -> Result<Vec<Row>, SharedError> {
    let mut rows = Vec::new();
    for change in changes {
        for line in change.bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let unreadable =
                |error: serde_json::Error| SharedError::Entry { id: change.id.clone(), reason: error.to_string() };
            rows.push(serde_json::from_slice(line).map_err(unreadable)?);
        }
    }
    Ok(rows)
}

/// Takes changes of the stream into the file. Rows may come again, and children before or after their parents are gone.
fn restore(connection: &mut Connection, changes: &[Change]) -> Result<(), SharedError> {
    let Some(last) = changes.last() else {
        return Ok(());
    };
    connection.pragma_update(None, "foreign_keys", false)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute("UPDATE shared SET restoring = 1", [])?;
    for row in rows(changes)? {
        let unknown =
            || SharedError::Entry { id: last.id.clone(), reason: format!("table `{}` is unknown", row.table) };
        let columns = columns(&row.table).ok_or_else(unknown)?;
        let table = &row.table;
        match row.cells {
            None => {
                let delete = format!("DELETE FROM {table} WHERE rowid = ?1");
                transaction.prepare_cached(&delete)?.execute([row.number])?;
            }
            Some(cells) => {
                let places = vec!["?"; cells.len()].join(", ");
                let insert = format!("INSERT OR REPLACE INTO {table} ({columns}) VALUES ({places})");
                transaction.prepare_cached(&insert)?.execute(params_from_iter(cells))?;
            }
        }
    }
    transaction.execute("UPDATE shared SET position = ?1, restoring = 0", [&last.id])?;
    transaction.commit()?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(())
}
