//! What is served under a model's name is the fold of its `model-loaded` events.

use serde::Serialize;

use crate::event::ModelLoaded;
use crate::{CloudEvent, Event, SwitchedBy};

/// What a model name's events add up to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Serving {
    /// The version that requests are answered from.
    pub current: Option<ModelLoaded>,
    /// How often the pointer has moved.
    pub switches: u64,
}

/// The state of a model name after its events so far.
pub fn replay<'a>(history: impl IntoIterator<Item = &'a CloudEvent>) -> Serving {
    history.into_iter().fold(Serving::default(), |serving, recorded| match Event::read(recorded) {
        Ok(Event::ModelLoaded(loaded)) => Serving { current: Some(loaded), switches: serving.switches + 1 },
        _ => serving,
    })
}

impl Serving {
    /// Whether a newly registered version may take over by itself: events only ever move the pointer forward.
    ///
    /// Versions are MLflow's: whole numbers as text. A person may move the pointer anywhere.
    pub fn accepts(&self, version: &str, by: SwitchedBy) -> bool {
        match (by, &self.current) {
            (SwitchedBy::Request, _) | (_, None) => true,
            (SwitchedBy::Event, Some(current)) => number(version) > number(&current.version),
        }
    }
}

fn number(version: &str) -> u64 {
    version.parse().unwrap_or(0)
}
