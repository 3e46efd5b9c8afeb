//! Driving Knative's autoscaler with this machine's clock.
//!
//! Two things differ from a cluster. A request that has to wait makes the autoscaler look at once, not at its next tick:
//! there is no network to go over. And time may run faster: all clock readings are multiplied by the time scale, so
//! every window, delay and grace period is shorter by that factor.

use std::sync::Arc;
use std::time::{Duration, Instant};

use regrove_knative::autoscaler::{Autoscaler, AutoscalingConfig, Decision, EVALUATION_INTERVAL};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::revision::Revision;

/// Time between two reports of load.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Shortest time between two looks that waiting requests cause.
const POKE_INTERVAL_MIN: Duration = Duration::from_millis(50);

/// How time passes for autoscalers, and where they begin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Factor on all clock readings.
    pub(crate) scale: f64,
    /// Whether revisions start without replicas, whatever their initial scale says.
    pub(crate) start_at_zero: bool,
}

struct Scaler {
    revision: Arc<Revision>,
    autoscaler: Autoscaler,
    start: Instant,
    pace: Pace,
    /// Load that was reported ahead of time, to be left out of what is measured for the same second.
    ahead: f64,
    last_poke: Option<Instant>,
    evaluated: Duration,
}

/// Scales the revision until `stop`, or until it is retired. One that has to prove itself begins with a replica.
pub(crate) async fn run(revision: Arc<Revision>, pace: Pace, stop: CancellationToken) {
    let scale = pace.scale;
    let mut scaler = Scaler {
        autoscaler: Autoscaler::new(config(&revision, pace), revision.is_reachable(), 0, Duration::ZERO),
        revision,
        start: Instant::now(),
        pace,
        ahead: 0.0,
        last_poke: None,
        evaluated: Duration::ZERO,
    };
    let decision = scaler.autoscaler.decision();
    scaler.carry_out(&decision);
    let mut seconds = interval(REPORT_INTERVAL.div_f64(scale));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let idle = scaler.is_idle();
        let revision = Arc::clone(&scaler.revision);
        tokio::select! {
            () = stop.cancelled() => return,
            () = revision.retired.cancelled() => return,
            () = revision.rerouted.notified() => scaler.reroute(),
            () = revision.rescaled.notified() => scaler.reconfigure(),
            () = revision.poked.notified() => {
                if idle {
                    // The time asleep is no time without load that anybody measured.
                    scaler.revision.table.take_load();
                    scaler.ahead = 0.0;
                    seconds.reset();
                }
                scaler.poke().await;
            }
            () = revision.changed.notified(), if !idle => scaler.observe(),
            _ = seconds.tick(), if !idle => scaler.second(),
        }
    }
}

/// What an autoscaler of the revision works with here.
fn config(revision: &Revision, pace: Pace) -> AutoscalingConfig {
    let mut config = (*revision.autoscaling()).clone();
    // Processes do not start faster because the clock does.
    config.progress_deadline = config.progress_deadline.mul_f64(pace.scale);
    if revision.proves {
        config.initial_scale = config.initial_scale.max(1);
    } else if pace.start_at_zero {
        config.initial_scale = 0;
    }
    config
}

impl Scaler {
    fn now(&self) -> Duration {
        self.start.elapsed().mul_f64(self.pace.scale)
    }

    fn ready(&self) -> u32 {
        u32::try_from(self.revision.table.counts().ready).unwrap_or(u32::MAX)
    }

    /// Nothing there, nothing to do: no timer runs.
    fn is_idle(&self) -> bool {
        let counts = self.revision.table.counts();
        counts.ready + counts.starting + counts.in_flight + counts.waiting == 0
            && self.autoscaler.decision().replicas == 0
    }

    /// Reports the load of the last second, and evaluates when it is time.
    fn second(&mut self) {
        let now = self.now();
        let (taken, _) = self.revision.table.take_load();
        let measured = taken.request_seconds * self.pace.scale;
        let reported = (measured - self.ahead).max(0.0);
        self.ahead = (self.ahead - measured).max(0.0);
        self.autoscaler.record(now, reported, taken.arrivals * self.pace.scale);
        let ready = self.ready();
        if now >= self.evaluated + EVALUATION_INTERVAL {
            self.evaluated = now;
            let decision = self.autoscaler.tick(now, ready);
            self.carry_out(&decision);
        } else if self.autoscaler.decision().observe_at.is_some_and(|at| at <= now) {
            self.observe();
        }
    }

    /// A request is waiting: what is present now counts for the whole second, and the autoscaler looks at once.
    async fn poke(&mut self) {
        if let Some(last) = self.last_poke
            && last.elapsed() < POKE_INTERVAL_MIN
        {
            tokio::time::sleep(POKE_INTERVAL_MIN.saturating_sub(last.elapsed())).await;
        }
        self.last_poke = Some(Instant::now());
        let now = self.now();
        let (taken, present) = self.revision.table.take_load();
        let extra = (f64::from(present) - self.ahead).max(0.0);
        self.ahead += extra;
        self.autoscaler.record(now, extra, taken.arrivals * self.pace.scale);
        let ready = self.ready();
        let decision = self.autoscaler.tick(now, ready);
        self.carry_out(&decision);
    }

    fn observe(&mut self) {
        let (now, ready) = (self.now(), self.ready());
        let decision = self.autoscaler.observe(now, ready);
        self.carry_out(&decision);
    }

    fn reconfigure(&mut self) {
        self.autoscaler.reconfigure(self.now(), config(&self.revision, self.pace));
        let decision = self.autoscaler.decision();
        self.carry_out(&decision);
    }

    fn reroute(&mut self) {
        self.autoscaler.set_reachable(self.now(), self.revision.is_reachable());
        let decision = self.autoscaler.decision();
        self.carry_out(&decision);
    }

    fn carry_out(&self, decision: &Decision) {
        let counts = self.revision.table.counts();
        // Requests under way keep one replica, whatever the averages say.
        let floor = usize::from(counts.in_flight + counts.waiting > 0);
        self.revision.scale_to(usize::try_from(decision.replicas).unwrap_or(usize::MAX).max(floor));
    }
}
