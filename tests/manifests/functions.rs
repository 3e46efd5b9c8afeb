//! The functions: images, confinement, stores, homes, and who may talk to whom.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use regrove_knative::manifest::{Application, Source};
use serde_json::{Value, json};

use super::{
    EMITTERS, complaints, documents, functions, keys, knative, kustomized, list, objects, of_kind, read, root, set,
    text,
};

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

/// A function that answers only at its end is not to be cut off because nothing has come yet.
#[test]
fn no_function_has_to_begin_its_answer_before_its_own_timeout() {
    let text = read(&root().join("k8s/functions/train-shard.yaml"));
    let start = |text: &str| {
        let application = Application::parse(&[Source { name: "train-shard", text }]).unwrap();
        application.services[0].template.response_start_timeout
    };
    assert_eq!(start(&text), None);
    let without = text.replace("      responseStartTimeoutSeconds: 600\n", "");
    assert_eq!(start(&without).map(|timeout| timeout.as_secs()), Some(300), "Knative's default");
    for name in functions().into_keys() {
        assert_eq!(start(&read(&root().join(format!("k8s/functions/{name}.yaml")))), None, "{name}");
    }
}

/// A cluster has room for what pods ask for, not for what they use.
#[test]
fn the_guide_adds_up_what_the_functions_ask_for() {
    let of = |service: &Value| -> u32 {
        let cpu = text(service, "/spec/template/spec/containers/0/resources/requests/cpu");
        cpu.strip_suffix('m').unwrap().parse().unwrap()
    };
    let asked: u32 = functions().values().map(of).sum();
    let guide = read(&root().join("docs/operations.md")).split_whitespace().collect::<Vec<_>>().join(" ");
    let with_proxies = asked + 25 * u32::try_from(functions().len()).unwrap();
    assert!(guide.contains(&format!("functions ask for {asked}m, and")), "{asked}m");
    assert!(guide.contains(&format!("for 25m: {with_proxies}m, since")), "{with_proxies}m");
    let always: u32 = ["aggregate", "load-model", "console"].iter().map(|name| of(&functions()[*name]) + 25).sum();
    assert!(guide.contains(&format!("Together they ask for {always}m")), "{always}m");
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
        let literal = |name: &str| {
            let variable = list(container, "/env").iter().find(|variable| variable["name"] == *name);
            variable.map(|variable| text(variable, "/value").to_owned())
        };
        let home = literal("REGROVE_HOME");
        let reads_data_sets = ["aggregate", "predict"].contains(&name.as_str());
        assert_eq!(home.is_some(), reads_data_sets, "{name}");
        if let Some(home) = home {
            let mount = &container["volumeMounts"][0];
            assert_eq!(mount["mountPath"], home, "{name}");
            assert_eq!(mount["name"], pod["volumes"][0]["name"], "{name}");
            // The data set and its frame.
            let limit = text(&pod["volumes"][0], "/emptyDir/sizeLimit").strip_suffix("Gi").unwrap();
            let largest: u64 = literal("REGROVE_DATA_BYTES_MAX").unwrap().parse().unwrap();
            assert!(2 * largest <= limit.parse::<u64>().unwrap() << 30, "{name}: {limit} GiB");
        }
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
