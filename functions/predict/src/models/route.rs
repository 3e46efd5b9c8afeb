//! Which version answers a request for a name.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use regrove_events::Serving;
use regrove_store::artifact::sha256;

use super::Served;
use super::cache::Slot;
use super::roles::Roles;

/// What stands behind a name at one moment.
#[derive(Debug)]
pub(super) struct Route {
    /// Events of the name's stream that made this.
    pub(super) seen: u64,
    pub(super) serving: Serving,
    pub(super) roles: Roles,
    requests: AtomicU64,
}

/// The model that answers, and the one that is asked too.
#[derive(Debug)]
pub struct Choice {
    /// Answers.
    pub served: Arc<Served>,
    /// Only compared.
    pub(crate) shadow: Option<Arc<Slot>>,
}

impl Route {
    pub(super) fn new(seen: u64, serving: Serving, roles: Roles) -> Self {
        Self { seen, serving, roles, requests: AtomicU64::new(0) }
    }

    /// The slot for a request. Without a session the canary's share is exact in every hundred requests; with one it is
    /// that of the sessions.
    pub(super) fn choose(&self, session: Option<&[u8]>) -> &Arc<Slot> {
        let Some((canary, percent)) = &self.roles.canary else { return &self.roles.stable };
        let percent = u64::from(*percent);
        let to_canary = if let Some(session) = session {
            // A larger share keeps the sessions it had.
            percentile(session) < percent
        } else {
            let number = self.requests.fetch_add(1, Ordering::Relaxed) % 100;
            // Spread evenly: whenever another whole request is due.
            (number + 1) * percent / 100 > number * percent / 100
        };
        if to_canary { canary } else { &self.roles.stable }
    }
}

/// Where a session stands among all, 0 to 99: the first eight bytes of its SHA-256, most significant first, modulo 100. The same
/// on every replica, of every release, and for whoever reckons it elsewhere.
fn percentile(session: &[u8]) -> u64 {
    let digest = sha256(session);
    digest.get(..16).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or_default() % 100
}

impl From<Arc<Served>> for Choice {
    /// A canary has no shadow, nor has a version that was asked for by its number.
    fn from(served: Arc<Served>) -> Self {
        Self { served, shadow: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reckoned with another SHA-256: replicas of two releases must send a session to the same version.
    #[test]
    fn a_session_stands_where_it_always_stood() {
        for (session, expected) in [("", 52), ("a", 50), ("session-1", 20), ("session-2", 21), ("süd", 57)] {
            assert_eq!(percentile(session.as_bytes()), expected, "{session}");
        }
    }
}
