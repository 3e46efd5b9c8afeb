//! What `skaffold` builds, deploys, deletes and forwards.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    OVERLAYS, complaints, documents, functions, kept, kustomized, list, read, root, schema, set, text, yaml_files,
};

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

#[test]
fn skaffold_deploys_every_kustomization() {
    let modules = documents(&root().join("skaffold.yaml"));
    let paths =
        |config: &Value| set(list(config, "/manifests/kustomize/paths").iter().map(|path| path.as_str().unwrap()));
    let deployed: BTreeSet<String> = modules.iter().flat_map(&paths).collect();
    let folders = yaml_files("k8s").into_iter().filter(|file| file.ends_with("kustomization.yaml"));
    let folders = folders.map(|file| file.parent().unwrap().to_str().unwrap().to_owned());
    // The local runtime reads two of them at once.
    assert_eq!(deployed, set(folders.filter(|folder| folder != "k8s")));
    let eventing = modules.iter().find(|module| text(module, "/metadata/name") == "eventing").unwrap();
    for (folder, class) in OVERLAYS {
        let profile = list(eventing, "/profiles").iter().find(|profile| folder.ends_with(text(profile, "/name")));
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
        let profile = list(eventing, "/profiles").iter().find(|found| text(found, "/name") == profile).unwrap();
        let mut patched: Vec<(&str, &str)> = Vec::new();
        for patch in list(profile, "/patches") {
            let (list, member) = text(patch, "/path").rsplit_once('/').unwrap();
            assert_eq!(eventing.pointer(list).unwrap()["localPort"], 8081, "{list}");
            patched.push((member, text(patch, "/value")));
        }
        patched.sort_unstable();
        assert_eq!(patched, ingress);
    }
}

/// A function that is made before its `SinkBinding` is told no broker, and ends.
#[test]
fn functions_are_made_when_the_broker_is_there() {
    let modules = documents(&root().join("skaffold.yaml"));
    let names: Vec<&str> = modules.iter().map(|module| text(module, "/metadata/name")).collect();
    assert_eq!(names, ["knative", "stores", "eventing", "functions"]);
    for (module, before) in modules.iter().skip(1).zip(&names) {
        assert_eq!(module["requires"], json!([{"configs": [before]}]));
    }
    let kinds = |folder: &str| set(kustomized(folder).iter().map(|object| text(object, "/kind")));
    assert_eq!(kinds("k8s/eventing"), set(["Broker", "PingSource", "SinkBinding", "Trigger"]));
    assert_eq!(kinds("k8s/functions"), set(["ConfigMap", "Service"]));
    let hooks = list(&modules[3], "/deploy/kubectl/hooks/before");
    assert_eq!(hooks, [json!({"host": {"command": ["bash", "k8s/cluster/bound.sh"]}})]);
    // By hand in the same order.
    let readme = read(&root().join("k8s/README.md"));
    let by_hand = readme.split("```sh\n").nth(1).unwrap();
    let steps =
        ["knative.sh", "keep.sh", "k8s/guards", "k8s/redis", "helm ", "k8s/eventing", "bound.sh", "k8s/functions"];
    let places: Vec<usize> = steps.iter().map(|step| by_hand.find(step).unwrap()).collect();
    assert!(places.is_sorted(), "{by_hand}");
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

/// Programs that are to be small and fast take half an hour of a processor to make.
#[test]
fn a_change_is_not_built_as_what_is_shipped() {
    assert!(read(&root().join("Dockerfile")).contains("ARG PROFILE=dist\n"));
    let modules = documents(&root().join("skaffold.yaml"));
    let functions = modules.iter().find(|module| text(module, "/metadata/name") == "functions").unwrap();
    let dev = list(functions, "/profiles").iter().find(|profile| text(profile, "/name") == "dev").unwrap();
    assert_eq!(dev["activation"], json!([{"command": "dev"}]));
    let patched: Vec<&str> = list(dev, "/patches").iter().map(|patch| text(patch, "/path")).collect();
    let wanted: Vec<String> = (0..list(functions, "/build/artifacts").len())
        .map(|place| format!("/build/artifacts/{place}/docker/buildArgs/PROFILE"))
        .collect();
    assert_eq!(patched, wanted);
    assert!(list(dev, "/patches").iter().all(|patch| patch["value"] == "release"));
}

/// Whoever installs reads which ports are theirs.
#[test]
fn the_guide_names_every_forwarded_port() {
    let guide = read(&root().join("docs/operations.md"));
    let (install, _) = guide.split_once("\n## Upgrade").unwrap();
    for forward in documents(&root().join("skaffold.yaml")).iter().flat_map(|module| list(module, "/portForward")) {
        assert!(install.contains(&forward["localPort"].to_string()), "{forward}");
    }
    // `run` forwards nothing unless it is told to.
    assert!(install.contains("skaffold run --port-forward --tail"));
}
