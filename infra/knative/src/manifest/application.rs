//! All manifests together: what the local runtime is to run.

use std::collections::BTreeMap;

use serde_json::Value;

use super::config::{ConfigMap, Secret};
use super::documents::{Source, read_documents};
use super::eventing::{Broker, Trigger};
use super::fields::{Cursor, Fields, Findings};
use super::flows::{Parallel, Sequence};
use super::metadata::{Destination, Metadata};
use super::problem::{Problem, Problems};
use super::service::Service;
use super::settings::Settings;
use super::sources::{PingSource, SinkBinding};
use crate::delivery::DeliverySpec;

/// Everything that was read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Application {
    /// Services.
    pub services: Vec<Service>,
    /// Brokers.
    pub brokers: Vec<Broker>,
    /// Triggers.
    pub triggers: Vec<Trigger>,
    /// Sink bindings.
    pub sink_bindings: Vec<SinkBinding>,
    /// Ping sources.
    pub ping_sources: Vec<PingSource>,
    /// Sequences.
    pub sequences: Vec<Sequence>,
    /// Parallels.
    pub parallels: Vec<Parallel>,
    /// Config maps.
    pub config_maps: Vec<ConfigMap>,
    /// Secrets.
    pub secrets: Vec<Secret>,
    /// Cluster-wide settings, as shipped and overlaid by `config-autoscaler` and its like.
    pub settings: Settings,
    /// (kind, name) of every object of a kind that is not run here.
    pub passed_over: Vec<(String, String)>,
    /// Doubts: nothing is wrong, but the user may have meant something else.
    pub warnings: Vec<Problem>,
}

/// Where an object comes from.
#[derive(Debug, Clone)]
struct Place {
    source: String,
    document: usize,
    line: usize,
    object: String,
}

impl Place {
    fn problem(&self, path: String, reason: String) -> Problem {
        Problem {
            source: self.source.clone(),
            document: self.document,
            line: self.line,
            object: self.object.clone(),
            path,
            reason,
        }
    }
}

/// One object with its place.
struct Object {
    place: Place,
    value: Value,
}

impl Application {
    /// Reads all documents of all sources.
    ///
    /// # Errors
    ///
    /// Every fault of every document, once all have been looked at.
    pub fn parse(sources: &[Source<'_>]) -> Result<Self, Problems> {
        let mut reading = Reading::default();
        let objects: Vec<Object> = sources.iter().flat_map(|source| reading.objects(*source)).collect();
        reading.read_settings(&objects);
        for object in &objects {
            reading.read_object(object);
        }
        reading.check_references();
        if reading.errors.is_empty() { Ok(reading.application) } else { Err(Problems(reading.errors)) }
    }

    /// The broker that a trigger belongs to.
    pub fn broker_of(&self, trigger: &Trigger) -> Option<&Broker> {
        self.brokers.iter().find(|broker| {
            broker.metadata.name == trigger.broker && broker.metadata.namespace == trigger.metadata.namespace
        })
    }

    /// The bindings that give a service its sink, in the order of the manifests; Knative lets the last one win.
    pub fn sink_bindings_of<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = &'a SinkBinding> {
        let metadata = &service.metadata;
        self.sink_bindings.iter().filter(move |binding| {
            binding.metadata.namespace == metadata.namespace
                && binding.subject.selects("serving.knative.dev/v1", "Service", metadata)
        })
    }
}

#[derive(Default)]
struct Reading {
    application: Application,
    errors: Vec<Problem>,
    /// First place of each (kind, namespace, name).
    seen: BTreeMap<(String, String, String), Place>,
}

/// Kinds that are run here, each with its API group.
const KINDS: [(&str, &str); 9] = [
    ("serving.knative.dev", "Service"),
    ("eventing.knative.dev", "Broker"),
    ("eventing.knative.dev", "Trigger"),
    ("sources.knative.dev", "SinkBinding"),
    ("sources.knative.dev", "PingSource"),
    ("flows.knative.dev", "Sequence"),
    ("flows.knative.dev", "Parallel"),
    ("", "ConfigMap"),
    ("", "Secret"),
];

/// Versions of those groups that are read.
const VERSIONS: [&str; 5] =
    ["serving.knative.dev/v1", "eventing.knative.dev/v1", "sources.knative.dev/v1", "flows.knative.dev/v1", "v1"];

impl Reading {
    /// The objects of one source, those inside a `List` included.
    fn objects(&mut self, source: Source<'_>) -> Vec<Object> {
        let mut objects = Vec::new();
        for document in read_documents(source) {
            let mut place = Place {
                source: source.name.to_owned(),
                document: document.number,
                line: document.line,
                object: String::new(),
            };
            let value = match document.value {
                Ok(value) => value,
                Err(fault) => {
                    place.line = fault.line;
                    self.errors.push(place.problem(String::new(), fault.reason));
                    continue;
                }
            };
            let mut values = vec![value];
            if let Some(items) = list_items(&mut values) {
                values = items;
            }
            for value in values {
                place.object = title(&value);
                objects.push(Object { place: place.clone(), value });
            }
        }
        objects
    }

    fn read_settings(&mut self, objects: &[Object]) {
        for object in objects {
            let text = |path: &str| object.value.pointer(path).and_then(Value::as_str);
            let knative = matches!(text("/metadata/namespace"), Some("knative-serving" | "knative-eventing"));
            let (true, Some("ConfigMap"), Some(name)) = (knative, text("/kind"), text("/metadata/name")) else {
                continue;
            };
            let Some(data) = object.value.get("data").and_then(Value::as_object) else {
                continue;
            };
            // Values that are no strings are reported when the object itself is read.
            let data = data.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
            let findings = Findings::default();
            self.application.settings.overlay(name, &data, &findings);
            self.keep(&object.place, findings);
        }
    }

    fn keep(&mut self, place: &Place, findings: Findings) {
        let (errors, warnings) = findings.into_parts();
        let placed = |finding: super::fields::Finding| place.problem(finding.path, finding.reason);
        self.errors.extend(errors.into_iter().map(placed));
        self.application.warnings.extend(warnings.into_iter().map(placed));
    }

    fn read_object(&mut self, object: &Object) {
        let findings = Findings::default();
        self.read_fields(object, &findings);
        self.keep(&object.place, findings);
    }

    fn read_fields(&mut self, object: &Object, findings: &Findings) -> Option<()> {
        let root = Cursor::root(&object.value, findings);
        let mut fields = root.fields()?;
        if !fields.has("apiVersion") && !fields.has("kind") {
            // Folders of manifests also hold such things as Helm values.
            root.warning("no Kubernetes object, as it has neither apiVersion nor kind: it is passed over");
            return None;
        }
        let api_version = fields.required_string("apiVersion");
        let kind = fields.required_string("kind");
        let (api_version, kind) = (api_version?, kind?);
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        if !KINDS.contains(&(group, kind.as_str())) {
            let name = object.value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            self.application.passed_over.push((kind, name.to_owned()));
            return None;
        }
        if !VERSIONS.contains(&api_version.as_str()) {
            fields.error("apiVersion", format!("invalid value: {api_version}; only v1 of this kind is read"));
            return None;
        }
        fields.accept(&["status"]);
        let metadata = self.read_kind(&kind, &mut fields);
        fields.finish();
        let metadata = metadata?;
        let key = (kind, metadata.namespace, metadata.name);
        if let Some(first) = self.seen.get(&key) {
            findings.error(
                "metadata.name",
                format!("duplicate name: {} is already at {}:{}", first.object, first.source, first.line),
            );
        } else {
            self.seen.insert(key, object.place.clone());
        }
        Some(())
    }

    /// Reads the members of one kind and files the object; its metadata is returned when all could be read.
    fn read_kind(&mut self, kind: &str, fields: &mut Fields<'_>) -> Option<Metadata> {
        fn file<T>(list: &mut Vec<T>, object: Option<T>, metadata: impl Fn(&T) -> &Metadata) -> Option<Metadata> {
            let object = object?;
            let found = metadata(&object).clone();
            list.push(object);
            Some(found)
        }
        let application = &mut self.application;
        let settings = &application.settings;
        match kind {
            "Service" => file(&mut application.services, Service::read(fields, settings), |it| &it.metadata),
            "Broker" => file(&mut application.brokers, Some(Broker::read(fields, settings)), |it| &it.metadata),
            "Trigger" => file(&mut application.triggers, Trigger::read(fields, settings), |it| &it.metadata),
            "SinkBinding" => file(&mut application.sink_bindings, SinkBinding::read(fields), |it| &it.metadata),
            "PingSource" => file(&mut application.ping_sources, PingSource::read(fields), |it| &it.metadata),
            "Sequence" => file(&mut application.sequences, Sequence::read(fields, settings), |it| &it.metadata),
            "Parallel" => file(&mut application.parallels, Parallel::read(fields, settings), |it| &it.metadata),
            "ConfigMap" => file(&mut application.config_maps, Some(ConfigMap::read(fields)), |it| &it.metadata),
            _ => file(&mut application.secrets, Some(Secret::read(fields)), |it| &it.metadata),
        }
    }

    /// Doubts that only all objects together show.
    fn check_references(&mut self) {
        let mut doubts = Vec::new();
        for trigger in &self.application.triggers {
            if let Some(place) = self.place_of("Trigger", &trigger.metadata) {
                doubts.extend(self.application.doubts_of(trigger).map(|(path, doubt)| place.problem(path, doubt)));
            }
        }
        for (kind, metadata, destinations) in self.application.destinations() {
            let Some(place) = self.place_of(kind, metadata) else {
                continue;
            };
            for (path, destination) in destinations {
                let Some(reference) = destination.and_then(|destination| destination.reference.as_ref()) else {
                    continue;
                };
                let namespace = reference.namespace.as_deref().unwrap_or(&metadata.namespace);
                let group = reference.api_version.split_once('/').map_or("", |(group, _)| group);
                let key = (reference.kind.clone(), namespace.to_owned(), reference.name.clone());
                if !group.is_empty() && KINDS.contains(&(group, key.0.as_str())) && !self.seen.contains_key(&key) {
                    let doubt = format!("there is no {} `{}` in namespace {namespace}", key.0, key.2);
                    doubts.push(place.problem(path, doubt));
                }
            }
        }
        self.application.warnings.extend(doubts);
    }

    fn place_of(&self, kind: &str, metadata: &Metadata) -> Option<&Place> {
        self.seen.get(&(kind.to_owned(), metadata.namespace.clone(), metadata.name.clone()))
    }
}

/// Paths of destinations in an object, with what stands there.
type Destinations<'a> = Vec<(String, Option<&'a Destination>)>;

impl Application {
    /// What a user should know of a trigger and its broker.
    fn doubts_of(&self, trigger: &Trigger) -> Option<(String, String)> {
        let broker = &trigger.broker;
        match self.broker_of(trigger) {
            None => Some((
                "spec.broker".to_owned(),
                format!(
                    "there is no Broker `{broker}` in namespace {}: the Trigger gets no events",
                    trigger.metadata.namespace
                ),
            )),
            Some(found) if trigger.drops_dead_letter_sink(found) => Some((
                "spec.delivery".to_owned(),
                format!(
                    "it replaces the delivery of Broker `{broker}` as a whole, whose deadLetterSink is thereby dropped; \
                     repeat the deadLetterSink here"
                ),
            )),
            Some(_) => None,
        }
    }

    /// Every destination that an object names: (kind, metadata, places).
    fn destinations(&self) -> Vec<(&'static str, &Metadata, Destinations<'_>)> {
        fn sink(delivery: Option<&DeliverySpec>) -> Option<&Destination> {
            delivery.and_then(|spec| spec.dead_letter_sink.as_ref())
        }
        let at = |path: &str| path.to_owned();
        let mut all = Vec::new();
        for broker in &self.brokers {
            let places = vec![(at("spec.delivery.deadLetterSink"), sink(broker.delivery.as_ref()))];
            all.push(("Broker", &broker.metadata, places));
        }
        for trigger in &self.triggers {
            let dead = sink(trigger.delivery.as_ref());
            let places =
                vec![(at("spec.subscriber"), Some(&trigger.subscriber)), (at("spec.delivery.deadLetterSink"), dead)];
            all.push(("Trigger", &trigger.metadata, places));
        }
        for binding in &self.sink_bindings {
            all.push(("SinkBinding", &binding.metadata, vec![(at("spec.sink"), Some(&binding.sink))]));
        }
        for source in &self.ping_sources {
            all.push(("PingSource", &source.metadata, vec![(at("spec.sink"), Some(&source.sink))]));
        }
        for sequence in &self.sequences {
            let mut places = vec![(at("spec.reply"), sequence.reply.as_ref())];
            for (index, step) in sequence.steps.iter().enumerate() {
                let path = format!("spec.steps[{index}]");
                places.push((format!("{path}.delivery.deadLetterSink"), sink(step.delivery.as_ref())));
                places.push((path, Some(&step.destination)));
            }
            all.push(("Sequence", &sequence.metadata, places));
        }
        for parallel in &self.parallels {
            let mut places = vec![(at("spec.reply"), parallel.reply.as_ref())];
            for (index, branch) in parallel.branches.iter().enumerate() {
                let path = |field: &str| format!("spec.branches[{index}].{field}");
                places.push((path("subscriber"), Some(&branch.subscriber)));
                places.push((path("filter"), branch.filter.as_ref()));
                places.push((path("reply"), branch.reply.as_ref()));
                places.push((path("delivery.deadLetterSink"), sink(branch.delivery.as_ref())));
            }
            all.push(("Parallel", &parallel.metadata, places));
        }
        all
    }
}

/// The items of a document that is a `List`, taken out.
fn list_items(values: &mut [Value]) -> Option<Vec<Value>> {
    let object = values.first_mut()?.as_object_mut()?;
    if object.get("kind")?.as_str()? != "List" || object.get("apiVersion")?.as_str()? != "v1" {
        return None;
    }
    match object.remove("items")? {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

/// `Kind/name`, as far as they are known.
fn title(value: &Value) -> String {
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
    match value.pointer("/metadata/name").and_then(Value::as_str) {
        Some(name) if !kind.is_empty() => format!("{kind}/{name}"),
        _ => kind.to_owned(),
    }
}
