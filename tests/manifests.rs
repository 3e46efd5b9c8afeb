//! What we deploy is well formed, complete, and says the same thing everywhere.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests: a panic is how they fail")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use regrove_events::{SCHEMAS, TYPE_PREFIX, names};
use regrove_knative::manifest::{Application, Source};
use serde_json::{Value, json};

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

#[test]
fn knative_manifests_have_no_unknown_or_mistyped_field() {
    let mut checked = 0;
    for (file, object) in objects() {
        let (version, kind) = (text(&object, "/apiVersion"), text(&object, "/kind"));
        let Some(validator) = knative_schema(version, kind) else {
            assert!(!version.contains("knative"), "{}: no schema for {version} {kind}", file.display());
            continue;
        };
        let complaints = complaints(&validator, &object);
        assert!(complaints.is_empty(), "{} {kind}:\n{}", file.display(), complaints.join("\n"));
        checked += 1;
    }
    assert!(checked >= 15, "only {checked} Knative objects");
}

#[test]
fn the_schemas_see_a_typing_error() {
    let service = functions().remove("predict").unwrap();
    let validator = knative_schema("serving.knative.dev/v1", "Service").unwrap();
    let mut unknown = service.clone();
    unknown["spec"]["template"]["spec"]["containerConcurency"] = json!(1);
    assert_eq!(complaints(&validator, &unknown).len(), 1);
    let mut mistyped = service;
    mistyped["spec"]["template"]["metadata"]["annotations"]["regrove.io/listen-fds"] = json!(true);
    assert_eq!(complaints(&validator, &mistyped).len(), 1);
}

#[test]
fn kubernetes_own_kinds_pass_kubernetes_own_schemas() {
    let venv = std::env::var_os("REGROVE_TEST_VENV")
        .expect("REGROVE_TEST_VENV names the Python environment of the tests: run `cargo xtask test`");
    let files: BTreeSet<_> = objects()
        .into_iter()
        .filter(|(_, object)| !text(object, "/apiVersion").contains("knative"))
        .map(|(file, _)| file)
        .collect();
    assert!(files.len() >= 3, "{files:?}");
    // What the overlays make of them and add to them; of RabbitMQ's own kind there is no schema here.
    let overlaid = tempfile::tempdir().unwrap();
    for folder in ["overlays/kafka", "overlays/rabbitmq", "overlays/s3"] {
        let mut objects = kustomized(folder);
        objects.retain(|object| knative(object).is_none() && object["kind"] != "RabbitmqBrokerConfig");
        assert!(!objects.is_empty(), "{folder}");
        for (number, object) in objects.iter().enumerate() {
            let file = overlaid.path().join(format!("{}-{number}.yaml", folder.replace('/', "-")));
            fs::write(file, object.to_string()).unwrap();
        }
    }
    // And what the guide has people apply.
    let guide = read(&root().join("docs/operations.md"));
    let applied: Vec<&str> = guide.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!applied.is_empty());
    for (number, text) in applied.into_iter().enumerate() {
        fs::write(overlaid.path().join(format!("guide-{number}.yaml")), text).unwrap();
    }
    let overlaid = fs::read_dir(overlaid.path()).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let output = Command::new(Path::new(&venv).join("bin/kubernetes-validate"))
        .arg("--strict")
        .args(&files)
        .args(&overlaid)
        .current_dir(root())
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    // It says so and succeeds when it knows no schema for a kind.
    assert!(!said.contains("WARN"), "{said}");
}

#[test]
fn skaffold_passes_its_schema() {
    let validator = schema("skaffold-v4beta13.json");
    let modules = documents(&root().join("skaffold.yaml"));
    for module in &modules {
        let complaints = complaints(&validator, module);
        assert!(complaints.is_empty(), "{}:\n{}", text(module, "/metadata/name"), complaints.join("\n"));
    }
    let mut unknown = modules[0].clone();
    unknown["deploi"] = json!({});
    assert!(!complaints(&validator, &unknown).is_empty());
}

#[test]
fn skaffold_names_files_that_exist() {
    for module in documents(&root().join("skaffold.yaml")) {
        let raw = list(&module, "/manifests/rawYaml").iter();
        let kustomize = list(&module, "/manifests/kustomize/paths").iter();
        let releases = list(&module, "/deploy/helm/releases").iter();
        let values = releases.flat_map(|release| list(release, "/valuesFiles"));
        let hooks = list(&module, "/deploy/kubectl/hooks/before").iter();
        let scripts = hooks.filter_map(|hook| hook.pointer("/host/command/1"));
        for path in raw.chain(kustomize).chain(values).chain(scripts) {
            let path = path.as_str().unwrap();
            assert!(root().join(path).exists(), "{path}");
        }
    }
}

#[test]
fn services_images_build_targets_and_binaries_have_one_name() {
    let services = functions();
    for (name, service) in &services {
        let containers = list(service, "/spec/template/spec/containers");
        assert_eq!(containers.len(), 1, "{name}");
        assert_eq!(text(&containers[0], "/image"), name);
    }
    let services = set(services.into_keys());

    let skaffold = documents(&root().join("skaffold.yaml"));
    let artifacts: Vec<_> = skaffold.iter().flat_map(|module| list(module, "/build/artifacts")).collect();
    assert_eq!(set(artifacts.iter().map(|artifact| text(artifact, "/image"))), services);
    for artifact in artifacts {
        assert_eq!(text(artifact, "/docker/target"), text(artifact, "/image"));
        assert_eq!(text(artifact, "/docker/dockerfile"), "Dockerfile");
    }

    let dockerfile = read(&root().join("Dockerfile"));
    let targets = dockerfile.lines().filter_map(|line| line.strip_prefix("FROM function AS "));
    assert_eq!(set(targets), services);
    for name in &services {
        assert!(
            dockerfile.contains(&format!("COPY --from=programs /image/{name}/ /\nENTRYPOINT [\"/{name}\"]\n")),
            "{name}"
        );
        assert!(dockerfile.contains(&format!("LABEL org.opencontainers.image.title=\"regrove-{name}\"")), "{name}");
    }

    let crates = fs::read_dir(root().join("functions")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(set(crates.map(|name| name.into_string().unwrap())), services);
    for name in &services {
        let manifest = read(&root().join("functions").join(name).join("Cargo.toml"));
        assert!(manifest.contains(&format!("[[bin]]\nname = \"{name}\"\n")), "no binary {name}");
    }
}

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

#[test]
fn every_function_is_confined_and_reveals_nothing() {
    for (name, service) in functions() {
        let pod = &service["spec"]["template"]["spec"];
        assert_eq!(pod["automountServiceAccountToken"], json!(false), "{name}");
        assert_eq!(pod["serviceAccountName"], json!(name));
        let container = &pod["containers"][0];
        let security = &container["securityContext"];
        assert_eq!(security["runAsNonRoot"], json!(true), "{name}");
        assert_eq!(security["readOnlyRootFilesystem"], json!(true), "{name}");
        assert_eq!(security["allowPrivilegeEscalation"], json!(false), "{name}");
        assert_eq!(security["capabilities"], json!({ "drop": ["ALL"] }), "{name}");
        assert_eq!(text(container, "/readinessProbe/httpGet/path"), "/healthz", "{name}");
        for amount in ["/requests/cpu", "/requests/memory", "/limits/cpu", "/limits/memory"] {
            assert!(container["resources"].pointer(amount).is_some(), "{name} lacks {amount}");
        }
        for variable in list(container, "/env") {
            assert!(variable.get("value").is_none(), "{name} has a literal value for {variable}");
            let reference = variable["valueFrom"].as_object().unwrap().values().next().unwrap();
            assert_eq!(reference["optional"], json!(true), "{name}: the local runtime has no {variable}");
        }
        // On the Service itself Knative refuses them.
        assert!(keys(&service, "/metadata/annotations").is_empty(), "{name}");
        assert_eq!(text(&service, "/spec/template/metadata/annotations/regrove.io~1listen-fds"), "true");
    }
    let secrets: Vec<_> = objects().into_iter().filter(|(_, object)| object["kind"] == "Secret").collect();
    assert!(secrets.is_empty(), "{secrets:?}");
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
    listed.extend(kept());
    listed.sort();
    assert_eq!(listed, manifest_files());
}

/// What a hook applies, so that skaffold, which deletes whatever it has deployed, does not delete it.
fn kept() -> Vec<PathBuf> {
    let script = read(&root().join("k8s/cluster/keep.sh"));
    let applied = script.lines().filter_map(|line| line.split_once(" apply -f "));
    applied.map(|(_, file)| Path::new("k8s/cluster").join(file)).filter(|file| file.extension().is_some()).collect()
}

/// A namespace takes all that is in it along, a claim its data.
#[test]
fn what_skaffold_deletes_has_no_data() {
    let data = ["Namespace", "PersistentVolumeClaim", "PersistentVolume", "Secret"];
    let modules = documents(&root().join("skaffold.yaml"));
    let folders = modules.iter().flat_map(|module| list(module, "/manifests/kustomize/paths"));
    let folders =
        folders.map(|path| path.as_str().unwrap()).chain(["overlays/kafka", "overlays/rabbitmq", "overlays/s3"]);
    for folder in folders {
        for object in kustomized(folder) {
            assert!(!data.contains(&text(&object, "/kind")), "{folder}: {}", text(&object, "/metadata/name"));
            // Claims of a StatefulSet stay unless it says otherwise.
            assert!(object.pointer("/spec/persistentVolumeClaimRetentionPolicy").is_none(), "{folder}");
        }
    }
    assert!(modules.iter().all(|module| module.pointer("/manifests/rawYaml").is_none()));
    let kept: Vec<String> = kept()
        .iter()
        .flat_map(|file| documents(&root().join(file)))
        .map(|object| text(&object, "/kind").to_owned())
        .collect();
    assert_eq!(kept, ["Namespace", "PersistentVolumeClaim"]);
}

/// The local runtime has stores of its own; in a cluster a function that is not told of Redis would keep a state of its own.
#[test]
fn no_function_starts_in_a_cluster_without_its_stores() {
    let objects = kustomized("k8s");
    for name in functions().keys() {
        let is_it = |object: &&Value| knative(object).is_some() && text(object, "/metadata/name") == name;
        let service = objects.iter().filter(|object| object["kind"] == "Service").find(is_it).unwrap();
        let variables = list(service, "/spec/template/spec/containers/0/env").iter();
        let stores: BTreeMap<&str, &Value> = variables
            .filter(|variable| variable.pointer("/valueFrom/configMapKeyRef/name") == Some(&json!("regrove-config")))
            .map(|variable| (text(variable, "/name"), &variable["valueFrom"]["configMapKeyRef"]["optional"]))
            .collect();
        let asks_mlflow = ["console", "load-model", "register"].contains(&name.as_str());
        let wanted: &[&str] = if asks_mlflow { &["MLFLOW_TRACKING_URI", "REDIS_URL"] } else { &["REDIS_URL"] };
        assert_eq!(stores.keys().copied().collect::<Vec<_>>(), wanted, "{name}");
        assert!(stores.values().all(|optional| **optional == false), "{name}: {stores:?}");
    }
}

/// Behind the default-deny policy MLflow reaches S3 only where its artifacts are there.
#[test]
fn the_profile_s3_lets_mlflow_out() {
    let modules = documents(&root().join("skaffold.yaml"));
    let stores = modules.iter().find(|module| text(module, "/metadata/name") == "stores").unwrap();
    let s3 = list(stores, "/profiles").iter().find(|profile| text(profile, "/name") == "s3").unwrap();
    let added: BTreeSet<&str> = list(s3, "/patches").iter().map(|patch| text(patch, "/value")).collect();
    assert_eq!(added, BTreeSet::from(["k8s/mlflow/values-s3.yaml", "overlays/s3"]));
    let [policy] = kustomized("overlays/s3").try_into().unwrap();
    let policy: Value = policy;
    assert_eq!(policy["spec"]["podSelector"]["matchLabels"], json!({"app.kubernetes.io/name": "mlflow"}));
    assert_eq!(policy["spec"]["egress"], json!([{"ports": [{"protocol": "TCP", "port": 443}]}]));
}

/// The objects that `kubectl kustomize` makes of a folder.
fn kustomized(folder: &str) -> Vec<Value> {
    let kubectl = regrove_test_support::programs::platform_program("kubectl").unwrap();
    let output = Command::new(kubectl).arg("kustomize").arg(root().join(folder)).output().unwrap();
    assert!(output.status.success(), "{folder}: {}", String::from_utf8_lossy(&output.stderr));
    serde_saphyr::from_multiple(std::str::from_utf8(&output.stdout).unwrap()).unwrap()
}

/// Kind, name, and all the rest, of each object but those of `but`.
fn comparable(objects: &[Value], but: &str) -> BTreeMap<(String, String), Value> {
    let named = |object: &Value| (text(object, "/kind").to_owned(), text(object, "/metadata/name").to_owned());
    objects.iter().filter(|object| object["kind"] != *but).map(|object| (named(object), object.clone())).collect()
}

#[test]
fn overlays_change_the_broker_and_nothing_else() {
    let base = kustomized("k8s");
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

/// Data sets pass through files below the home of those who read them, and root file systems are read-only.
#[test]
fn who_reads_data_sets_has_a_home_to_write_to_in_a_cluster() {
    let objects = kustomized("k8s");
    for name in functions().keys() {
        let is_it = |object: &&Value| {
            text(object, "/kind") == "Service" && text(object, "/metadata/name") == name && knative(object).is_some()
        };
        let service = objects.iter().find(is_it).unwrap_or_else(|| panic!("no Service {name}"));
        assert_eq!(complaints(&knative(service).unwrap(), service), Vec::<String>::new(), "{name}");
        let pod = &service["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true, "{name}");
        let home = list(container, "/env").iter().find(|variable| variable["name"] == "REGROVE_HOME");
        let home = home.map(|variable| variable["value"].clone());
        let reads_data_sets = ["aggregate", "predict"].contains(&name.as_str());
        assert_eq!(home.is_some(), reads_data_sets, "{name}");
        if let Some(home) = home {
            let mount = &container["volumeMounts"][0];
            assert_eq!(mount["mountPath"], home, "{name}");
            assert_eq!(mount["name"], pod["volumes"][0]["name"], "{name}");
            assert!(pod["volumes"][0]["emptyDir"]["sizeLimit"].is_string(), "{name} may not fill the node's disk");
        }
    }
}

#[test]
fn skaffold_deploys_every_kustomization() {
    let modules = documents(&root().join("skaffold.yaml"));
    let paths =
        |config: &Value| set(list(config, "/manifests/kustomize/paths").iter().map(|path| path.as_str().unwrap()));
    let deployed: BTreeSet<String> = modules.iter().flat_map(&paths).collect();
    let folders = yaml_files("k8s").into_iter().filter(|file| file.ends_with("kustomization.yaml"));
    assert_eq!(deployed, set(folders.map(|file| file.parent().unwrap().to_str().unwrap().to_owned())));
    let functions = modules.iter().find(|module| text(module, "/metadata/name") == "functions").unwrap();
    for (folder, class) in OVERLAYS {
        let profile = list(functions, "/profiles").iter().find(|profile| folder.ends_with(text(profile, "/name")));
        assert_eq!(paths(profile.unwrap()), set([folder]), "{class}");
    }
    // A module that only has hooks, or names no deployer, is deployed by some releases of skaffold and not by others.
    for module in &modules {
        assert!(!paths(module).is_empty(), "{}", text(module, "/metadata/name"));
        assert!(module.pointer("/deploy/kubectl").is_some(), "{}", text(module, "/metadata/name"));
    }
    let forwarded = |forward: &Value| (forward["localPort"].to_string(), text(forward, "/resourceName").to_owned());
    let ports: BTreeMap<_, _> = modules.iter().flat_map(|module| list(module, "/portForward")).map(forwarded).collect();
    let wanted = [("8000", "kourier"), ("8081", "broker-ingress"), ("8265", "console-page"), ("8989", "mlflow")];
    assert_eq!(ports, wanted.map(|(port, name)| (port.to_owned(), name.to_owned())).into());
    // Another broker has another ingress.
    for (profile, ingress) in [
        ("kafka", [("resourceName", "kafka-broker-ingress")].as_slice()),
        ("rabbitmq", &[("namespace", "regrove"), ("resourceName", "default-broker-ingress")]),
    ] {
        let profile = list(functions, "/profiles").iter().find(|found| text(found, "/name") == profile).unwrap();
        let mut patched: Vec<(&str, &str)> = Vec::new();
        for patch in list(profile, "/patches") {
            let (list, member) = text(patch, "/path").rsplit_once('/').unwrap();
            assert_eq!(functions.pointer(list).unwrap()["localPort"], 8081, "{list}");
            patched.push((member, text(patch, "/value")));
        }
        patched.sort_unstable();
        assert_eq!(patched, ingress);
    }
}

/// A label of each image names the commit, where skaffold is told of it.
#[test]
fn skaffold_tells_every_image_its_commit() {
    assert!(read(&root().join("Dockerfile")).contains("ARG REVISION=unknown\n"));
    let modules = documents(&root().join("skaffold.yaml"));
    let artifacts: Vec<&Value> = modules.iter().flat_map(|module| list(module, "/build/artifacts")).collect();
    assert_eq!(artifacts.len(), functions().len());
    for artifact in artifacts {
        let revision = text(artifact, "/docker/buildArgs/REVISION");
        assert_eq!(revision, r#"{{with index . "REVISION"}}{{.}}{{else}}unknown{{end}}"#, "{artifact}");
        assert_eq!(text(artifact, "/docker/target"), text(artifact, "/image"));
    }
}

/// Whoever installs reads which ports are theirs.
#[test]
fn the_guide_names_every_forwarded_port() {
    let guide = read(&root().join("docs/operations.md"));
    let (install, _) = guide.split_once("\n## Upgrade").unwrap();
    for forward in documents(&root().join("skaffold.yaml")).iter().flat_map(|module| list(module, "/portForward")) {
        assert!(install.contains(&forward["localPort"].to_string()), "{forward}");
    }
}

/// Whoever is selected by no policy may talk to nobody; whoever needs something is allowed exactly that.
#[test]
fn network_policies_let_through_what_the_functions_need() {
    let policies = of_kind("networking.k8s.io/", "NetworkPolicy");
    assert_eq!(policies["default-deny"]["spec"], json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}));
    let selected = |policy: &str| -> BTreeSet<String> {
        let selector = &policies[policy]["spec"]["podSelector"];
        match selector.pointer("/matchLabels/serving.knative.dev~1service") {
            Some(one) => set([one.as_str().unwrap()]),
            None => match list(selector, "/matchExpressions/0/values") {
                [] => set(functions().into_keys()),
                named => set(named.iter().map(|name| name.as_str().unwrap())),
            },
        }
    };
    let reads = |variable: &str| -> BTreeSet<String> {
        let named = |service: &Value| {
            list(service, "/spec/template/spec/containers/0/env").iter().any(|env| env["name"] == *variable)
        };
        functions().into_iter().filter(|(_, service)| named(service)).map(|(name, _)| name).collect()
    };
    assert_eq!(selected("functions-to-redis"), reads("REDIS_URL"));
    assert_eq!(selected("record-keepers-to-mlflow"), reads("MLFLOW_TRACKING_URI"));
    assert_eq!(selected("emitters-to-broker"), set(EMITTERS));
    assert_eq!(selected("requests-to-functions"), set(functions().into_keys()));
    for (there, back) in
        [("functions-to-redis", "redis-from-functions"), ("record-keepers-to-mlflow", "mlflow-from-record-keepers")]
    {
        let (there, back) = (&policies[there]["spec"], &policies[back]["spec"]);
        assert_eq!(there["egress"][0]["ports"], back["ingress"][0]["ports"]);
        assert_eq!(there["egress"][0]["to"][0]["podSelector"], back["podSelector"]);
        assert_eq!(back["ingress"][0]["from"][0]["podSelector"], there["podSelector"]);
    }
}

/// Both linters of AWS, as `sam deploy` would run them.
#[test]
fn the_lambda_template_is_clean() {
    let template = root().join("infra/aws/template.yaml");
    let check = |program: &str, arguments: &[&str]| {
        let output = Command::new(regrove_test_support::programs::platform_program(program).unwrap())
            .args(arguments)
            .arg(&template)
            .env("AWS_DEFAULT_REGION", "eu-central-1")
            .env("SAM_CLI_TELEMETRY", "0")
            .output()
            .unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{program}: {said}");
        said
    };
    assert_eq!(check("cfn-lint", &["--template"]), "");
    assert!(check("sam", &["validate", "--lint", "--template"]).contains("is a valid SAM Template"));
}

/// Names of metrics in the dashboard's queries, without the endings that the text format adds.
fn metrics_in(query: &str) -> BTreeSet<String> {
    let words = query.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    let named = words.filter_map(|word| word.strip_prefix("regrove_"));
    let plain =
        named.map(|name| ["_bucket", "_total"].iter().fold(name, |name, end| name.strip_suffix(end).unwrap_or(name)));
    set(plain)
}

#[test]
fn the_dashboard_asks_for_metrics_that_there_are() {
    let dashboard: Value = serde_json::from_str(&read(&root().join("k8s/grafana/regrove.json"))).unwrap();
    let sources = ["infra/host/src/metrics.rs", "infra/runtime/src/metrics.rs"].map(|file| read(&root().join(file)));
    let mut asked = 0;
    for panel in list(&dashboard, "/panels") {
        for target in list(panel, "/targets") {
            for metric in metrics_in(text(target, "/expr")) {
                let (source, name) = match metric.strip_prefix("runtime_") {
                    Some(name) => (&sources[1], name),
                    None => (&sources[0], metric.as_str()),
                };
                // A unit is the last word of the name, where the registry is told of it apart.
                let without_unit = name.strip_suffix("_seconds").unwrap_or(name);
                let known = [name, without_unit].iter().any(|name| source.contains(&format!("\"{name}\"")));
                assert!(known, "{}: no metric {metric}", text(panel, "/title"));
                asked += 1;
            }
        }
    }
    assert!(asked > 10, "only {asked} metrics");
}
