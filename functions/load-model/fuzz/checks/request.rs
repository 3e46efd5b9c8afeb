//! What has to be true of everything that is asked of this function. The fuzz target and the test that reads its kept corpus share it.

use regrove_events::event::{Artifact, Canary, ModelLoaded, ServedVersion, TrafficChanged};
use regrove_events::{Event, SwitchedBy, json};
use regrove_load_model::request::{Load, Rollback, Traffic, Wish};

/// Characters of `actor` and `reason`, at most.
const TEXT_CHARS_MAX: usize = 1000;

/// Reads the body as each route does, and tells how many took it. What they took is an event that is read as the same.
///
/// # Panics
/// When a wish breaks a promise.
pub(crate) fn requests(body: &[u8]) -> usize {
    let load = json::read::<Load>(body).ok().and_then(|load| load.check("Model").ok());
    let back = json::read::<Rollback>(body).ok().and_then(|back| back.check("Model").ok());
    let traffic = json::read::<Traffic>(body).ok().and_then(|traffic| traffic.check("Model").ok());
    if let Some(load) = &load {
        loaded(&load.name, &load.wish);
    }
    if let Some((name, wish)) = &back {
        loaded(name, wish);
    }
    if let Some(traffic) = &traffic {
        bounded(traffic.actor.as_deref());
        bounded(traffic.reason.as_deref());
        let version = || ServedVersion::from(&version(&traffic.name));
        let canary = traffic.canary.as_ref().map(|(_, percent)| Canary { version: version(), percent: *percent });
        assert!(canary.iter().all(|canary| (1..=100).contains(&canary.percent)), "{canary:?}");
        let shadow = traffic.shadow.as_ref().map(|_| version());
        let (name, actor, reason) = (traffic.name.clone(), traffic.actor.clone(), traffic.reason.clone());
        said(&traffic.name, &Event::TrafficChanged(TrafficChanged { name, canary, shadow, actor, reason }));
    }
    [load.is_some(), back.is_some(), traffic.is_some()].into_iter().filter(|took| *took).count()
}

/// The first version of a model.
fn version(name: &str) -> ModelLoaded {
    ModelLoaded::plain(name, "1", Artifact { sha256: "0".repeat(64), bytes: 1 }, SwitchedBy::Request)
}

fn loaded(name: &str, wish: &Wish) {
    let Wish { by, actor, reason } = wish.clone();
    bounded(actor.as_deref());
    bounded(reason.as_deref());
    said(name, &Event::ModelLoaded(ModelLoaded { by, actor, reason, ..version(name) }));
}

fn bounded(text: Option<&str>) {
    assert!(text.is_none_or(|text| text.chars().count() <= TEXT_CHARS_MAX), "too long");
}

/// The event with the model's name as its subject.
fn said(name: &str, event: &Event) {
    let at = "2026-11-27T08:00:00Z".parse().expect("a time");
    let sent = event.first("1", "/test", name, at).expect("a wish can be recorded");
    assert_eq!(Event::read(&sent).as_ref(), Ok(event));
}
