//! What is in the cluster, as `kubectl` tells it.

mod clocks;
mod dead_letters;
mod kubernetes;
mod mlflow;
mod redis;

use jiff::Timestamp;
use serde_json::Value;

use super::Finding;
use crate::kubectl::KubectlArgs;

/// The release line that `k8s/cluster/knative.sh` installs; a test holds them together.
const KNATIVE: &str = "1.22";
/// What functions read their passwords from.
const SECRET: &str = "regrove-secrets";

/// Where functions learn the addresses of Redis and MLflow.
const CONFIG: &str = "regrove-config";
/// Why something may not be seen.
const NOT_SEEN: &str = "your user may not look at it, or it is not installed";

/// A cluster.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    /// What asks it.
    pub(crate) kubectl: KubectlArgs,
    /// Where the functions are.
    pub(crate) namespace: String,
    /// What the functions' host names are asked for under.
    pub(crate) domain: String,
}

impl Cluster {
    /// Looks at everything; nothing is changed.
    pub(crate) async fn examine(&self, now: impl Fn() -> Timestamp) -> Vec<Finding> {
        let mut findings = Vec::new();
        match self.get(&["namespace", "knative-serving", "knative-eventing", "--ignore-not-found"]).await {
            Ok(namespaces) => findings.extend(versions(&namespaces)),
            // Without an answer to the first question there is none to the others.
            Err(error) => {
                let mend = "install kubectl, start the cluster, or say --context";
                return vec![Finding::wrong("cluster", error, mend)];
            }
        }
        findings.push(match self.ask_json(&["version"]).await {
            Ok(answer) => kubernetes::of_server(&answer),
            Err(error) => Finding::doubt("Kubernetes", error, NOT_SEEN),
        });
        let config = ["configmap", "config-domain", "-n", "knative-serving"];
        findings.push(self.look("domain", &config, |config| domain(config, &self.domain)).await);
        let names = [
            "brokers.eventing.knative.dev",
            "triggers.eventing.knative.dev",
            "services.serving.knative.dev",
            "sinkbindings.sources.knative.dev",
        ];
        match self.get(&[&names.join(","), "-n", &self.namespace]).await {
            Ok(objects) => findings.extend(objects_of(&objects)),
            Err(error) => findings.push(Finding::wrong("Knative objects", error, "apply k8s/ (`skaffold run`)")),
        }
        let secret = ["secret", SECRET, "-n", &self.namespace, "--ignore-not-found"];
        findings.push(self.look("passwords", &secret, passwords).await);
        let set = ["statefulsets.apps", redis::NAME, "-n", &self.namespace, "--ignore-not-found"];
        findings.push(self.look("Redis", &set, redis::is_ready).await);
        findings.push(self.mlflow().await);
        let leases = ["leases.coordination.k8s.io", "-n", "kube-node-lease"];
        match self.get(&leases).await {
            Ok(leases) => findings.extend(clocks::of_nodes(&leases, now())),
            Err(error) => findings.push(Finding::doubt("clocks", error, NOT_SEEN)),
        }
        findings.push(self.dead_letters().await);
        findings
    }

    async fn look(&self, what: &str, arguments: &[&str], read: impl Fn(&Value) -> Finding) -> Finding {
        match self.get(arguments).await {
            Ok(object) => read(&object),
            Err(error) => Finding::wrong(what, error, NOT_SEEN),
        }
    }

    /// Whether MLflow answers to the name by which the functions call it.
    async fn mlflow(&self) -> Finding {
        let config = ["configmap", CONFIG, "-n", &self.namespace, "--ignore-not-found"];
        let servers = ["deployments.apps", "-n", &self.namespace];
        match (self.get(&config).await, self.get(&servers).await) {
            (Ok(config), Ok(servers)) => mlflow::answers_to_its_name(&config, &servers),
            (Err(error), _) | (_, Err(error)) => Finding::doubt("MLflow's host names", error, NOT_SEEN),
        }
    }

    /// What the aggregate has been told of as undeliverable, as its log says.
    async fn dead_letters(&self) -> Finding {
        let who = format!("app.kubernetes.io/name={}", dead_letters::HEARD_BY);
        let since = ["--since", dead_letters::SINCE, "--tail", "-1"];
        let arguments = ["logs", "-n", &self.namespace, "--selector", &who, "--container", dead_letters::HEARD_BY];
        match self.ask(&[&arguments[..], &since].concat()).await {
            Ok(log) => dead_letters::in_log(&String::from_utf8_lossy(&log)),
            Err(error) => Finding::doubt(dead_letters::WHAT, error, NOT_SEEN),
        }
    }

    async fn get(&self, arguments: &[&str]) -> Result<Value, String> {
        self.ask_json(&[&["get"], arguments].concat()).await
    }

    async fn ask_json(&self, arguments: &[&str]) -> Result<Value, String> {
        let answer = self.ask(&[arguments, &["--output", "json"]].concat()).await?;
        // `--ignore-not-found` says nothing at all.
        if answer.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer).map_err(|error| format!("kubectl did not answer with JSON: {error}"))
    }

    /// What kubectl prints, or why it failed.
    async fn ask(&self, arguments: &[&str]) -> Result<Vec<u8>, String> {
        let mut command = self.kubectl.command();
        command.args(arguments).args(["--request-timeout", "10s"]);
        let output = command.output().await.map_err(|error| format!("kubectl cannot be run: {error}"))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The objects of a list, or the one that stands alone.
fn items(list: &Value) -> Vec<&Value> {
    match list.get("items").and_then(Value::as_array) {
        Some(items) => items.iter().collect(),
        None if list.is_null() => Vec::new(),
        None => vec![list],
    }
}

/// Knative's versions, which its namespaces carry as a label.
fn versions(namespaces: &Value) -> Vec<Finding> {
    let installed = items(namespaces);
    let of = |name: &str| {
        let found = installed.iter().find(|namespace| text(namespace, "/metadata/name") == name);
        let Some(namespace) = found else {
            return Finding::wrong(name, "it is not installed", "k8s/cluster/knative.sh installs it");
        };
        let version = text(namespace, "/metadata/labels/app.kubernetes.io~1version").trim_start_matches('v');
        if version.starts_with(&format!("{KNATIVE}.")) {
            Finding::well(name, format!("version {version}"))
        } else {
            let detail = format!("version {version}, these manifests were made for {KNATIVE}");
            Finding::doubt(name, detail, "k8s/cluster/knative.sh installs the version that was tested")
        }
    };
    vec![of("knative-serving"), of("knative-eventing")]
}

/// Whether functions have the host names that they are asked for by.
fn domain(config: &Value, asked: &str) -> Finding {
    let what = "domain";
    let data = config.get("data").and_then(Value::as_object);
    // Keys that begin with an underscore are Knative's own documentation.
    let domains: Vec<&str> =
        data.into_iter().flatten().map(|(name, _)| name.as_str()).filter(|name| !name.starts_with('_')).collect();
    if domains.contains(&asked) {
        return Finding::well(what, asked);
    }
    if let Some(one) = domains.first() {
        // Right for a cluster that people reach by a name of their own.
        let detail = format!("it is {}, and this command asks for {asked}", domains.join(", "));
        return Finding::doubt(what, detail, format!("say --domain {one}, or REGROVE_DOMAIN={one}"));
    }
    let mend = format!(
        "kubectl -n knative-serving patch configmap config-domain --type merge --patch '{{\"data\":{{\"{asked}\":\"\"}}}}'"
    );
    Finding::wrong(what, "none is set", mend)
}

/// Brokers, triggers, functions and sink bindings, by what their conditions say.
fn objects_of(list: &Value) -> Vec<Finding> {
    let objects = items(list);
    let of = |kind: &str| objects.iter().filter(|object| object["kind"] == *kind).copied().collect::<Vec<_>>();
    let (brokers, triggers, services, bindings) = (of("Broker"), of("Trigger"), of("Service"), of("SinkBinding"));
    let mut findings = Vec::new();
    let kinds = [("Broker", &brokers), ("Trigger", &triggers), ("Service", &services), ("SinkBinding", &bindings)];
    for (kind, found) in kinds {
        if found.is_empty() {
            findings.push(Finding::wrong(kind, "there is none in this namespace", "apply k8s/ (`skaffold run`)"));
        }
    }
    let names: Vec<&str> = services.iter().map(|service| text(service, "/metadata/name")).collect();
    findings
        .extend(brokers.iter().map(|broker| ready(broker, "kubectl describe broker; then look at knative-eventing")));
    for trigger in &triggers {
        let mend = "kubectl describe trigger; its broker and its subscriber have to be ready first";
        let subscriber = text(trigger, "/spec/subscriber/ref/name");
        let name = format!("Trigger {}", text(trigger, "/metadata/name"));
        if !subscriber.is_empty() && !names.contains(&subscriber) {
            let detail = format!("its subscriber `{subscriber}` does not exist");
            findings.push(Finding::wrong(&*name, detail, format!("apply k8s/functions/{subscriber}.yaml")));
            continue;
        }
        findings.push(ready(trigger, mend));
        if trigger.pointer("/spec/delivery/deadLetterSink").is_none() {
            let detail = "what it cannot deliver is lost: it has no dead letter sink";
            findings.push(Finding::doubt(name, detail, "k8s/eventing/triggers.yaml has one for each trigger"));
        }
    }
    findings.extend(services.iter().map(|service| {
        ready(service, "kubectl describe ksvc and the log of its pods: a function that is not ready says what it lacks")
    }));
    findings.extend(bindings.iter().map(|binding| {
        ready(binding, "kubectl describe sinkbinding: without it its function ends, because it knows no broker")
    }));
    findings.extend(mixed_versions(&services));
    findings
}

/// What an object says of itself.
fn ready(object: &Value, mend: &str) -> Finding {
    let name = format!("{} {}", text(object, "/kind"), text(object, "/metadata/name"));
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let condition = conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready");
    match condition {
        Some(condition) if condition["status"] == "True" => Finding::well(name, "ready"),
        Some(condition) => {
            let detail = format!("not ready: {} {}", text(condition, "/reason"), text(condition, "/message"));
            Finding::wrong(name, detail.trim(), mend)
        }
        None => Finding::wrong(name, "nobody has looked at it yet", "is Knative running?"),
    }
}

/// The functions are released together: two tags at once are half an upgrade. Skaffold's own tags of local builds are the ids of
/// the images, of which each function has its own.
fn mixed_versions(services: &[&Value]) -> Option<Finding> {
    let tags: std::collections::BTreeSet<&str> = services
        .iter()
        .map(|service| text(service, "/spec/template/spec/containers/0/image"))
        .map(|image| image.split_once('@').map_or(image, |(tagged, _)| tagged))
        .filter_map(|image| image.rsplit('/').next()?.split_once(':'))
        .map(|(_, tag)| tag)
        .filter(|tag| !is_image_id(tag))
        .collect();
    (tags.len() > 1).then(|| {
        let detail =
            format!("the functions' images have different tags: {}", tags.into_iter().collect::<Vec<_>>().join(", "));
        Finding::doubt("versions", detail, "finish the upgrade: apply all functions of one release")
    })
}

fn is_image_id(tag: &str) -> bool {
    tag.len() == 64 && tag.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn passwords(secret: &Value) -> Finding {
    let what = format!("Secret {SECRET}");
    if secret.pointer("/data/REDIS_PASSWORD").is_some() {
        return Finding::well(what, "has a password for Redis");
    }
    let mend = "k8s/cluster/keep.sh makes it; a Redis without a password needs none";
    Finding::doubt(what, "has no REDIS_PASSWORD", mend)
}

#[cfg(test)]
mod tests;
