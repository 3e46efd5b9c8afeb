//! Trigger filters against recordings of Knative's own.

#![expect(clippy::unwrap_used, reason = "a recording that cannot be read fails the test")]

use proptest::prelude::*;
use regrove_events::CloudEvent;
use regrove_knative::filter::Filter;
use regrove_knative::manifest::{Application, FilterSpec, Problems, Source, TriggerFilter};
use serde_json::{Value as Json, json};

fn vectors() -> Vec<Json> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/eventing/filters.json");
    let json: Json = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let vectors = json["vectors"].as_array().unwrap().clone();
    assert_eq!(vectors.len(), 118);
    vectors
}

fn event(json: &Json) -> CloudEvent {
    regrove_events::json_format::from_slice(json.to_string().as_bytes()).unwrap()
}

/// A trigger with the given `filter` and `filters`, as the admission would see it.
fn admit(filter: Option<&Json>, filters: Option<&Json>) -> Result<TriggerFilter, Problems> {
    let mut spec = json!({"broker": "default", "subscriber": {"uri": "http://subscriber"}});
    for (name, value) in [("filter", filter), ("filters", filters)] {
        if let Some(value) = value {
            spec[name] = value.clone();
        }
    }
    let trigger = json!({
        "apiVersion": "eventing.knative.dev/v1", "kind": "Trigger", "metadata": {"name": "t"}, "spec": spec,
    });
    let text = trigger.to_string();
    let application = Application::parse(&[Source { name: "trigger", text: &text }])?;
    Ok(application.triggers.into_iter().next().unwrap().filter)
}

#[test]
fn every_recorded_filter_gives_the_recorded_result() {
    for vector in vectors() {
        let at = format!("{} {}", vector["n"], vector["name"]);
        let admitted = admit(vector.get("filter"), vector.get("filters"));
        if !vector["admission_error"].is_null() {
            assert!(admitted.is_err(), "{at}: admitted");
            continue;
        }
        let filter = Filter::compile(&admitted.unwrap()).unwrap();
        // Where upstream panics (`null`), the API says that the event does not pass.
        let delivered = vector["delivered"].as_bool().unwrap_or(false);
        assert_eq!(filter.matches(&event(&vector["event"])), delivered, "{at}");
    }
}

#[test]
fn refusals_name_the_entry() {
    for (filters, path) in [
        (json!([{"exact": {"type": "a"}}, {"exact": {"type": "a"}, "suffix": {"type": "b"}}]), "spec.filters[1]"),
        (json!({"exact": {"type": "a"}}), "spec.filters"),
        (json!([{"all": [{"not": {"cesql": "type ="}}]}]), "spec.filters[0].all[0].not.cesql"),
        (json!([{"prefix": {"Type": "a"}}]), "spec.filters[0].prefix[Type]"),
        (json!([{"sql": "TRUE"}]), "spec.filters[0].sql"),
    ] {
        let problems = admit(None, Some(&filters)).unwrap_err();
        assert_eq!(problems.0.len(), 1, "{filters}: {problems}");
        assert_eq!(problems.0[0].path, path, "{filters}");
    }
}

#[test]
fn a_new_filter_overrides_the_old_one() {
    let both = admit(Some(&json!({"attributes": {"type": "a"}})), Some(&json!([{"exact": {"type": "b"}}]))).unwrap();
    let filter = Filter::compile(&both).unwrap();
    assert!(filter.matches(&event(&json!({"specversion": "1.0", "id": "1", "source": "/", "type": "b"}))));
    assert!(!filter.matches(&event(&json!({"specversion": "1.0", "id": "1", "source": "/", "type": "a"}))));
}

fn any_filter() -> impl Strategy<Value = FilterSpec> {
    let attributes = || prop::collection::btree_map("[a-zA-Z0-9]{0,4}", any::<String>(), 0..3);
    let leaf = prop_oneof![
        Just(FilterSpec::Everything),
        attributes().prop_map(FilterSpec::Exact),
        attributes().prop_map(FilterSpec::Prefix),
        attributes().prop_map(FilterSpec::Suffix),
        any::<String>().prop_map(FilterSpec::Cesql),
        Just(FilterSpec::Cesql("EXISTS type".to_owned())),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(FilterSpec::All),
            prop::collection::vec(inner.clone(), 0..4).prop_map(FilterSpec::Any),
            inner.prop_map(|inner| FilterSpec::Not(Box::new(inner))),
        ]
    })
}

proptest! {
    #[test]
    fn any_filter_compiles_or_is_refused(filters in prop::collection::vec(any_filter(), 0..4)) {
        let spec = TriggerFilter { attributes: None, filters };
        if let Ok(filter) = Filter::compile(&spec) {
            filter.matches(&event(&json!({"specversion": "1.0", "id": "1", "source": "/", "type": "b"})));
        }
    }
}
