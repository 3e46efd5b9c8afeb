//! W3C Trace Context: who asked, carried from the request to everything that it causes.

use std::convert::Infallible;
use std::fmt;

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::request::Parts;
use regrove_events::{CloudEvent, Invalid};

/// Extension of a CloudEvent that is sent again: the `traceparent` of the delivery because of which that is. The event's own
/// `traceparent` stays that of its job.
pub const LINK: &str = "tracelink";

/// A span's place in a trace. Source: W3C Trace Context, `traceparent` version 00.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The whole trace.
    pub trace_id: u128,
    /// The span.
    pub span_id: u64,
    /// Whether the trace is recorded.
    pub sampled: bool,
}

impl TraceContext {
    /// Reads a `traceparent`; versions after 00 are read as 00, as the specification asks.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |part: &str, width: usize| {
            part.len() == width && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let shape = hex(version, 2) && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
        if !shape || version == "ff" || (version == "00" && parts.next().is_some()) {
            return None;
        }
        let context = Self {
            trace_id: u128::from_str_radix(trace, 16).ok()?,
            span_id: u64::from_str_radix(span, 16).ok()?,
            sampled: u8::from_str_radix(flags, 16).ok()? & 1 == 1,
        };
        (context.trace_id != 0 && context.span_id != 0).then_some(context)
    }

    /// The caller's span: that of the HTTP header, or that of the CloudEvent in the request.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        Self::named(headers, "ce-traceparent").or_else(|| Self::named(headers, "traceparent"))
    }

    /// What tracing systems noted beside the caller's span: `tracestate` from where [`of`](Self::of) has it.
    pub(crate) fn state(headers: &HeaderMap) -> Option<String> {
        let prefix = if Self::named(headers, "ce-traceparent").is_some() { "ce-" } else { "" };
        // Its parts may be parted by tabs too, which no attribute of an event can hold.
        Some(headers.get(format!("{prefix}tracestate"))?.to_str().ok()?.replace('\t', " "))
    }

    fn named(headers: &HeaderMap, name: &str) -> Option<Self> {
        Self::parse(headers.get(name)?.to_str().ok()?)
    }

    /// The span that the CloudEvent in the request is linked to: [`LINK`].
    pub(crate) fn linked(headers: &HeaderMap) -> Option<Self> {
        Self::named(headers, &format!("ce-{LINK}"))
    }

    /// A new span below `parent`, or the root of a new trace.
    pub(crate) fn child_of(parent: Option<Self>, sample_root: impl FnOnce(u128) -> bool) -> Self {
        let random = uuid::Uuid::new_v4().as_u128();
        // The middle of a random UUID has fixed bits; the other ends have none.
        #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
        let span_id = (random as u64).rotate_left(7) ^ (random >> 80) as u64;
        let span_id = span_id.max(1);
        if let Some(parent) = parent {
            return Self { span_id, ..parent };
        }
        let trace_id = uuid::Uuid::new_v4().as_u128();
        Self { trace_id, span_id, sampled: sample_root(trace_id) }
    }
}

/// The span that what a request causes belongs below: this process's own if it records spans, else its caller's. Beside it
/// what tracing systems noted of the caller's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    span: Option<TraceContext>,
    state: Option<String>,
}

impl Caller {
    /// That of a request.
    pub fn of(parts: &Parts) -> Self {
        let caller = TraceContext::of(&parts.headers);
        let state = caller.and_then(|_| TraceContext::state(&parts.headers));
        Self { span: parts.extensions.get().copied().or(caller), state }
    }

    /// That of an event that was received.
    pub fn of_event(event: &CloudEvent) -> Self {
        let span = event.attribute("traceparent").and_then(|text| TraceContext::parse(&text));
        Self { span, state: span.and_then(|_| event.attribute("tracestate")).map(std::borrow::Cow::into_owned) }
    }

    /// Makes an event one that the request caused.
    ///
    /// # Errors
    /// [`Invalid`] for a state that no attribute can hold.
    pub fn mark(&self, event: &mut CloudEvent) -> Result<(), Invalid> {
        if let Some(span) = self.span {
            event.set_extension("traceparent", span.to_string())?;
        }
        if let Some(state) = &self.state {
            event.set_extension("tracestate", state.clone())?;
        }
        Ok(())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts))
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_and_written() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let read = TraceContext::parse(text).unwrap();
        assert_eq!(read.to_string(), text);
        assert!(TraceContext::parse(&text.replace("-01", "-00")).is_some_and(|context| !context.sampled));
        assert!(TraceContext::parse(&format!("{}-more", text.replacen("00", "01", 1))).is_some(), "a later version");
    }

    #[test]
    fn the_state_is_that_of_the_span_beside_it() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let state = |given: &[(&'static str, &str)]| {
            let given = given.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
            TraceContext::state(&given.collect())
        };
        let request = [("traceparent", parent), ("tracestate", "a=1")];
        assert_eq!(state(&request).as_deref(), Some("a=1"));
        let event = [("ce-traceparent", parent), ("ce-tracestate", "b=2")];
        assert_eq!(state(&[request, event].concat()).as_deref(), Some("b=2"));
        assert_eq!(state(&[&request[..], &event[..1]].concat()), None);
    }

    #[test]
    fn what_is_none_is_refused() {
        let zero = "0".repeat(32);
        for wrong in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            &format!("00-{zero}-00f067aa0ba902b7-01"),
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ] {
            assert_eq!(TraceContext::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_child_stays_in_its_trace_and_a_root_is_sampled_as_asked() {
        let parent = TraceContext { trace_id: 7, span_id: 9, sampled: true };
        let child = TraceContext::child_of(Some(parent), |_| false);
        assert_eq!((child.trace_id, child.sampled), (7, true));
        assert_ne!(child.span_id, 9);
        assert!(!TraceContext::child_of(None, |_| false).sampled);
        assert_ne!(TraceContext::child_of(None, |_| true).trace_id, TraceContext::child_of(None, |_| true).trace_id);
    }
}
