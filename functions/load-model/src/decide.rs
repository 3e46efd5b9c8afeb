//! Whether a version takes over. Pure.

use regrove_events::event::ModelLoaded;
use regrove_events::{CloudEvent, Event, Serving, SwitchedBy, ids, serving};

/// What becomes of a wish to serve a version.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// The pointer moves: record this under this id.
    Switch(Box<Event>, String),
    /// It has moved because of the same event before: say it again.
    Repeat(Box<CloudEvent>),
    /// It stays: an event about an older version came late, or the version is served already.
    Stay,
}

/// Decides from a model's serving history whether `candidate` takes over.
pub fn decide(history: &[CloudEvent], candidate: ModelLoaded) -> Decision {
    let now: Serving = serving::replay(history);
    let id = match candidate.by {
        SwitchedBy::Event => ids::model_loaded(&candidate.name, &candidate.version),
        SwitchedBy::Request => ids::model_switched(&candidate.name, now.switches + 1),
    };
    if let Some(known) = history.iter().find(|event| event.id() == id) {
        return Decision::Repeat(Box::new(known.clone()));
    }
    let served = now.current.as_ref().is_some_and(|current| current.version == candidate.version);
    if served || !now.accepts(&candidate.version, candidate.by) {
        return Decision::Stay;
    }
    let previous = now.current.map(|current| current.version);
    Decision::Switch(Box::new(Event::ModelLoaded(ModelLoaded { previous, ..candidate })), id)
}
