//! Who hears what, who says what, and how often it is tried.

use std::collections::{BTreeMap, BTreeSet};

use regrove_events::{SCHEMAS, TYPE_PREFIX, names};
use serde_json::json;

use super::{EMITTERS, TERMINAL, functions, keys, list, of_kind, set, text};

#[test]
fn every_emitter_is_told_the_brokers_address() {
    let bindings = of_kind("sources.knative.dev/", "SinkBinding");
    let subjects = bindings.values().map(|binding| text(binding, "/spec/subject/name"));
    assert_eq!(set(subjects), set(EMITTERS));
}

/// The event types that each function hears, without their prefix.
fn heard() -> BTreeMap<String, BTreeSet<String>> {
    of_kind("eventing.knative.dev/", "Trigger")
        .values()
        .map(|trigger| {
            let filters = list(trigger, "/spec/filters");
            assert_eq!(filters.len(), 1, "{trigger:#}");
            let types = list(&filters[0], "/any").iter().map(|filter| {
                assert_eq!(keys(filter, ""), set(["exact"]));
                assert_eq!(keys(filter, "/exact"), set(["type"]));
                text(filter, "/exact/type").strip_prefix(TYPE_PREFIX).unwrap()
            });
            (text(trigger, "/spec/subscriber/ref/name").to_owned(), set(types))
        })
        .collect()
}

#[test]
fn the_triggers_say_who_hears_what() {
    let expected = [
        (
            "aggregate",
            set([names::TRAIN_REQUESTED, names::SHARD_TRAINED, names::TRAIN_CANCELLED, names::SWEEP_REQUESTED]),
        ),
        ("load-model", set([names::MODEL_REGISTERED])),
        ("predict", set([names::PREDICT_REQUESTED])),
        (
            "register",
            set([
                names::TRAIN_REQUESTED,
                names::SHARD_TRAINED,
                names::MODEL_AGGREGATED,
                names::JOB_FAILED,
                names::JOB_CANCELLED,
                names::SWEEP_REQUESTED,
                names::SWEEP_COMPLETED,
            ]),
        ),
        ("train-shard", set([names::SHARD_REQUESTED])),
    ];
    assert_eq!(heard(), expected.map(|(function, types)| (function.to_owned(), types)).into());
}

#[test]
fn every_event_type_is_heard_or_known_to_be_terminal() {
    let heard: BTreeSet<_> = heard().into_values().flatten().collect();
    let types = set(SCHEMAS.iter().map(|(name, _)| *name));
    let unheard: BTreeSet<_> = types.difference(&heard).cloned().collect();
    assert_eq!(unheard, set(TERMINAL));
    let unknown: BTreeSet<_> = heard.difference(&types).cloned().collect();
    assert_eq!(unknown, BTreeSet::new(), "a Trigger waits for a type that nobody emits");
}

#[test]
fn every_trigger_has_a_whole_delivery_that_outlives_its_function() {
    let services = functions();
    for (name, trigger) in of_kind("eventing.knative.dev/", "Trigger") {
        // The schema lets unknown fields pass in these two places.
        assert_eq!(keys(&trigger, "/spec"), set(["broker", "filters", "subscriber", "delivery"]), "{name}");
        let fields = ["retry", "backoffPolicy", "backoffDelay", "timeout", "deadLetterSink"];
        assert_eq!(keys(&trigger, "/spec/delivery"), set(fields), "{name}");
        assert_eq!(text(&trigger, "/spec/delivery/deadLetterSink/uri"), "/dead-letters");
        assert_eq!(text(&trigger, "/spec/delivery/backoffPolicy"), "exponential");

        let minutes = text(&trigger, "/spec/delivery/timeout").strip_prefix("PT").unwrap().strip_suffix('M').unwrap();
        let subscriber = text(&trigger, "/spec/subscriber/ref/name");
        let seconds = services[subscriber].pointer("/spec/template/spec/timeoutSeconds").unwrap();
        assert_eq!(json!(minutes.parse::<u32>().unwrap() * 60), *seconds, "{name}");
    }
}
