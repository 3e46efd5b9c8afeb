//! What is served under a model's name is the fold of its `model-loaded` and `traffic-changed` events.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::event::{Canary, ModelLoaded, ServedVersion};
use crate::{CloudEvent, Event, SwitchedBy};

/// What a model name's events add up to.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Serving {
    /// The version that requests are answered from.
    pub current: Option<ModelLoaded>,
    /// The version that answers a share of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// The version whose answers are only compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ServedVersion>,
    /// How often the pointer has moved.
    pub switches: u64,
    /// How often canary or shadow have changed.
    #[serde(skip_serializing_if = "is_zero")]
    pub traffic_changes: u64,
    /// The moves that a rollback takes back, oldest first; the last one is `current`.
    #[serde(skip)]
    pub path: Vec<ModelLoaded>,
    /// Every version that was ever named, by its number.
    #[serde(skip)]
    pub known: BTreeMap<String, ServedVersion>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The state of a model name after its events so far.
pub fn replay<'a>(history: impl IntoIterator<Item = &'a CloudEvent>) -> Serving {
    history.into_iter().fold(Serving::default(), evolve)
}

/// The state after one more event. Events of other kinds change nothing.
pub fn evolve(mut serving: Serving, recorded: &CloudEvent) -> Serving {
    match Event::read(recorded) {
        Ok(Event::ModelLoaded(loaded)) => serving.moved(loaded),
        Ok(Event::TrafficChanged(change)) => {
            for version in change.canary.iter().map(|canary| &canary.version).chain(&change.shadow) {
                serving.known.insert(version.version.clone(), version.clone());
            }
            serving.canary = change.canary;
            serving.shadow = change.shadow;
            serving.traffic_changes += 1;
        }
        _ => {}
    }
    serving
}

impl Serving {
    fn moved(&mut self, loaded: ModelLoaded) {
        self.known.insert(loaded.version.clone(), ServedVersion::from(&loaded));
        if loaded.by == SwitchedBy::Rollback {
            // Whatever was tried out beside the version that failed is not trusted either.
            (self.canary, self.shadow) = (None, None);
            while self.path.last().is_some_and(|last| last.version != loaded.version) {
                self.path.pop();
            }
            self.path.pop();
        }
        // A canary that has become the served version has done its work.
        self.canary.take_if(|canary| canary.version.version == loaded.version);
        self.shadow.take_if(|shadow| shadow.version == loaded.version);
        self.path.push(loaded.clone());
        self.current = Some(loaded);
        self.switches += 1;
    }

    /// The version that a rollback goes to: the one served before, not counting what was rolled back.
    pub fn before(&self) -> Option<&ModelLoaded> {
        let current = self.current.as_ref()?;
        self.path.iter().rev().find(|loaded| loaded.version != current.version)
    }

    /// The alias that the pointer follows: wherever it moves in MLflow, the pointer moves too.
    pub fn alias(&self) -> Option<&str> {
        self.current.as_ref()?.alias.as_deref()
    }

    /// Whether a version may take over. A person may move the pointer anywhere. Newly registered versions only ever move
    /// it forward, and not at all while it follows an alias; only that alias does then.
    ///
    /// Versions are MLflow's: whole numbers as text.
    pub fn accepts(&self, candidate: &ModelLoaded) -> bool {
        match (candidate.by, &self.current) {
            (SwitchedBy::Alias, _) => candidate.alias.is_some() && candidate.alias.as_deref() == self.alias(),
            (SwitchedBy::Request | SwitchedBy::Rollback, _) | (_, None) => true,
            (SwitchedBy::Event, Some(current)) => {
                current.alias.is_none() && number(&candidate.version) > number(&current.version)
            }
        }
    }
}

fn number(version: &str) -> u64 {
    version.parse().unwrap_or(0)
}
