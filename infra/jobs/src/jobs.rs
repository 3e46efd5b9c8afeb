//! Jobs as the event log has them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use regrove_events::event::{self, SweepRequested, TrainRequested};
use regrove_events::log::{EventLog, JOB_PREFIX, Position, job_stream, serving_stream, sweep_stream};
use regrove_events::sweep::{self, Sweep};
use regrove_events::{CloudEvent, Event, Job, JobState, TrainCancelled, job};
use tokio::sync::Mutex;

use crate::attempts::{Submitted, retry_base, retry_id};
use crate::query::Place;
use crate::{Comparison, Error, JobView, Page, Query, ReplayStep, Span, Summary, compare, replay, trace};

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
    jobs: BTreeMap<String, Job>,
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
        let mut fitting: Vec<(Place, &Job)> = read
            .jobs
            .iter()
            .filter(|(id, job)| query.fits(id, job))
            .map(|(id, job)| (Place::of(id, job), job))
            .collect();
        fitting.sort_by(|one, other| one.0.cmp(&other.0));
        let from = after.map_or(0, |after| fitting.partition_point(|(place, _)| *place <= after));
        let page = fitting.get(from..).unwrap_or_default();
        let shown = page.get(..query.limit.min(page.len())).unwrap_or_default();
        let more = page.len() > shown.len();
        Ok(Page {
            jobs: shown.iter().map(|(place, job)| Summary::of(place.id(), job)).collect(),
            next: shown.last().filter(|_| more).map(|(place, _)| place.text()),
            total: fitting.len(),
        })
    }

    async fn catch_up(&self, read: &mut Projection) -> Result<(), Error> {
        loop {
            let entries = self.log.tail(read.position, BATCH).await?;
            let last = entries.len() < BATCH;
            for entry in entries {
                read.position = entry.position;
                let Some(id) = entry.stream.strip_prefix(JOB_PREFIX) else { continue };
                // A type that is not known here was written by a newer version of Regrove.
                let Ok(event) = Event::read(&entry.event) else { continue };
                let job = read.jobs.remove(id).unwrap_or_default();
                read.jobs.insert(id.to_owned(), job::evolve(job, &entry.event, &event));
            }
            if last {
                return Ok(());
            }
        }
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

    /// A sweep as the log has it.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Log`].
    pub async fn sweep(&self, id: &str) -> Result<Sweep, Error> {
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
