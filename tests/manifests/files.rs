//! The files together: references, kustomizations, overlays, and what the local runtime reads.

use std::collections::{BTreeMap, BTreeSet};

use regrove_knative::manifest::{Application, Source};
use serde_json::{Value, json};

use super::{
    EMITTERS, OVERLAYS, complaints, documents, functions, kept, knative, kustomized, list, manifest_files, objects,
    read, root, set, text, yaml_files,
};

#[test]
fn every_reference_leads_to_an_object() {
    let objects: Vec<_> = objects().into_iter().map(|(_, object)| object).collect();
    let known: BTreeSet<_> = objects
        .iter()
        .map(|object| {
            let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
            [text(object, "/apiVersion"), text(object, "/kind"), namespace, text(object, "/metadata/name")]
        })
        .collect();
    let mut followed = 0;
    for object in &objects {
        let places = ["/spec/subscriber/ref", "/spec/delivery/deadLetterSink/ref", "/spec/sink/ref", "/spec/subject"];
        for place in places {
            let Some(reference) = object.pointer(place) else { continue };
            let target = ["/apiVersion", "/kind", "/namespace", "/name"].map(|field| text(reference, field));
            assert!(known.contains(&target), "{place} of {}: no {target:?}", text(object, "/metadata/name"));
            followed += 1;
        }
        if text(object, "/kind") == "Trigger" {
            let broker = ["eventing.knative.dev/v1", "Broker", "regrove", text(object, "/spec/broker")];
            assert!(known.contains(&broker), "{broker:?}");
        }
    }
    assert_eq!(followed, 5 * 2 + EMITTERS.len() * 2 + 2, "Triggers, SinkBindings and the PingSources");
}

#[test]
fn the_local_runtime_reads_all_of_it_without_a_doubt() {
    let texts: Vec<_> =
        manifest_files().into_iter().map(|file| (file.display().to_string(), read(&root().join(file)))).collect();
    let sources: Vec<_> = texts.iter().map(|(name, text)| Source { name, text }).collect();
    let application = Application::parse(&sources).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(application.warnings.is_empty(), "{:#?}", application.warnings);
    assert_eq!(
        set(application.services.iter().map(|service| service.metadata.name.as_str())),
        set(functions().into_keys())
    );
    assert_eq!(application.triggers.len(), 5);
    assert_eq!(application.sink_bindings.len(), EMITTERS.len());
    assert_eq!(application.ping_sources.len(), 2);
    // What only a cluster needs: the local runtime has stores of its own.
    let passed_over = set(application.passed_over.into_iter().map(|(kind, _)| kind));
    let cluster_only = ["NetworkPolicy", "PodDisruptionBudget", "ServiceAccount"];
    let stores = ["Namespace", "PersistentVolumeClaim", "Service", "StatefulSet"];
    assert_eq!(passed_over, set(stores.into_iter().chain(cluster_only)));
}

#[test]
fn everything_is_in_one_namespace() {
    for (file, object) in objects() {
        if object["kind"] == "Namespace" {
            assert_eq!(text(&object, "/metadata/name"), "regrove");
        } else {
            assert_eq!(text(&object, "/metadata/namespace"), "regrove", "{}", file.display());
        }
        assert_eq!(text(&object, "/metadata/labels/app.kubernetes.io~1part-of"), "regrove", "{}", file.display());
    }
}

#[test]
fn every_manifest_is_in_exactly_one_kustomization() {
    let mut listed = Vec::new();
    for file in yaml_files("k8s").into_iter().filter(|file| file.ends_with("kustomization.yaml")) {
        let folder = file.parent().unwrap().to_path_buf();
        for kustomization in documents(&root().join(&file)) {
            listed.extend(list(&kustomization, "/resources").iter().map(|path| folder.join(path.as_str().unwrap())));
        }
    }
    // The whole is made of two folders.
    listed.retain(|path| root().join(path).is_file());
    assert_eq!(kustomized("k8s").len(), kustomized("k8s/eventing").len() + kustomized("k8s/functions").len());
    listed.extend(kept());
    listed.sort();
    assert_eq!(listed, manifest_files());
}

/// Kind, name, and all the rest, of each object but those of `but`.
fn comparable(objects: &[Value], but: &str) -> BTreeMap<(String, String), Value> {
    let named = |object: &Value| (text(object, "/kind").to_owned(), text(object, "/metadata/name").to_owned());
    objects.iter().filter(|object| object["kind"] != *but).map(|object| (named(object), object.clone())).collect()
}

#[test]
fn overlays_change_the_broker_and_nothing_else() {
    let base = kustomized("k8s/eventing");
    for (folder, class) in OVERLAYS {
        let overlaid = kustomized(folder);
        for object in &overlaid {
            let Some(validator) = knative(object) else { continue };
            let complaints = complaints(&validator, object);
            assert!(complaints.is_empty(), "{folder}:\n{}", complaints.join("\n"));
        }
        let broker = overlaid.iter().find(|object| object["kind"] == "Broker").unwrap();
        assert_eq!(text(broker, "/metadata/annotations/eventing.knative.dev~1broker.class"), class);
        assert_eq!(broker["spec"]["delivery"]["retry"], json!(10), "{folder} keeps the delivery");
        let after = comparable(&overlaid, "Broker");
        for (name, object) in comparable(&base, "Broker") {
            assert_eq!(after.get(&name), Some(&object), "{folder}");
        }
    }
}
