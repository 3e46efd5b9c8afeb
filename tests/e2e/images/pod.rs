//! What the manifests of a cluster say of a function's container, as options of `docker run`.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use regrove_knative::manifest::{Application, Source};
use regrove_test_support::programs::{platform_program, workspace};
use serde_json::{Value, json};

use super::FUNCTIONS;
use crate::operations::run;

/// One function's container.
pub(super) struct Pod {
    pub(super) name: String,
    /// Names of variables, and the values that stand in the manifest.
    pub(super) environment: BTreeMap<String, Option<String>>,
    /// Options of `docker run`.
    pub(super) confinement: Vec<String>,
    /// Path of the readiness probe.
    pub(super) probe: String,
}

/// The functions of `k8s/`, as kustomize renders them for a cluster.
pub(super) fn all() -> Vec<Pod> {
    let kubectl = platform_program("kubectl").unwrap();
    let rendered = run(Command::new(kubectl).arg("kustomize").arg(workspace().join("k8s")));
    let objects: Vec<Value> = serde_saphyr::from_multiple(&rendered).unwrap();
    let sinks: Vec<&str> = objects
        .iter()
        .filter(|object| object["kind"] == "SinkBinding")
        .map(|binding| binding["spec"]["subject"]["name"].as_str().unwrap())
        .collect();
    let services =
        objects.iter().filter(|object| object["kind"] == "Service" && object["apiVersion"] == "serving.knative.dev/v1");
    let mut pods: Vec<Pod> = services.map(|service| Pod::read(service, &sinks)).collect();
    pods.sort_by_key(|pod| FUNCTIONS.iter().position(|name| *name == pod.name));
    assert_eq!(pods.iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>(), FUNCTIONS);
    pods
}

impl Pod {
    fn read(service: &Value, sinks: &[&str]) -> Self {
        let name = service["metadata"]["name"].as_str().unwrap().to_owned();
        let spec = &service["spec"]["template"]["spec"];
        let container = &spec["containers"][0];
        let mut environment: BTreeMap<String, Option<String>> = container["env"]
            .as_array()
            .unwrap()
            .iter()
            .map(|variable| {
                (variable["name"].as_str().unwrap().to_owned(), variable["value"].as_str().map(str::to_owned))
            })
            .collect();
        if sinks.contains(&name.as_str()) {
            environment.insert("K_SINK".to_owned(), None);
        }
        if container["volumeMounts"].is_array() {
            environment.insert(super::ALLOW.to_owned(), None);
        }
        let probe = container["readinessProbe"]["httpGet"]["path"].as_str().unwrap().to_owned();
        Self { environment, confinement: confinement(spec, container), probe, name }
    }
}

fn confinement(spec: &Value, container: &Value) -> Vec<String> {
    let security = &container["securityContext"];
    let memory = container["resources"]["limits"]["memory"].as_str().unwrap().replace('i', "").to_lowercase();
    let mut options = vec![
        format!("--memory={memory}"),
        format!("--user={}:{}", security["runAsUser"], security["runAsGroup"]),
        format!("--read-only={}", security["readOnlyRootFilesystem"]),
        format!("--security-opt=no-new-privileges={}", security["allowPrivilegeEscalation"] == false),
    ];
    let dropped = security["capabilities"]["drop"].as_array().unwrap().iter();
    options.extend(dropped.map(|capability| format!("--cap-drop={}", capability.as_str().unwrap())));
    for mount in container["volumeMounts"].as_array().into_iter().flatten() {
        let named = |volume: &&Value| volume["name"] == mount["name"];
        let volume = spec["volumes"].as_array().unwrap().iter().find(named).unwrap();
        assert!(volume["emptyDir"].is_object(), "{volume}");
        // Empty and everybody's, as the kubelet makes it.
        options.push(format!("--tmpfs={}:mode=0777", mount["mountPath"].as_str().unwrap()));
    }
    options
}

/// The triggers of `k8s/` with the containers' addresses in the place of the Services'.
pub(super) fn triggers_to(ports: &BTreeMap<&str, u16>) -> String {
    let read = |name: &str| fs::read_to_string(workspace().join("k8s/eventing").join(name)).unwrap();
    let mut documents: Vec<Value> = serde_saphyr::from_multiple(&read("broker.yaml")).unwrap();
    documents.extend(serde_saphyr::from_multiple::<Value>(&read("triggers.yaml")).unwrap());
    let address = |destination: &mut Value| {
        let port = ports[destination["ref"]["name"].as_str().unwrap()];
        let path = destination["uri"].as_str().unwrap_or("/");
        *destination = json!({"uri": format!("http://127.0.0.1:{port}{path}")});
    };
    for document in &mut documents {
        document["metadata"]["namespace"] = "default".into();
        if document["kind"] == "Trigger" {
            address(&mut document["spec"]["subscriber"]);
            address(&mut document["spec"]["delivery"]["deadLetterSink"]);
        }
    }
    let text = documents.iter().map(Value::to_string).collect::<Vec<_>>().join("\n---\n");
    let application = Application::parse(&[Source { name: "test", text: &text }]).unwrap();
    assert_eq!(application.triggers.len(), 5);
    text
}
