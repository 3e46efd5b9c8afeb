//! The stream of [`RuntimeEvent`]s.

use tokio::sync::broadcast;

use crate::runtime_event::{RuntimeEvent, WATCHER_LAG_MAX};

/// Sends events to whoever watches; costs next to nothing while nobody does.
#[derive(Debug, Clone)]
pub(crate) struct EventsOut {
    sender: broadcast::Sender<RuntimeEvent>,
}

impl EventsOut {
    pub(crate) fn new() -> Self {
        Self { sender: broadcast::channel(WATCHER_LAG_MAX).0 }
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<RuntimeEvent> {
        self.sender.subscribe()
    }

    /// Sends what `event` makes; it is not called when nobody watches.
    pub(crate) fn send(&self, event: impl FnOnce() -> RuntimeEvent) {
        if self.sender.receiver_count() > 0 {
            // The last watcher may have gone in between.
            drop(self.sender.send(event()));
        }
    }
}
