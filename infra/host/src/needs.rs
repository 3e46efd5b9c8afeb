//! What a function cannot do without: it is not ready before all of it has answered once.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use regrove_events::with_causes;
use regrove_mlflow::Record;
use regrove_store::{Control, StoreKind};
use tokio::sync::watch;

use crate::Problem;

/// How long a readiness probe waits for an answer: less than the second that Kubernetes gives it.
const PROBE_WAIT: Duration = Duration::from_millis(900);
/// Pause between two attempts to reach what did not answer.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);

type Check = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// Things outside that a function needs. What has answered once may go away again: requests then say so themselves.
#[derive(Clone, Default)]
pub struct Needs {
    checks: Vec<(&'static str, Check)>,
    /// Where the state is, for a function that has any.
    pub(crate) store: Option<StoreKind>,
}

impl fmt::Debug for Needs {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.checks.iter().map(|(setting, _)| setting)).finish()
    }
}

impl Needs {
    pub(crate) fn control(&mut self, control: &Control) {
        self.store = Some(control.kind());
        let control = control.clone();
        self.add("REDIS_URL", move || {
            let control = control.clone();
            async move { control.check().await.map_err(|error| with_causes(&error)) }
        });
    }

    pub(crate) fn record(&mut self, record: &Record) {
        let record = record.clone();
        self.add("MLFLOW_TRACKING_URI", move || {
            let record = record.clone();
            async move { record.client().server_version().await.map(drop).map_err(|error| with_causes(&error)) }
        });
    }

    fn add<F>(&mut self, setting: &'static str, check: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.checks.push((setting, Arc::new(move || Box::pin(check()))));
    }

    /// Starts to look, with this pause after a failure. Must be called within a runtime.
    pub(crate) fn watch(&self, pause: Duration) -> Readiness {
        let (sender, state) = watch::channel(None);
        let needs = self.checks.clone();
        tokio::spawn(async move {
            for (setting, check) in needs {
                while let Err(reason) = check().await {
                    let reason = format!("{setting}: {reason}");
                    tracing::error!(%reason, "not ready");
                    sender.send_replace(Some(Err(reason)));
                    tokio::time::sleep(pause).await;
                }
            }
            sender.send_replace(Some(Ok(())));
        });
        Readiness(state)
    }
}

/// Whether everything has answered: `None` until the first answer or failure.
#[derive(Debug, Clone)]
pub(crate) struct Readiness(watch::Receiver<Option<Result<(), String>>>);

impl Readiness {
    /// For `/healthz`.
    pub(crate) async fn probe(&self) -> Result<&'static str, Problem> {
        let mut state = self.0.clone();
        let ready = state.wait_for(|state| matches!(state, Some(Ok(()))));
        if tokio::time::timeout(PROBE_WAIT, ready).await.is_ok_and(|seen| seen.is_ok()) {
            return Ok("ok");
        }
        let waiting = "what this function needs has not answered yet".to_owned();
        let detail = match &*self.0.borrow() {
            Some(Err(reason)) => reason.clone(),
            _ => waiting,
        };
        Err(Problem::new("not-ready", StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(PAUSE))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn failing(times: usize) -> (Needs, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let mut needs = Needs::default();
        needs.add("REDIS_URL", move || {
            let attempt = counter.fetch_add(1, Ordering::SeqCst);
            async move { if attempt < times { Err("connection refused".to_owned()) } else { Ok(()) } }
        });
        (needs, asked)
    }

    #[tokio::test]
    async fn a_probe_says_what_does_not_answer() {
        let (needs, _) = failing(usize::MAX);
        let refused = needs.watch(PAUSE).probe().await.unwrap_err();
        assert_eq!((refused.kind, refused.status), ("not-ready", StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(refused.detail, "REDIS_URL: connection refused");
    }

    #[tokio::test]
    async fn what_has_answered_is_not_asked_again() {
        let (needs, asked) = failing(2);
        let readiness = needs.watch(Duration::ZERO);
        for _ in 0..3 {
            assert_eq!(readiness.probe().await.unwrap(), "ok");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 3);
        assert_eq!(Needs::default().watch(PAUSE).probe().await.unwrap(), "ok");
    }
}
