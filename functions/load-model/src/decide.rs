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
        SwitchedBy::Request | SwitchedBy::Rollback => ids::model_switched(&candidate.name, now.switches + 1),
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

#[cfg(test)]
mod tests {
    use regrove_events::Artifact;

    use super::*;

    fn version(version: &str, by: SwitchedBy) -> ModelLoaded {
        ModelLoaded {
            name: "m".into(),
            version: version.into(),
            uri: format!("models:/m/{version}"),
            model: Artifact { sha256: "0".repeat(64), bytes: 1 },
            previous: None,
            by,
            stage: "None".into(),
            description: String::new(),
            creation_timestamp: 0,
            example: None,
            actor: None,
            reason: None,
        }
    }

    /// Applies wishes one after the other and returns the versions served after each.
    fn served(wishes: &[(&str, SwitchedBy)]) -> Vec<String> {
        let mut history: Vec<CloudEvent> = Vec::new();
        let mut seen = Vec::new();
        for &(number, by) in wishes {
            if let Decision::Switch(event, id) = decide(&history, version(number, by)) {
                history.push(event.first(&id, "/test", "m", "2026-11-23T08:00:00Z".parse().unwrap()).unwrap());
            }
            seen.push(serving::replay(&history).current.map(|current| current.version).unwrap_or_default());
        }
        seen
    }

    #[test]
    fn events_only_move_forward_and_people_move_anywhere() {
        use SwitchedBy::{Event, Request};
        assert_eq!(served(&[("1", Event), ("3", Event), ("2", Event)]), ["1", "3", "3"]);
        assert_eq!(served(&[("9", Event), ("10", Event)]), ["9", "10"], "numbers, not texts");
        assert_eq!(served(&[("1", Event), ("2", Event), ("1", Request), ("2", Request)]), ["1", "2", "1", "2"]);
        assert_eq!(served(&[("2", Event), ("1", Request), ("2", Event), ("3", Event)]), ["2", "1", "1", "3"]);
    }

    #[test]
    fn a_switch_names_the_version_before_and_is_said_again_on_redelivery() {
        let first = decide(&[], version("1", SwitchedBy::Event));
        let Decision::Switch(event, id) = first else { panic!("{first:?}") };
        let history = [event.first(&id, "/test", "m", "2026-11-23T08:00:00Z".parse().unwrap()).unwrap()];
        let again = decide(&history, version("1", SwitchedBy::Event));
        assert_eq!(again, Decision::Repeat(Box::new(history[0].clone())));
        assert_eq!(decide(&history, version("1", SwitchedBy::Request)), Decision::Stay);
        let Decision::Switch(event, _) = decide(&history, version("2", SwitchedBy::Event)) else { panic!("stays") };
        let Event::ModelLoaded(loaded) = *event else { panic!("another event") };
        assert_eq!(loaded.previous.as_deref(), Some("1"));
    }
}
