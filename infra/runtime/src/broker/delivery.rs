//! What an attempt means: pure decisions on top of [`DeliveryPolicy`].

use http::StatusCode;
use jiff::Timestamp;
use regrove_events::{CloudEvent, http_binding};
use regrove_knative::delivery::{DeadLetterAttributes, DeliveryPolicy, Failure, is_retryable};

use super::attempt::{Answered, Reply};
use super::journal::DeadCause;

const NANOS_PER_MS: i32 = 1_000_000;

/// How an attempt at a subscriber ended.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Taken, with nothing to send on.
    Taken,
    /// Taken, and answered with an event.
    Replied(Box<CloudEvent>),
    /// Not taken.
    Failed(Failed),
}

/// How an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failed {
    /// `None` when there was no answer.
    pub(crate) code: Option<u16>,
    pub(crate) body: Vec<u8>,
    pub(crate) error: String,
    pub(crate) retry_after: Option<String>,
}

impl Failed {
    fn response(reply: &Reply, code: u16, error: String) -> Self {
        let retry_after = reply.headers.get("retry-after").and_then(|value| value.to_str().ok()).map(str::to_owned);
        Self { code: Some(code), body: reply.body.to_vec(), error, retry_after }
    }

    /// A refusal of the broker itself: to take the reply.
    pub(crate) fn reply_refused(status: StatusCode, error: String) -> Self {
        Self { code: Some(status.as_u16()), body: error.clone().into_bytes(), error, retry_after: None }
    }

    /// What a dead letter will say of it.
    pub(crate) fn cause(&self, destination: String) -> DeadCause {
        let failure = match self.code {
            Some(status) => Failure::Response { status, body: &self.body },
            None => Failure::Transport { message: &self.error },
        };
        let attributes = DeadLetterAttributes::new(destination, failure);
        DeadCause {
            destination: attributes.destination,
            code: attributes.code,
            data: attributes.data,
            error: self.error.clone(),
        }
    }
}

/// Judges an attempt. `wants_reply` is whether an event in the answer is to be routed on; else its body is of no interest.
pub(crate) fn judge(answered: Answered, wants_reply: bool) -> Verdict {
    let reply = match answered.result {
        Ok(reply) => reply,
        Err(error) => {
            let failed = Failed { code: None, body: Vec::new(), error, retry_after: None };
            return Verdict::Failed(failed);
        }
    };
    let status = reply.status;
    if !status.is_success() {
        return Verdict::Failed(Failed::response(&reply, status.as_u16(), format!("answered {status}")));
    }
    if !wants_reply {
        return Verdict::Taken;
    }
    let bad_gateway = StatusCode::BAD_GATEWAY.as_u16();
    if reply.too_long && status != StatusCode::ACCEPTED {
        let error = format!("answered {status} with a body that is too long for a reply event");
        return Verdict::Failed(Failed::response(&reply, bad_gateway, error));
    }
    match http_binding::reply(status, &reply.headers, &reply.body) {
        Ok(None) => Verdict::Taken,
        Ok(Some(event)) => Verdict::Replied(Box::new(event)),
        Err(error) => {
            let error = format!("answered {status} with a body that is no CloudEvent: {error}");
            Verdict::Failed(Failed::response(&reply, bad_gateway, error))
        }
    }
}

/// When to try again after `attempts` attempts in this stage, or `None` to give up. In whole milliseconds, and never before
/// the wait is over.
pub(crate) fn retry_at(policy: &DeliveryPolicy, attempts: u32, failed: &Failed, now: Timestamp) -> Option<i64> {
    if attempts > policy.retry || !is_retryable(failed.code) {
        return None;
    }
    let wait = policy.wait(attempts, failed.code, failed.retry_after.as_deref(), now);
    let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
    let begun = i64::from(now.subsec_nanosecond() % NANOS_PER_MS > 0);
    Some(now.as_millisecond().saturating_add(begun).saturating_add(wait))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::HeaderMap;
    use regrove_knative::delivery::BackoffPolicy;

    use super::*;

    fn answered(status: u16, headers: &[(&'static str, &str)], body: &str) -> Answered {
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect();
        let status = StatusCode::from_u16(status).unwrap();
        let reply = Reply { status, headers, body: Bytes::from(body.to_owned()), too_long: false };
        Answered { result: Ok(reply), latency: Duration::ZERO }
    }

    const EVENT: [(&str, &str); 4] = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")];

    #[test]
    fn empty_success_is_taken() {
        assert!(matches!(judge(answered(200, &[], ""), true), Verdict::Taken));
        assert!(matches!(judge(answered(204, &[], ""), true), Verdict::Taken));
    }

    #[test]
    fn an_event_is_a_reply_but_not_with_202() {
        assert!(matches!(judge(answered(200, &EVENT, "{}"), true), Verdict::Replied(_)));
        assert!(matches!(judge(answered(200, &EVENT, ""), true), Verdict::Replied(_)));
        assert!(matches!(judge(answered(202, &EVENT, "{}"), true), Verdict::Taken));
        assert!(matches!(judge(answered(200, &EVENT, "{}"), false), Verdict::Taken));
    }

    #[test]
    fn a_body_that_is_no_event_is_a_bad_gateway() {
        let Verdict::Failed(failed) = judge(answered(200, &[("content-type", "application/json")], "{}"), true) else {
            panic!("taken");
        };
        assert_eq!(failed.code, Some(502));
    }

    #[test]
    fn retries_end_with_the_policy() {
        let policy = DeliveryPolicy {
            retry: 2,
            backoff: Some((BackoffPolicy::Exponential, Duration::from_secs(1))),
            ..DeliveryPolicy::once()
        };
        let now = Timestamp::UNIX_EPOCH;
        let failed = |code| Failed { code, body: Vec::new(), error: String::new(), retry_after: None };
        assert_eq!(retry_at(&policy, 1, &failed(Some(503)), now), Some(1_000));
        assert_eq!(retry_at(&policy, 2, &failed(None), now), Some(2_000));
        assert_eq!(retry_at(&policy, 3, &failed(Some(503)), now), None);
        assert_eq!(retry_at(&policy, 1, &failed(Some(400)), now), None);
        let later = now + jiff::SignedDuration::from_micros(2_001);
        assert_eq!(
            retry_at(&policy, 1, &failed(Some(503)), later),
            Some(1_003),
            "not before a whole second has gone by"
        );
    }
}
