//! Jobs as the event log has them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use regrove_events::event::{self, SweepRequested, TrainRequested};
use regrove_events::log::{EventLog, JOB_PREFIX, Position, Version, job_stream, serving_stream, sweep_stream};
use regrove_events::sweep::{self, Sweep};
use regrove_events::{CloudEvent, Event, Job, JobState, TrainCancelled, job};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::attempts::{Submitted, retry_base, retry_id};
use crate::query::Place;
use crate::{Comparison, Error, JobView, Page, Query, ReplayStep, Span, Summary, SweepView, compare, replay, trace};

/// Entries of the log read at once.
const BATCH: usize = 1000;

/// Jobs of one event log. Cheap to clone; clones share what has been read.
#[derive(Clone)]
pub struct Jobs {
    log: Arc<dyn EventLog>,
    source: String,
    read: Arc<Mutex<Projection>>,
}

/// All jobs, folded up to a position of the log.
#[derive(Default)]
struct Projection {
    position: Position,
    /// Jobs under way, to be folded further.
    open: BTreeMap<String, Job>,
    /// The line of every job.
    lines: BTreeMap<String, Summary>,
}

impl fmt::Debug for Jobs {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Jobs").field("log", &self.log).field("source", &self.source).finish_non_exhaustive()
    }
}

impl Jobs {
    /// The jobs of a log. `source` stands in the events that are made here: `/regrove/cli`.
    pub fn new(log: Arc<dyn EventLog>, source: impl Into<String>) -> Self {
        Self { log, source: source.into(), read: Arc::default() }
    }

    /// A page of jobs, newest first.
    ///
    /// # Errors
    /// [`Error::Field`] for a limit or cursor out of range, [`Error::Log`].
    pub async fn list(&self, query: &Query) -> Result<Page, Error> {
        let after = query.check()?;
        let mut read = self.read.lock().await;
        self.catch_up(&mut read).await?;
        let mut states: BTreeMap<String, usize> = BTreeMap::new();
        let mut fitting: Vec<(Place, &Summary)> = Vec::new();
        for line in read.lines.values().filter(|line| query.fits(line)) {
            *states.entry(line.state.to_string()).or_default() += 1;
            if query.fits_state(line) {
                fitting.push((Place::of(line), line));
            }
        }
        fitting.sort_by(|one, other| one.0.cmp(&other.0));
        let from = after.map_or(0, |after| fitting.partition_point(|(place, _)| *place <= after));
        let page = fitting.get(from..).unwrap_or_default();
        let shown = page.get(..query.limit.min(page.len())).unwrap_or_default();
        let more = page.len() > shown.len();
        Ok(Page {
            jobs: shown.iter().map(|(_, line)| (*line).clone()).collect(),
            next: shown.last().filter(|_| more).map(|(place, _)| place.text()),
            total: fitting.len(),
            states,
        })
    }

    /// The lines of the jobs that made versions, in the order of their ids.
    ///
    /// # Errors
    /// [`Error::Log`].
    pub async fn with_version(&self) -> Result<Vec<Summary>, Error> {
        let mut read = self.read.lock().await;
        self.catch_up(&mut read).await?;
        Ok(read.lines.values().filter(|line| line.model.is_some()).cloned().collect())
    }

    async fn catch_up(&self, read: &mut Projection) -> Result<(), Error> {
        if self.log.head().await? < read.position {
            // Another log stands where the old one was.
            *read = Projection::default();
        }
        loop {
            let entries = self.log.tail(read.position, BATCH).await?;
            let last = entries.len() < BATCH;
            for entry in entries {
                if let Some(id) = entry.stream.strip_prefix(JOB_PREFIX) {
                    self.fold(read, id, &entry.event).await?;
                }
                read.position = entry.position;
            }
            if last {
                return Ok(());
            }
        }
    }

    /// Folds one more event of a job. Of a job that has ended only the line is kept; it is read anew if anything follows.
    async fn fold(&self, read: &mut Projection, id: &str, recorded: &CloudEvent) -> Result<(), Error> {
        let ended = read.lines.contains_key(id) && !read.open.contains_key(id);
        let job = if ended {
            job::replay(&self.log.read(&job_stream(id), 0).await?)
        } else {
            let job = read.open.remove(id).unwrap_or_default();
            match Event::read(recorded) {
                Ok(event) => job::evolve(job, recorded, &event),
                // A newer version of Regrove wrote it: what it means is not known here.
                Err(_) => job,
            }
        };
        read.lines.insert(id.to_owned(), Summary::of(id, &job));
        if !job.state.is_terminal() {
            read.open.insert(id.to_owned(), job);
        }
        Ok(())
    }

    /// The events of a job, in order.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Log`].
    pub async fn history(&self, id: &str) -> Result<Vec<CloudEvent>, Error> {
        let history = self.log.read(&job_stream(id), 0).await?;
        if history.is_empty() {
            return Err(Error::NotFound { id: id.to_owned() });
        }
        Ok(history)
    }

    /// The events of a job after its `version`-th, at once if there are any, else as soon as there are; none after
    /// `wait`. A job that nobody has heard of may still come.
    ///
    /// # Errors
    /// [`Error::Log`].
    pub async fn news(&self, id: &str, version: Version, wait: Duration) -> Result<Vec<CloudEvent>, Error> {
        let until = Instant::now() + wait;
        loop {
            // Before the look: what comes after it ends the wait below.
            let head = self.log.head().await?;
            let news = self.log.read(&job_stream(id), version).await?;
            let left = until.saturating_duration_since(Instant::now());
            if !news.is_empty() || left.is_zero() {
                return Ok(news);
            }
            self.log.wait(head, left).await?;
        }
    }

    /// Everything that is known of a job at `now`.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Log`].
    pub async fn show(&self, id: &str, now: Timestamp) -> Result<JobView, Error> {
        let history = self.history(id).await?;
        let mut view = JobView::of(id, &history, now);
        let (base, attempt) = retry_base(id);
        view.attempt = attempt;
        view.first_attempt = (attempt > 1).then(|| base.to_owned());
        let next = retry_id(id, attempt + 1);
        view.next_attempt = (!self.log.read(&job_stream(&next), 0).await?.is_empty()).then_some(next);
        Ok(view)
    }

    /// Asks for a job under an id that the caller chose: the same request under the same id is one job.
    ///
    /// # Errors
    /// [`Error::Id`], [`Error::Taken`] when the id has another request, [`Error::Log`].
    pub async fn submit(&self, id: &str, request: &TrainRequested, at: Timestamp) -> Result<Submitted, Error> {
        event::check_subject(id).map_err(Error::Id)?;
        let history = self.log.read(&job_stream(id), 0).await?;
        let known = job::replay(&history);
        match &known.request {
            Some(taken) if taken != request => return Err(Error::Taken { id: id.to_owned() }),
            _ => {}
        }
        let kept = history.iter().find(|event| known.request_id.as_deref() == Some(event.id())).cloned();
        let event = match kept {
            Some(event) => event,
            None => Event::TrainRequested(request.clone()).first(&format!("{id}/request"), &self.source, id, at)?,
        };
        Ok(Submitted { id: id.to_owned(), known: known.request.is_some(), event })
    }

    /// Asks a job, or a sweep with its trials, to stop. Returns the event to emit; `aggregate` ends the job, and shards at work end after their trees.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Ended`], [`Error::Log`].
    pub async fn stop(&self, id: &str, reason: Option<String>, at: Timestamp) -> Result<CloudEvent, Error> {
        match self.sweep(id).await {
            Ok(sweep) if sweep.completed.is_some() => {
                return Err(Error::Ended { id: id.to_owned(), state: JobState::Succeeded });
            }
            Ok(_) => {}
            Err(Error::NotFound { .. }) => {
                let state = job::replay(&self.history(id).await?).state;
                if state.is_terminal() {
                    return Err(Error::Ended { id: id.to_owned(), state });
                }
            }
            Err(error) => return Err(error),
        }
        let event = Event::TrainCancelled(TrainCancelled { reason });
        Ok(event.first(&format!("{id}/cancel"), &self.source, id, at)?)
    }

    /// A sweep with its trials so far.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Log`].
    pub async fn show_sweep(&self, id: &str) -> Result<SweepView, Error> {
        let sweep = self.sweep(id).await?;
        let mut trials = Vec::new();
        for trial in &sweep.asked {
            trials.push(Summary::of(trial, &job::replay(&self.log.read(&job_stream(trial), 0).await?)));
        }
        Ok(SweepView {
            id: id.to_owned(),
            size: sweep.request.as_ref().map_or(0, |request| u64::try_from(request.size()).unwrap_or(u64::MAX)),
            requested_at: sweep.requested_at,
            ended_at: sweep.ended_at,
            trials,
            completed: sweep.completed,
        })
    }

    /// A sweep as the log has it.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Log`].
    async fn sweep(&self, id: &str) -> Result<Sweep, Error> {
        let history = self.log.read(&sweep_stream(id), 0).await?;
        if history.is_empty() {
            return Err(Error::NotFound { id: id.to_owned() });
        }
        Ok(sweep::replay(&history))
    }

    /// Asks for a sweep under an id that the caller chose: the same request under the same id is one sweep.
    ///
    /// # Errors
    /// [`Error::Id`], [`Error::Taken`] when the id has another request, [`Error::Field`] for a grid that is empty or too
    /// large, [`Error::Log`].
    pub async fn submit_sweep(&self, id: &str, request: &SweepRequested, at: Timestamp) -> Result<Submitted, Error> {
        event::check_subject(id).map_err(Error::Id)?;
        request.trials(id).map_err(|refused| Error::Field { field: "sweep", reason: refused.to_string() })?;
        let known = self.log.read(&sweep_stream(id), 0).await?;
        if sweep::replay(&known).request.is_some_and(|taken| taken != *request) {
            return Err(Error::Taken { id: id.to_owned() });
        }
        let event = match known.into_iter().next() {
            Some(event) => event,
            None => Event::SweepRequested(request.clone()).first(&format!("{id}/request"), &self.source, id, at)?,
        };
        Ok(Submitted { id: id.to_owned(), known: event.time() != Some(at), event })
    }

    /// Asks for another attempt at a job that failed or was cancelled: the same request under [`retry_id`].
    ///
    /// An attempt that is under way or has succeeded is returned as it is, so asking twice makes one job.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotRetryable`], [`Error::NoRequest`], [`Error::Log`].
    pub async fn retry(&self, id: &str, at: Timestamp) -> Result<Submitted, Error> {
        let job = job::replay(&self.history(id).await?);
        if !matches!(job.state, JobState::Failed | JobState::Cancelled) {
            return Err(Error::NotRetryable { id: id.to_owned(), state: job.state });
        }
        let request = job.request.ok_or_else(|| Error::NoRequest { id: id.to_owned() })?;
        let mut attempt = retry_base(id).1 + 1;
        loop {
            let next = retry_id(id, attempt);
            let known = job::replay(&self.log.read(&job_stream(&next), 0).await?);
            if !matches!(known.state, JobState::Failed | JobState::Cancelled) {
                return self.submit(&next, &request, at).await;
            }
            attempt += 1;
        }
    }

    /// The events that a job waits for an answer to, to be emitted again: what the tick would do later.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Ended`], [`Error::Log`].
    pub async fn waiting_for(&self, id: &str) -> Result<Vec<CloudEvent>, Error> {
        let history = self.history(id).await?;
        let state = job::replay(&history).state;
        if state.is_terminal() {
            return Err(Error::Ended { id: id.to_owned(), state });
        }
        Ok(replay::waiting_for(&history))
    }

    /// The job's state after each of its events: how it came to be what it is.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Log`].
    pub async fn steps(&self, id: &str) -> Result<Vec<ReplayStep>, Error> {
        Ok(replay::steps(&self.history(id).await?))
    }

    /// Two jobs side by side.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Log`].
    pub async fn compare(&self, left: &str, right: &str) -> Result<Comparison, Error> {
        let (one, other) = (job::replay(&self.history(left).await?), job::replay(&self.history(right).await?));
        Ok(compare((left, &one), (right, &other)))
    }

    /// The spans of a job's work as the log has them: from the request to the moment at which its version is served.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Log`].
    pub async fn trace(&self, id: &str, now: Timestamp) -> Result<Span, Error> {
        let history = self.history(id).await?;
        let registered = job::replay(&history).registered;
        let serving = match &registered {
            Some(registered) => self.log.read(&serving_stream(&registered.name), 0).await?,
            None => Vec::new(),
        };
        Ok(trace(id, &history, &serving, now))
    }
}
