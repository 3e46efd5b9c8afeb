//! Which version answers a request for a name.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use regrove_events::Serving;

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
            // The same everywhere and always: the hasher has no random key. A larger share keeps the sessions it had.
            BuildHasherDefault::<DefaultHasher>::default().hash_one(session) % 100 < percent
        } else {
            let number = self.requests.fetch_add(1, Ordering::Relaxed) % 100;
            // Spread evenly: whenever another whole request is due.
            (number + 1) * percent / 100 > number * percent / 100
        };
        if to_canary { canary } else { &self.roles.stable }
    }
}

impl From<Arc<Served>> for Choice {
    /// A canary has no shadow, nor has a version that was asked for by its number.
    fn from(served: Arc<Served>) -> Self {
        Self { served, shadow: None }
    }
}
