//! Does a broker and an ingress do what Knative's specification asks? Seen from outside, over HTTP alone: against our own
//! runtime, or any other (see `README.md` beside this file).
//!
//! A test carries the number of its point in the list of requirements of Knative Eventing's data plane and control plane:
//! transport 1–10, Broker and Trigger 11–20, channels 21–22, delivery 23–24, the format of events 25–29. What can only be
//! seen in the status of objects (16, 17) or by changing them (18) is tested for our own runtime in
//! `infra/runtime/tests/runtime/reload.rs`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says so by panicking"
)]

mod broker;
mod delivery;
mod format;
mod ingress;
mod subscriber;
mod system;
mod transport;
