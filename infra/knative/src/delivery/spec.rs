//! `spec.delivery` of a Trigger, a Broker, a Sequence's step or a Parallel's branch.

use jiff::SignedDuration;

use super::period::parse_period;
use crate::manifest::Destination;
use crate::manifest::fields::{Cursor, Fields};

/// How waits grow from one retry to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackoffPolicy {
    /// The n-th retry waits n − 1 delays: the first is immediate.
    Linear,
    /// The n-th retry waits 2^(n − 1) delays.
    Exponential,
}

/// The content mode that a delivery is forced into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventFormat {
    /// Structured mode, `application/cloudevents+json`.
    Json,
    /// Binary mode.
    Binary,
}

/// `DeliverySpec` of the Knative eventing API.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeliverySpec {
    /// Where an event goes that could not be delivered.
    pub dead_letter_sink: Option<Destination>,
    /// Retries after the first attempt.
    pub retry: Option<u32>,
    /// How waits grow.
    pub backoff_policy: Option<BackoffPolicy>,
    /// The unit of waits; may be negative, which means no wait.
    pub backoff_delay: Option<SignedDuration>,
    /// Bound of one attempt; negative means none.
    pub timeout: Option<SignedDuration>,
    /// Bound of the waits that a subscriber's `Retry-After` may ask for; zero ignores the header.
    pub retry_after_max: Option<SignedDuration>,
    /// Forced content mode.
    pub format: Option<EventFormat>,
}

/// Feature flags of `config-features` that decide which delivery fields are admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryFeatures {
    /// `delivery-timeout`, enabled as shipped.
    pub timeout: bool,
    /// `delivery-retryafter`, disabled as shipped.
    pub retry_after: bool,
}

impl Default for DeliveryFeatures {
    fn default() -> Self {
        Self { timeout: true, retry_after: false }
    }
}

impl DeliverySpec {
    /// Whether no field is set, so that the Broker's delivery stays in force.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn read(node: &Cursor<'_>, features: DeliveryFeatures) -> Option<Self> {
        let mut fields = node.fields()?;
        let spec = Self {
            dead_letter_sink: fields.get("deadLetterSink").and_then(|sink| Destination::read(&sink)),
            retry: read_retry(&mut fields),
            backoff_policy: read_choice(
                &mut fields,
                "backoffPolicy",
                [("linear", BackoffPolicy::Linear), ("exponential", BackoffPolicy::Exponential)],
            ),
            backoff_delay: read_period(&mut fields, "backoffDelay", |_| true),
            timeout: read_gated(&mut fields, "timeout", "delivery-timeout", features.timeout, |period| {
                !period.is_zero()
            }),
            retry_after_max: read_gated(
                &mut fields,
                "retryAfterMax",
                "delivery-retryafter",
                features.retry_after,
                |period| !period.is_negative(),
            ),
            format: read_choice(&mut fields, "format", [("json", EventFormat::Json), ("binary", EventFormat::Binary)]),
        };
        fields.finish();
        Some(spec)
    }
}

fn read_retry(fields: &mut Fields<'_>) -> Option<u32> {
    let node = fields.get("retry")?;
    let value = node.integer()?;
    // The API's field is an int32.
    let retry = i32::try_from(value).ok().and_then(|value| u32::try_from(value).ok());
    if retry.is_none() {
        node.error(format!("invalid value: {value}; must be a whole number from 0 to {}", i32::MAX));
    }
    retry
}

fn read_choice<T: Copy>(fields: &mut Fields<'_>, name: &'static str, choices: [(&'static str, T); 2]) -> Option<T> {
    let node = fields.get(name)?;
    let text = node.string()?;
    let found = choices.iter().find(|(word, _)| *word == text);
    if found.is_none() {
        let [(first, _), (second, _)] = choices;
        node.error(format!("invalid value: {text}; must be `{first}` or `{second}`"));
    }
    found.map(|(_, choice)| *choice)
}

fn read_period(
    fields: &mut Fields<'_>,
    name: &'static str,
    admitted: impl Fn(SignedDuration) -> bool,
) -> Option<SignedDuration> {
    let node = fields.get(name)?;
    let text = node.string()?;
    match parse_period(&text) {
        Ok(period) if admitted(period) => return Some(period),
        Ok(_) => node.error(format!(
            "invalid value: {text}; zero, negative or shorter than a tenth of a second (durations are cut to tenths)"
        )),
        Err(error) => node.error(format!("invalid value: {text}; {error}")),
    }
    None
}

/// Like [`read_period`], for a field that exists only while its feature flag is on.
fn read_gated(
    fields: &mut Fields<'_>,
    name: &'static str,
    flag: &str,
    enabled: bool,
    admitted: impl Fn(SignedDuration) -> bool,
) -> Option<SignedDuration> {
    if enabled {
        return read_period(fields, name, admitted);
    }
    if let Some(node) = fields.get(name) {
        node.error(format!(
            "must not set the field(s); enable the feature `{flag}` in the ConfigMap config-features first"
        ));
    }
    None
}
