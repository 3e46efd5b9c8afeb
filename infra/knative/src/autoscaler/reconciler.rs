//! From a wanted number to replicas: bounds, activation, and the way down to zero.
//!
//! The part of Knative that a `PodAutoscaler` and its `ServerlessService` play in a cluster. Times of condition changes
//! are whole seconds there, so they are here.

use std::time::Duration;

use super::config::{AutoscalingConfig, BurstCapacity};
use super::decider::Conclusion;
use super::{round_to_i64, whole_seconds};

/// Time beyond the progress deadline after which an activation counts as failed.
const ACTIVATION_TIMEOUT_BUFFER: Duration = Duration::from_secs(30);

/// Fewest activators that a revision is spread over.
const ACTIVATORS_MIN: u32 = 2;

/// Whether a revision has replicas that serve, as its `Active` condition says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Replicas are on their way; requests are buffered (`Unknown`, reason `Queued`).
    Activating,
    /// Enough replicas are ready (`True`).
    Active,
    /// No traffic (`False`, reason `NoTraffic`).
    Idle,
    /// No replica became ready in time (`False`, reason `TimedOut`).
    TimedOut,
}

impl Activity {
    fn is_inactive(self) -> bool {
        matches!(self, Self::Idle | Self::TimedOut)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reconciler {
    pub(super) replicas: u32,
    pub(super) want: i64,
    pub(super) activity: Activity,
    /// Whether requests go through the activator by decision; without ready replicas they do in any case.
    pub(super) proxy_mode: bool,
    pub(super) activators: u32,
    /// When looking again may change the outcome although nothing else changes.
    pub(super) again_at: Option<Duration>,
    activity_since: Duration,
    initialised: bool,
    proxied: bool,
    proxied_since: Duration,
}

/// What is seen at one reconciliation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sight<'a> {
    pub(super) config: &'a AutoscalingConfig,
    pub(super) conclusion: Conclusion,
    pub(super) reachable: bool,
    pub(super) ready: u32,
    pub(super) now: Duration,
}

impl Sight<'_> {
    fn min_scale(&self) -> u32 {
        if self.reachable { self.config.min_scale } else { 0 }
    }
}

impl Reconciler {
    pub(super) fn new(config: &AutoscalingConfig, now: Duration) -> Self {
        let since = Duration::from_secs(whole_seconds(now));
        Self {
            replicas: config.initial_scale,
            want: -1,
            activity: Activity::Activating,
            proxy_mode: true,
            activators: ACTIVATORS_MIN,
            again_at: None,
            activity_since: since,
            initialised: false,
            proxied: true,
            proxied_since: since,
        }
    }

    /// Reconciles until nothing changes any more.
    pub(super) fn reconcile(&mut self, sight: &Sight<'_>) {
        // One round can change the activity, the next the mode, the next the replicas: there are no longer chains.
        const ROUNDS_MAX: usize = 8;
        for _ in 0..ROUNDS_MAX {
            let before = *self;
            self.round(sight);
            if *self == before {
                break;
            }
        }
    }

    fn round(&mut self, sight: &Sight<'_>) {
        self.again_at = None;
        let (want, apply) = self.scale(sight);
        if want >= 0 {
            self.want = want;
        }
        if let (true, Ok(replicas)) = (apply, u32::try_from(want)) {
            self.replicas = replicas;
        }
        self.proxy_mode = !(want > 0 && sight.conclusion.excess_burst_capacity >= 0);
        self.activators = activators(sight);
        self.update_activity(sight, want);
        let proxied = self.proxy_mode || sight.ready == 0;
        if proxied && !self.proxied {
            self.proxied_since = Duration::from_secs(whole_seconds(sight.now));
        }
        self.proxied = proxied;
    }

    /// The number wanted after bounds, and whether it is to be carried out now.
    fn scale(&mut self, sight: &Sight<'_>) -> (i64, bool) {
        let desired = sight.conclusion.desired;
        if desired < 0 && self.activity != Activity::Activating {
            return (desired, false);
        }
        let config = sight.config;
        let mut min = i64::from(sight.min_scale());
        if config.initial_scale > 1 && !self.initialised && sight.reachable {
            min = min.max(i64::from(config.initial_scale));
        }
        let mut bounded = desired.max(min);
        if config.max_scale > 0 {
            bounded = bounded.min(i64::from(config.max_scale));
        }
        match bounded {
            0 => self.scale_to_zero(sight),
            wanted if wanted > 0 => (wanted, true),
            unknown => (unknown, false),
        }
    }

    fn scale_to_zero(&mut self, sight: &Sight<'_>) -> (i64, bool) {
        let config = sight.config;
        if !config.scale_to_zero {
            return (1, true);
        }
        let in_state = sight.now.saturating_sub(self.activity_since);
        match self.activity {
            Activity::Activating => {
                let timeout = config.progress_deadline + ACTIVATION_TIMEOUT_BUFFER;
                if in_state > timeout {
                    return (0, true);
                }
                self.again_at = Some(self.activity_since + timeout + Duration::from_secs(1));
                (-1, false)
            }
            Activity::Active => {
                if in_state >= config.stable_window {
                    // This only marks the revision inactive; the next round goes on from there.
                    return (0, false);
                }
                self.again_at = Some(self.activity_since + config.stable_window);
                (1, true)
            }
            Activity::Idle | Activity::TimedOut => (0, self.may_go(sight, in_state)),
        }
    }

    /// Whether the last replica may go, `inactive` after the traffic ended.
    fn may_go(&mut self, sight: &Sight<'_>, inactive: Duration) -> bool {
        let config = sight.config;
        if !self.proxied && config.burst_capacity != BurstCapacity::Unlimited {
            return false;
        }
        let retention = if sight.reachable { config.pod_retention } else { Duration::ZERO };
        let longest = config.grace_period.max(retention);
        if inactive >= longest {
            return true;
        }
        if inactive < retention {
            self.again_at = Some(self.activity_since + retention);
            return false;
        }
        if sight.now.saturating_sub(self.proxied_since) >= config.grace_period {
            return true;
        }
        let graced = self.proxied_since + config.grace_period;
        self.again_at = Some(graced.min(self.activity_since + longest));
        false
    }

    fn update_activity(&mut self, sight: &Sight<'_>, want: i64) {
        let min = sight.min_scale();
        let threshold = if self.initialised { min.max(1) } else { min.max(sight.config.initial_scale) };
        if sight.ready >= threshold {
            self.initialised = true;
        }
        let activity = if want == 0 || threshold == 0 {
            match self.activity {
                // While activating, zero is wanted only after the activation took too long.
                Activity::Activating if threshold > 0 => Activity::TimedOut,
                Activity::TimedOut => Activity::TimedOut,
                _ => Activity::Idle,
            }
        } else if want <= 0 && self.activity.is_inactive() {
            self.activity
        } else if sight.ready < threshold {
            Activity::Activating
        } else {
            Activity::Active
        };
        if activity != self.activity {
            self.activity = activity;
            self.activity_since = Duration::from_secs(whole_seconds(sight.now));
        }
    }
}

/// How many activators the revision would be spread over in a cluster.
fn activators(sight: &Sight<'_>) -> u32 {
    let burst = match sight.config.burst_capacity {
        BurstCapacity::None => return ACTIVATORS_MIN,
        BurstCapacity::Unlimited => 0.0,
        BurstCapacity::Requests(wanted) => wanted,
    };
    let load = f64::from(sight.ready) * sight.config.total + burst;
    let needed = round_to_i64((load / sight.config.activator_capacity).ceil());
    u32::try_from(needed).unwrap_or(ACTIVATORS_MIN).max(ACTIVATORS_MIN)
}
