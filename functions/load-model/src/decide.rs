//! Whether a version takes over. Pure.

use http::StatusCode;
use regrove_events::event::{ModelLoaded, TrafficChanged};
use regrove_events::{CloudEvent, Event, Serving, SwitchedBy, ids, serving};
use regrove_host::Problem;

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
        SwitchedBy::Request | SwitchedBy::Rollback | SwitchedBy::Alias => {
            ids::model_switched(&candidate.name, now.switches + 1)
        }
    };
    if let Some(known) = history.iter().find(|event| event.id() == id) {
        return Decision::Repeat(Box::new(known.clone()));
    }
    // The same version under another alias, or under none, is another pointer: it follows something else.
    let served = now.current.as_ref().is_some_and(|current| {
        current.version == candidate.version && (current.alias == candidate.alias || candidate.by == SwitchedBy::Event)
    });
    if served || !now.accepts(&candidate) {
        return Decision::Stay;
    }
    let previous = now.current.map(|current| current.version);
    Decision::Switch(Box::new(Event::ModelLoaded(ModelLoaded { previous, ..candidate })), id)
}

/// What stands beside the served version from now on, and the id of saying so.
///
/// # Errors
/// 409 when nothing is served yet, or a version would stand beside itself.
pub fn traffic(history: &[CloudEvent], change: TrafficChanged) -> Result<(TrafficChanged, String), Problem> {
    let now = serving::replay(history);
    let conflict = |detail: String| Problem::new("traffic-conflict", StatusCode::CONFLICT, detail);
    let Some(current) = &now.current else {
        let detail =
            format!("nothing is served as `{}`: load a version before another one stands beside it", change.name);
        return Err(conflict(detail));
    };
    let beside = change.canary.iter().map(|canary| &canary.version).chain(&change.shadow);
    if let Some(same) = beside.into_iter().find(|version| version.version == current.version) {
        return Err(conflict(format!("version {} is the one that is served", same.version)));
    }
    let id = ids::traffic_changed(&change.name, now.traffic_changes + 1);
    Ok((change, id))
}

#[cfg(test)]
mod tests {
    use regrove_events::Artifact;
    use regrove_events::event::{Canary, ServedVersion};

    use super::*;

    fn version(version: &str, by: SwitchedBy) -> ModelLoaded {
        ModelLoaded::plain("m", version, Artifact { sha256: "0".repeat(64), bytes: 1 }, by)
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
    fn a_pointer_that_follows_an_alias_moves_with_it_and_with_people_only() {
        use SwitchedBy::{Alias, Event, Request, Rollback};
        let mut history: Vec<CloudEvent> = Vec::new();
        let mut ask = |number: &str, by, alias: Option<&str>| {
            let candidate = ModelLoaded { alias: alias.map(str::to_owned), ..version(number, by) };
            let decision = decide(&history, candidate);
            if let Decision::Switch(event, id) = &decision {
                let at = "2026-11-23T08:00:00Z".parse().unwrap();
                history.push(event.first(id, "/test", "m", at).unwrap());
            }
            let now = serving::replay(&history);
            (
                matches!(decision, Decision::Switch(..)),
                now.current.clone().unwrap().version,
                now.alias().map(str::to_owned),
            )
        };
        let follows = |moved, number: &str, alias: Option<&str>| (moved, number.to_owned(), alias.map(str::to_owned));
        assert_eq!(ask("1", Event, None), follows(true, "1", None));
        assert_eq!(ask("2", Alias, Some("champion")), follows(false, "1", None), "nothing is followed yet");
        assert_eq!(ask("1", Request, Some("champion")), follows(true, "1", Some("champion")), "the same version");
        assert_eq!(ask("1", Request, Some("champion")), follows(false, "1", Some("champion")));
        assert_eq!(ask("5", Event, None), follows(false, "1", Some("champion")), "a new version is not the champion");
        assert_eq!(ask("3", Alias, Some("other")), follows(false, "1", Some("champion")));
        assert_eq!(ask("3", Alias, Some("champion")), follows(true, "3", Some("champion")));
        assert_eq!(ask("3", Alias, Some("champion")), follows(false, "3", Some("champion")), "asked by two at once");
        assert_eq!(ask("2", Alias, Some("champion")), follows(true, "2", Some("champion")), "back as well");
        assert_eq!(ask("1", Rollback, None), follows(true, "1", None), "a rollback stays where it went");
        assert_eq!(ask("3", Alias, Some("champion")), follows(false, "1", None));
        assert_eq!(ask("3", Request, Some("champion")), follows(true, "3", Some("champion")));
        assert_eq!(ask("3", Request, None), follows(true, "3", None), "a version by its number is followed by none");
        assert_eq!(ask("6", Event, None), follows(true, "6", None));
    }

    #[test]
    fn a_rollback_goes_to_what_was_served_before_and_ends_what_stands_beside() {
        let mut history: Vec<CloudEvent> = Vec::new();
        let at = || "2026-11-23T08:00:00Z".parse().unwrap();
        let load = |history: &mut Vec<CloudEvent>, number: &str, by| {
            let Decision::Switch(event, id) = decide(history, version(number, by)) else { panic!("stays") };
            history.push(event.first(&id, "/test", "m", at()).unwrap());
        };
        for number in ["1", "2", "3"] {
            load(&mut history, number, SwitchedBy::Request);
        }
        let beside = ServedVersion::from(&version("4", SwitchedBy::Request));
        let canary = Some(Canary { version: beside.clone(), percent: 5 });
        let wish = TrafficChanged { name: "m".into(), canary, shadow: Some(beside), actor: None, reason: None };
        let (change, id) = traffic(&history, wish.clone()).unwrap();
        assert_eq!(id, "m/traffic/1");
        history.push(Event::TrafficChanged(change).first(&id, "/test", "m", at()).unwrap());
        assert!(serving::replay(&history).canary.is_some());
        let mut served = Vec::new();
        while let Some(before) = serving::replay(&history).before().cloned() {
            load(&mut history, &before.version, SwitchedBy::Rollback);
            served.push(before.version);
        }
        assert_eq!(served, ["2", "1"], "not back and forth");
        let now = serving::replay(&history);
        assert_eq!((now.canary, now.shadow), (None, None));
        assert_eq!(traffic(&[], wish.clone()).unwrap_err().kind, "traffic-conflict");
        load(&mut history, "4", SwitchedBy::Request);
        assert_eq!(traffic(&history, wish).unwrap_err().kind, "traffic-conflict");
    }

    #[test]
    fn a_canary_that_is_loaded_has_done_its_work() {
        let at = || "2026-11-23T08:00:00Z".parse().unwrap();
        let beside = ServedVersion::from(&version("2", SwitchedBy::Request));
        let change = TrafficChanged {
            name: "m".into(),
            canary: Some(Canary { version: beside, percent: 5 }),
            shadow: None,
            actor: None,
            reason: None,
        };
        let events = [
            Event::ModelLoaded(version("1", SwitchedBy::Request)),
            Event::TrafficChanged(change),
            Event::ModelLoaded(version("2", SwitchedBy::Request)),
        ];
        let history: Vec<CloudEvent> = events
            .iter()
            .enumerate()
            .map(|(id, event)| event.first(&id.to_string(), "/t", "m", at()).unwrap())
            .collect();
        assert!(serving::replay(&history[..2]).canary.is_some());
        assert!(serving::replay(&history).canary.is_none());
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
