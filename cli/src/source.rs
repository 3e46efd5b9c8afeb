//! Where jobs are looked up and asked for: the event log with its broker, or a console's job API. Same answers.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use regrove_events::CloudEvent;
use regrove_events::event::{SweepRequested, TrainRequested};
use regrove_events::log::Version;
use regrove_jobs::{Comparison, Console, Error, JobView, Jobs, Page, Query, ReplayStep, Span, Submitted, SweepView};
use regrove_store::Control;
use uuid::Uuid;

use crate::output::Usage;
use crate::reach::{Reach, SOURCE};

/// How long one look for news lasts; news end it at once.
pub(crate) const NEWS_WAIT: Duration = Duration::from_secs(5);

/// Where jobs are.
pub(crate) enum Source {
    /// In the event log; orders go to the broker.
    Log {
        /// The log's jobs.
        jobs: Jobs,
        /// The log.
        control: Control,
        /// The broker.
        reach: Box<Reach>,
    },
    /// Behind a console, which has the log and the broker.
    Console(Console),
}

/// The moment at which a command runs.
#[expect(clippy::disallowed_methods, reason = "a command is where the outside, and its clock, begins")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// What the user asked wrongly is a wrong argument; what the log does not say is a failure.
fn refused(error: Error) -> anyhow::Error {
    match error {
        Error::NotFound { .. } => Usage(format!("{error}; `regrove job list` lists them")).into(),
        refusal if refusal.is_refusal() => Usage(refusal.to_string()).into(),
        failure => failure.into(),
    }
}

/// The event as the first of a trace of its own.
fn traced(event: CloudEvent) -> anyhow::Result<CloudEvent> {
    let (trace, span) = (Uuid::new_v4().as_u128(), Uuid::new_v4().as_u64_pair().1);
    Ok(regrove_jobs::traced(event, trace, span)?)
}

impl Source {
    /// The console that was named, else the log.
    pub(crate) fn of(reach: &Reach) -> anyhow::Result<Self> {
        if let Some(console) = &reach.console {
            let token = reach.console_token.as_ref().map(|token| token.expose().to_owned());
            return Ok(Self::Console(Console::new(console.clone(), token).map_err(refused)?));
        }
        let control = reach.control()?;
        let jobs = Jobs::new(Arc::clone(&control.log), SOURCE);
        Ok(Self::Log { jobs, control, reach: Box::new(reach.clone()) })
    }

    pub(crate) async fn list(&self, query: &Query) -> anyhow::Result<Page> {
        let page = match self {
            Self::Log { jobs, .. } => jobs.list(query).await,
            Self::Console(console) => console.list(query).await,
        };
        page.map_err(refused)
    }

    pub(crate) async fn show(&self, id: &str) -> anyhow::Result<JobView> {
        self.look(id).await.map_err(refused)
    }

    /// The job, if anybody has heard of it.
    pub(crate) async fn find(&self, id: &str) -> anyhow::Result<Option<JobView>> {
        match self.look(id).await {
            Ok(view) => Ok(Some(view)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(refused(error)),
        }
    }

    async fn look(&self, id: &str) -> Result<JobView, Error> {
        match self {
            Self::Log { jobs, .. } => jobs.show(id, now()).await,
            Self::Console(console) => console.show(id).await,
        }
    }

    pub(crate) async fn steps(&self, id: &str) -> anyhow::Result<Vec<ReplayStep>> {
        let steps = match self {
            Self::Log { jobs, .. } => jobs.steps(id).await,
            Self::Console(console) => console.steps(id).await,
        };
        steps.map_err(refused)
    }

    pub(crate) async fn trace(&self, id: &str) -> anyhow::Result<Span> {
        let root = match self {
            Self::Log { jobs, .. } => jobs.trace(id, now()).await,
            Self::Console(console) => console.trace(id).await,
        };
        root.map_err(refused)
    }

    pub(crate) async fn compare(&self, left: &str, right: &str) -> anyhow::Result<Comparison> {
        let compared = match self {
            Self::Log { jobs, .. } => jobs.compare(left, right).await,
            Self::Console(console) => console.compare(left, right).await,
        };
        compared.map_err(refused)
    }

    /// Events of a job after its `version`-th; waits for one.
    pub(crate) async fn news(&self, id: &str, version: Version, wait: Duration) -> anyhow::Result<Vec<CloudEvent>> {
        let news = match self {
            Self::Log { jobs, .. } => jobs.news(id, version, wait).await,
            Self::Console(console) => console.news(id, version, wait).await,
        };
        news.map_err(refused)
    }

    /// Asks for a job.
    pub(crate) async fn submit(&self, id: &str, request: &TrainRequested) -> anyhow::Result<()> {
        match self {
            Self::Log { jobs, reach, .. } => {
                let submitted = jobs.submit(id, request, now()).await.map_err(refused)?;
                reach.emit(&traced(submitted.event)?).await
            }
            Self::Console(console) => console.submit(id, request).await.map(|_| ()).map_err(refused),
        }
    }

    /// Asks for a sweep.
    pub(crate) async fn submit_sweep(&self, id: &str, request: &SweepRequested) -> anyhow::Result<()> {
        match self {
            Self::Log { jobs, reach, .. } => {
                let submitted = jobs.submit_sweep(id, request, now()).await.map_err(refused)?;
                reach.emit(&traced(submitted.event)?).await
            }
            Self::Console(console) => console.submit_sweep(id, request).await.map(|_| ()).map_err(refused),
        }
    }

    /// A sweep, if anybody has heard of it.
    pub(crate) async fn find_sweep(&self, id: &str) -> anyhow::Result<Option<SweepView>> {
        let sweep = match self {
            Self::Log { jobs, .. } => jobs.show_sweep(id).await,
            Self::Console(console) => console.show_sweep(id).await,
        };
        match sweep {
            Ok(sweep) => Ok(Some(sweep)),
            Err(Error::NotFound { .. } | Error::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(refused(error)),
        }
    }

    /// Asks a job or a sweep to stop.
    pub(crate) async fn stop(&self, id: &str, reason: Option<String>) -> anyhow::Result<()> {
        match self {
            Self::Log { jobs, reach, .. } => {
                let event = jobs.stop(id, reason, now()).await.map_err(refused)?;
                reach.emit(&event).await
            }
            Self::Console(console) => console.stop(id, reason.as_deref()).await.map(|_| ()).map_err(refused),
        }
    }

    /// Asks for another attempt at a job. Returns its id.
    pub(crate) async fn retry(&self, id: &str) -> anyhow::Result<String> {
        match self {
            Self::Log { jobs, reach, .. } => {
                let Submitted { id, event, .. } = jobs.retry(id, now()).await.map_err(refused)?;
                reach.emit(&traced(event)?).await?;
                Ok(id)
            }
            Self::Console(console) => console.retry(id).await.map(|ordered| ordered.id).map_err(refused),
        }
    }

    /// Says again what a job waits for an answer to. Returns the events' ids.
    pub(crate) async fn say_again(&self, id: &str) -> anyhow::Result<Vec<String>> {
        match self {
            Self::Log { jobs, reach, .. } => {
                let events = jobs.waiting_for(id).await.map_err(refused)?;
                for event in &events {
                    reach.emit(event).await?;
                }
                Ok(events.iter().map(|event| event.id().to_owned()).collect())
            }
            Self::Console(console) => console.say_again(id).await.map_err(refused),
        }
    }

    /// Waits for anything to happen, or a moment.
    pub(crate) async fn pause(&self) -> anyhow::Result<()> {
        match self {
            Self::Log { control, .. } => {
                control.log.wait(control.log.head().await?, NEWS_WAIT).await?;
            }
            Self::Console(_) => tokio::time::sleep(CONSOLE_PAUSE).await,
        }
        Ok(())
    }
}

/// Between two looks at what a console cannot wait for.
const CONSOLE_PAUSE: Duration = Duration::from_millis(500);
