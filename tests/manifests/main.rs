//! What we deploy is well formed, complete, and says the same thing everywhere.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests: a panic is how they fail")]

mod dashboard;
mod events;
mod files;
mod functions;
mod interfaces;
mod schemas;
mod scripts;
mod skaffold;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use regrove_events::names;
use serde_json::Value;

/// Functions that emit, and so need the broker's address.
const EMITTERS: [&str; 6] = ["aggregate", "console", "load-model", "predict", "register", "train-shard"];
/// Heard by nobody inside: they are for people and for systems outside.
const TERMINAL: [&str; 6] = [
    names::MODEL_LOADED,
    names::TRAFFIC_CHANGED,
    names::PREDICT_COMPLETED,
    names::PREDICTION_LOGGED,
    names::ROUND_EVALUATED,
    names::DELIVERY_FAILED,
];
/// Files of `k8s/` that are not manifests.
const NOT_MANIFESTS: [&str; 3] = ["kustomization.yaml", "values.yaml", "values-s3.yaml"];
/// Overlays of `k8s/`, each for another broker, with the class that it chooses.
const OVERLAYS: [(&str, &str); 2] = [("overlays/kafka", "Kafka"), ("overlays/rabbitmq", "RabbitMQBroker")];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every document of a YAML file, as JSON.
fn documents(path: &Path) -> Vec<Value> {
    serde_saphyr::from_multiple(&read(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every YAML file under `folder`, sorted, by its path relative to the workspace.
fn yaml_files(folder: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            files.extend(yaml_files(&path));
        } else if entry.path().extension().is_some_and(|extension| extension == "yaml") {
            files.push(PathBuf::from(path));
        }
    }
    files.sort();
    files
}

fn manifest_files() -> Vec<PathBuf> {
    let mut files = yaml_files("k8s");
    files.retain(|file| NOT_MANIFESTS.iter().all(|name| !file.ends_with(name)));
    files
}

/// Every object of `k8s/` with the file it is in.
fn objects() -> Vec<(PathBuf, Value)> {
    let files = manifest_files();
    assert!(files.len() > 10, "only {} manifests found under k8s/", files.len());
    files
        .into_iter()
        .flat_map(|file| documents(&root().join(&file)).into_iter().map(move |object| (file.clone(), object)))
        .collect()
}

fn of_kind(group: &str, kind: &str) -> BTreeMap<String, Value> {
    let found: BTreeMap<_, _> = objects()
        .into_iter()
        .map(|(_, object)| object)
        .filter(|object| text(object, "/apiVersion").starts_with(group) && text(object, "/kind") == kind)
        .map(|object| (text(&object, "/metadata/name").to_owned(), object))
        .collect();
    assert!(!found.is_empty(), "no {kind} of {group} under k8s/");
    found
}

fn functions() -> BTreeMap<String, Value> {
    of_kind("serving.knative.dev/", "Service")
}

/// The text at a JSON pointer; a panic that shows the object when there is none.
fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no text at {pointer} of {object:#}"))
}

/// The list at a JSON pointer, empty when there is none.
fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn keys(object: &Value, pointer: &str) -> BTreeSet<String> {
    object.pointer(pointer).and_then(Value::as_object).map(|map| map.keys().cloned().collect()).unwrap_or_default()
}

fn set<T: Into<String>>(items: impl IntoIterator<Item = T>) -> BTreeSet<String> {
    items.into_iter().map(Into::into).collect()
}

fn schema(name: &str) -> jsonschema::Validator {
    let path = root().join("tests/testdata/schemas").join(name);
    jsonschema::validator_for(&serde_json::from_str(&read(&path)).unwrap()).unwrap()
}

/// The schema that refuses unknown fields, for the kinds that Knative defines.
fn knative_schema(api_version: &str, kind: &str) -> Option<jsonschema::Validator> {
    let name = match (api_version, kind) {
        ("serving.knative.dev/v1", "Service") => "serving-serving-v1-service.strict.json",
        ("eventing.knative.dev/v1", "Broker") => "eventing-eventing-v1-broker.strict.json",
        ("eventing.knative.dev/v1", "Trigger") => "eventing-eventing-v1-trigger.strict.json",
        ("sources.knative.dev/v1", "SinkBinding") => "eventing-sources-v1-sinkbinding.strict.json",
        ("sources.knative.dev/v1", "PingSource") => "eventing-sources-v1-pingsource.strict.json",
        _ => return None,
    };
    Some(schema(name))
}

/// The same of an object.
fn knative(object: &Value) -> Option<jsonschema::Validator> {
    knative_schema(text(object, "/apiVersion"), text(object, "/kind"))
}

/// What is wrong with `object`, one line for each place.
fn complaints(validator: &jsonschema::Validator, object: &Value) -> Vec<String> {
    validator.iter_errors(object).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// What a hook applies, so that skaffold, which deletes whatever it has deployed, does not delete it.
fn kept() -> Vec<PathBuf> {
    let script = read(&root().join("k8s/cluster/keep.sh"));
    let applied = script.lines().filter_map(|line| line.split_once(" apply -f "));
    applied.map(|(_, file)| Path::new("k8s/cluster").join(file)).filter(|file| file.extension().is_some()).collect()
}

/// The objects that `kubectl kustomize` makes of a folder.
fn kustomized(folder: &str) -> Vec<Value> {
    let kubectl = regrove_test_support::programs::platform_program("kubectl").unwrap();
    let output = Command::new(kubectl).arg("kustomize").arg(root().join(folder)).output().unwrap();
    assert!(output.status.success(), "{folder}: {}", String::from_utf8_lossy(&output.stderr));
    serde_saphyr::from_multiple(std::str::from_utf8(&output.stdout).unwrap()).unwrap()
}
