//! The broker's journal: every accepted event and every delivery that is still to be made, in SQLite, or in Redis with
//! SQLite as what that adds up to (see [`super::shared`]).
//!
//! One thread writes. It takes all commands that are waiting and commits them together, so that a burst of events costs
//! one sync of the disk. Commands that nobody waits for are held back a moment to share the commit of others.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use regrove_events::CloudEvent;
use regrove_store::SharedJournal;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;

use super::queue::TriggerQueue;
use super::replay::{self, Replayed, Wanted};
use super::schema;
use super::shared::{Shared, SharedError};
use super::statements::{due, insert, settle};
use super::upkeep::{KnownTrigger, keep_triggers, prune};

/// Most commands in one commit.
const BATCH_MAX: usize = 1024;
/// How long outcomes of deliveries wait for others to share a commit with. One that is lost with the process means
/// that its event is delivered again, which at-least-once allows.
const OUTCOME_DELAY: Duration = Duration::from_millis(5);
/// How often another process's changes (`regrove event redrive`) are looked for.
const FOREIGN_CHANGE_INTERVAL: Duration = Duration::from_secs(1);
/// Accepted events between two prunings.
const PRUNE_EVERY: usize = 1_000;

/// The broker's file cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the event journal {} cannot be used: {reason}", path.display())]
pub struct JournalError {
    /// The file.
    pub path: PathBuf,
    /// What SQLite said.
    pub reason: String,
}

/// An event on its way into the journal.
#[derive(Debug, Clone)]
pub(crate) struct NewEvent {
    pub(crate) event: Arc<StoredEvent>,
    /// Triggers that want it.
    pub(crate) triggers: Vec<Arc<TriggerQueue>>,
}

/// An event as it is kept.
#[derive(Debug, Clone)]
pub(crate) struct StoredEvent {
    pub(crate) namespace: String,
    pub(crate) broker: String,
    pub(crate) event: CloudEvent,
    /// Request headers that travel with the event.
    pub(crate) headers: Vec<(String, String)>,
}

/// Sequence numbers of an event's deliveries, in the order of its triggers.
pub(crate) type Deliveries = Vec<i64>;

/// Why a delivery is a dead letter, or will be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeadCause {
    pub(crate) destination: String,
    pub(crate) code: u16,
    pub(crate) data: String,
    pub(crate) error: String,
}

/// A delivery that is to be made.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub(crate) seq: i64,
    pub(crate) event: Arc<StoredEvent>,
    /// Attempts made, in the present stage.
    pub(crate) attempt: u32,
    /// Not before this time.
    pub(crate) due_at: i64,
    /// Set when the subscriber has failed for good and the dead letter sink is next.
    pub(crate) dead: Option<DeadCause>,
}

/// What one attempt led to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) delivery: i64,
    pub(crate) dead_letter_stage: bool,
    pub(crate) attempt: u32,
    pub(crate) started_at: i64,
    pub(crate) destination: String,
    pub(crate) code: Option<u16>,
    pub(crate) latency: Duration,
    pub(crate) error: Option<String>,
    pub(crate) next: Next,
}

/// What follows an attempt.
#[derive(Debug)]
pub(crate) enum Next {
    /// Done; the reply goes into the same commit.
    Delivered(Option<NewEvent>),
    /// Another attempt at this time.
    Retry(i64),
    /// On to the dead letter sink.
    DeadLetter(DeadCause),
    /// The dead letter sink took it.
    InSink,
    /// Nobody takes it.
    Dropped(DeadCause),
}

/// Deliveries that are due, and when the next of the others is.
#[derive(Debug, Default)]
pub(crate) struct Due {
    pub(crate) pending: Vec<Pending>,
    pub(crate) next_at: Option<i64>,
}

type Answer<T> = oneshot::Sender<Result<T, JournalError>>;

enum Command {
    Accept(NewEvent, Answer<Deliveries>),
    Settle(Box<Outcome>, Answer<Deliveries>),
    Due { trigger: Arc<str>, now: i64, limit: usize, ordered: bool, answer: Answer<Due> },
    Replay { trigger: Arc<str>, wanted: Wanted, answer: Answer<Replayed> },
    KeepTriggers { triggers: Vec<KnownTrigger>, answer: Answer<usize> },
    Close,
}

impl Command {
    fn is_urgent(&self) -> bool {
        !matches!(self, Self::Settle(outcome, _) if !matches!(outcome.next, Next::Delivered(Some(_))))
    }
}

/// The journal of all brokers of a runtime.
#[derive(Debug)]
pub(crate) struct Journal {
    commands: Sender<Command>,
    path: PathBuf,
    writer: std::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Journal {
    /// Opens the file, makes it what `shared` says if that is given, and starts the writer. `foreign_change` is called
    /// when another process has changed the file. Events whose deliveries have all succeeded are kept for `retention`.
    pub(crate) async fn open(
        home: &Path,
        retention: Duration,
        shared: Option<Arc<SharedJournal>>,
        foreign_change: impl Fn() + Send + 'static,
    ) -> Result<Self, JournalError> {
        let failed = |reason: String| JournalError { path: schema::path(home), reason };
        let mut connection = schema::create(home, shared.is_some()).map_err(|error| failed(error.to_string()))?;
        let path = schema::path(home);
        let shared = match shared {
            Some(journal) => {
                let taken = Shared::take_over(&mut connection, journal).await;
                Some(taken.map_err(|error| failed(error.to_string()))?)
            }
            None => None,
        };
        let (commands, queue) = mpsc::channel();
        let mut writer =
            Writer { connection, shared, retention, path: path.clone(), accepted: PRUNE_EVERY, version: 0 };
        let writer = thread::Builder::new()
            .name("regrove-journal".to_owned())
            .spawn(move || writer.run(&queue, &foreign_change))
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self { commands, path, writer: std::sync::Mutex::new(Some(writer)) })
    }

    async fn ask<T>(&self, command: impl FnOnce(Answer<T>) -> Command) -> Result<T, JournalError> {
        let (answer, result) = oneshot::channel();
        let failed = |reason: &str| JournalError { path: self.path.clone(), reason: reason.to_owned() };
        self.commands.send(command(answer)).map_err(|_| failed("it is closed"))?;
        result.await.map_err(|_| failed("the write was given up"))?
    }

    /// Stores an event and its deliveries. They are on disk when this returns.
    pub(crate) async fn accept(&self, event: NewEvent) -> Result<Deliveries, JournalError> {
        self.ask(|answer| Command::Accept(event, answer)).await
    }

    /// Stores what an attempt led to; answers with the deliveries of the reply, if there is one.
    pub(crate) async fn settle(&self, outcome: Outcome) -> Result<Deliveries, JournalError> {
        self.ask(|answer| Command::Settle(Box::new(outcome), answer)).await
    }

    /// Up to `limit` deliveries of a trigger: those that are due, the longest due first; when `ordered`, all that are
    /// still to be made, in the order in which their events came.
    pub(crate) async fn due(
        &self,
        trigger: Arc<str>,
        now: i64,
        limit: usize,
        ordered: bool,
    ) -> Result<Due, JournalError> {
        self.ask(|answer| Command::Due { trigger, now, limit, ordered, answer }).await
    }

    /// Makes new deliveries of stored events that the trigger wants, if somebody has asked for that.
    pub(crate) async fn replay(&self, trigger: Arc<str>, wanted: Wanted) -> Result<Replayed, JournalError> {
        self.ask(|answer| Command::Replay { trigger, wanted, answer }).await
    }

    /// Notes which triggers there are, and makes dead letters of what waits for others; answers how many there were.
    pub(crate) async fn keep_triggers(&self, triggers: Vec<KnownTrigger>) -> Result<usize, JournalError> {
        self.ask(|answer| Command::KeepTriggers { triggers, answer }).await
    }

    /// Writes what is left and closes the file.
    pub(crate) fn close(&self) {
        // The writer may have ended by itself.
        drop(self.commands.send(Command::Close));
        let writer = self.writer.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(writer) = writer
            && writer.join().is_err()
        {
            tracing::error!("the thread of the event journal panicked");
        }
    }
}

struct Writer {
    connection: Connection,
    shared: Option<Shared>,
    retention: Duration,
    path: PathBuf,
    accepted: usize,
    version: i64,
}

impl Writer {
    fn run(&mut self, queue: &Receiver<Command>, foreign_change: &(impl Fn() + Send)) {
        self.version = self.data_version();
        loop {
            let first = match queue.recv_timeout(FOREIGN_CHANGE_INTERVAL) {
                Ok(command) => command,
                Err(RecvTimeoutError::Timeout) => {
                    self.look_for_foreign_changes(foreign_change);
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let (batch, close) = gather(first, queue);
            self.commit(batch);
            if close {
                if let Some(shared) = &self.shared {
                    shared.release();
                }
                return;
            }
            if self.accepted >= PRUNE_EVERY {
                self.accepted = 0;
                if let Err(error) = self.forget() {
                    tracing::warn!(%error, "old events were not deleted");
                }
            }
            self.look_for_foreign_changes(foreign_change);
        }
    }

    /// Deletes what is no longer kept.
    fn forget(&mut self) -> Result<(), SharedError> {
        prune(&self.connection, self.retention)?;
        match &self.shared {
            Some(shared) => shared.clean(&mut self.connection),
            None => Ok(()),
        }
    }

    fn data_version(&self) -> i64 {
        self.connection.pragma_query_value(None, "data_version", |row| row.get(0)).unwrap_or(self.version)
    }

    fn look_for_foreign_changes(&mut self, foreign_change: &impl Fn()) {
        let version = self.data_version();
        if version != self.version {
            self.version = version;
            // What another process changed goes to Redis with the next commit, and there may be none for long.
            if self.shared.is_some() {
                self.commit(Vec::new());
            }
            foreign_change();
        }
    }

    /// Carries out all commands in one transaction, then answers. If anything fails, nothing has happened.
    fn commit(&mut self, batch: Vec<Command>) {
        let mut replies: Replies = Vec::with_capacity(batch.len());
        let mut accepted = 0;
        let written = self.carry_out(batch, &mut replies, &mut accepted);
        self.accepted += accepted;
        let error = written.err().map(|error| JournalError { path: self.path.clone(), reason: error.to_string() });
        if let Some(error) = &error {
            tracing::error!("{error}");
        }
        for reply in replies {
            reply(error.clone());
        }
    }

    fn carry_out(
        &mut self,
        batch: Vec<Command>,
        replies: &mut Replies,
        accepted: &mut usize,
    ) -> Result<(), SharedError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for command in batch {
            match command {
                Command::Accept(event, answer) => {
                    *accepted += 1;
                    answer_later(replies, answer, insert(&transaction, &event))?;
                }
                Command::Settle(outcome, answer) => {
                    answer_later(replies, answer, settle(&transaction, &outcome))?;
                }
                Command::Due { trigger, now, limit, ordered, answer } => {
                    answer_later(replies, answer, due(&transaction, &trigger, now, limit, ordered))?;
                }
                Command::Replay { trigger, wanted, answer } => {
                    answer_later(replies, answer, replay::carry_out(&transaction, &trigger, &wanted))?;
                }
                Command::KeepTriggers { triggers, answer } => {
                    answer_later(replies, answer, keep_triggers(&transaction, &triggers))?;
                }
                Command::Close => {}
            }
        }
        if let Some(shared) = &self.shared {
            shared.send(&transaction)?;
        }
        Ok(transaction.commit()?)
    }
}

type Replies = Vec<Box<dyn FnOnce(Option<JournalError>)>>;

/// Takes what waits, and a little of what comes, unless somebody is waiting for an answer.
fn gather(first: Command, queue: &Receiver<Command>) -> (Vec<Command>, bool) {
    let began = Instant::now();
    let mut close = matches!(first, Command::Close);
    let mut urgent = first.is_urgent();
    let mut batch = vec![first];
    while batch.len() < BATCH_MAX && !close {
        let next = if urgent {
            queue.try_recv().ok()
        } else {
            queue.recv_timeout(OUTCOME_DELAY.saturating_sub(began.elapsed())).ok()
        };
        let Some(next) = next else {
            break;
        };
        close = matches!(next, Command::Close);
        urgent |= next.is_urgent();
        batch.push(next);
    }
    (batch, close)
}

/// Keeps a result until the commit. A failed statement fails the whole batch, so its asker is told here.
fn answer_later<T: 'static>(
    replies: &mut Replies,
    answer: Answer<T>,
    result: rusqlite::Result<T>,
) -> rusqlite::Result<()> {
    let (value, failure) = match result {
        Ok(value) => (Some(value), None),
        Err(error) => (None, Some(error)),
    };
    replies.push(Box::new(move |error| {
        let result = match (error, value) {
            (Some(error), _) => Err(error),
            (None, Some(value)) => Ok(value),
            // A statement without a value has failed, and then there is an error.
            (None, None) => return,
        };
        // Whoever asked may have gone away.
        drop(answer.send(result));
    }));
    failure.map_or(Ok(()), Err)
}
