//! The delivery that is in force for a Trigger, and its decisions.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::retry_after::parse_retry_after;
use super::spec::{BackoffPolicy, DeliverySpec, EventFormat};
use crate::manifest::Destination;

/// Longest wait: that of Go's `time.Duration`, where upstream's doubling would overflow.
pub const BACKOFF_MAX: Duration = Duration::from_nanos(i64::MAX.unsigned_abs());

/// Retries of a Broker whose manifest says nothing (`config-br-defaults`).
pub const DEFAULT_RETRY: u32 = 10;
/// Delay of a Broker whose manifest says nothing (`config-br-defaults`).
pub const DEFAULT_BACKOFF_DELAY: Duration = Duration::from_millis(200);

/// Statuses that ask to be tried again, beside all of 500 and above.
const RETRYABLE_CLIENT_ERRORS: [u16; 4] = [404, 408, 409, 429];

/// Statuses with which `Retry-After` counts.
const RETRY_AFTER_STATUSES: [u16; 2] = [429, 503];

/// Whether a failed attempt is worth another; `None` stands for no response at all.
pub fn is_retryable(status: Option<u16>) -> bool {
    status.is_none_or(|code| code >= 500 || RETRYABLE_CLIENT_ERRORS.contains(&code))
}

/// Retries, waits and the last resort of one delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryPolicy {
    /// Retries after the first attempt: `retry + 1` attempts in all.
    pub retry: u32,
    /// Growth and unit of the waits; `None` retries without waiting.
    pub backoff: Option<(BackoffPolicy, Duration)>,
    /// Bound of one attempt.
    pub timeout: Option<Duration>,
    /// Bound of the waits that `Retry-After` may ask for; `None` ignores the header.
    pub retry_after_max: Option<Duration>,
    /// Where the event goes in the end.
    pub dead_letter_sink: Option<Destination>,
    /// Forced content mode.
    pub format: Option<EventFormat>,
}

impl DeliveryPolicy {
    /// One attempt, no dead letter: what applies to a subscription without any delivery spec.
    pub fn once() -> Self {
        Self::from(&DeliverySpec::default())
    }

    /// What the shipped `config-br-defaults` give a Broker without `spec.delivery`.
    pub fn broker_default() -> Self {
        Self {
            retry: DEFAULT_RETRY,
            backoff: Some((BackoffPolicy::Exponential, DEFAULT_BACKOFF_DELAY)),
            ..Self::once()
        }
    }

    /// The policy of a Trigger: its own delivery as a whole if it sets any field, else its Broker's, else the default.
    pub fn effective(trigger: Option<&DeliverySpec>, broker: Option<&DeliverySpec>) -> Self {
        match (trigger.filter(|spec| !spec.is_empty()), broker) {
            (Some(spec), _) | (None, Some(spec)) => Self::from(spec),
            (None, None) => Self::broker_default(),
        }
    }

    /// The wait before retry number `retry`, counted from 1.
    ///
    /// Upstream's retry library counts from 0, hence the first linear retry is immediate. No jitter, and no bound but
    /// [`BACKOFF_MAX`].
    pub fn backoff(&self, retry: u32) -> Duration {
        let Some((growth, delay)) = self.backoff else {
            return Duration::ZERO;
        };
        let past = retry.saturating_sub(1);
        let factor = match growth {
            BackoffPolicy::Linear => u128::from(past),
            BackoffPolicy::Exponential => 1_u128.checked_shl(past).unwrap_or(u128::MAX),
        };
        let nanos = delay.as_nanos().saturating_mul(factor).min(BACKOFF_MAX.as_nanos());
        u64::try_from(nanos).map_or(BACKOFF_MAX, Duration::from_nanos)
    }

    /// The wait before retry number `retry` (from 1) after an answer with `status` and perhaps a `Retry-After` header.
    ///
    /// The header counts for 429 and 503 only, and only up to `retry_after_max`; it never shortens the back-off.
    pub fn wait(&self, retry: u32, status: Option<u16>, retry_after: Option<&str>, now: Timestamp) -> Duration {
        let backoff = self.backoff(retry);
        let asked = self
            .retry_after_max
            .filter(|_| status.is_some_and(|code| RETRY_AFTER_STATUSES.contains(&code)))
            .zip(retry_after.and_then(|header| parse_retry_after(header, now)))
            .map(|(max, asked)| asked.min(max));
        asked.map_or(backoff, |asked| asked.max(backoff))
    }
}

impl From<&DeliverySpec> for DeliveryPolicy {
    fn from(spec: &DeliverySpec) -> Self {
        let positive = |period: SignedDuration| Duration::try_from(period).ok().filter(|period| !period.is_zero());
        Self {
            retry: spec.retry.unwrap_or(0),
            backoff: spec.backoff_policy.zip(spec.backoff_delay.and_then(positive)),
            timeout: spec.timeout.and_then(positive),
            retry_after_max: spec.retry_after_max.and_then(positive),
            dead_letter_sink: spec.dead_letter_sink.clone(),
            format: spec.format,
        }
    }
}
