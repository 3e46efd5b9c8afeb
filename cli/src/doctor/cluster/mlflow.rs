//! MLflow refuses requests whose `Host` it does not know: the functions' name for it has to be one of those it does.

use serde_json::Value;
use url::Url;

use super::{CONFIG, items, text};
use crate::doctor::Finding;

const WHAT: &str = "MLflow's host names";
/// The server's own setting: names with `*` in them, compared with the whole `Host`, port included.
const SETTING: &str = "MLFLOW_SERVER_ALLOWED_HOSTS";
/// What the functions are told.
const ADDRESS: &str = "MLFLOW_TRACKING_URI";
const MEND: &str = "k8s/mlflow/values.yaml has the names that are needed: `skaffold run -m stores`";

/// Compares the address in the functions' settings with the names that the server in `deployments` answers to.
pub(super) fn answers_to_its_name(config: &Value, deployments: &Value) -> Finding {
    let address = text(config, &format!("/data/{ADDRESS}"));
    let Some(host) = Url::parse(address).ok().and_then(|url| host_header(&url)) else {
        let detail = format!("ConfigMap {CONFIG} has no usable {ADDRESS} (`{address}`)");
        return Finding::wrong(WHAT, detail, "apply k8s/ (`skaffold run`)");
    };
    let of_mlflow = |object: &&Value| is_service(text(object, "/metadata/name"), &host);
    let Some(server) = items(deployments).into_iter().find(of_mlflow) else {
        return Finding::well(WHAT, format!("`{host}` is not a server of this namespace: it is not looked at"));
    };
    let names = setting(server);
    if names.iter().any(|pattern| fits(pattern, &host)) {
        return Finding::well(WHAT, format!("it answers to `{host}`"));
    }
    let detail = match names.len() {
        0 => format!("the functions call it `{host}`, and {SETTING} is not set: it answers to localhost only"),
        _ => format!("the functions call it `{host}`, and {SETTING} is {}", names.join(",")),
    };
    Finding::wrong(WHAT, detail, MEND)
}

/// Whether a host is the name of a Service of the cluster: `NAME`, `NAME.NAMESPACE` or `NAME.NAMESPACE.svc…`.
fn is_service(name: &str, host: &str) -> bool {
    let mut labels = host.split(':').next().unwrap_or_default().split('.');
    labels.next() == Some(name) && labels.nth(1).is_none_or(|label| label == "svc")
}

/// As a client writes it: without the scheme's own port.
fn host_header(address: &Url) -> Option<String> {
    let host = address.host_str()?;
    Some(address.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

fn setting(server: &Value) -> Vec<String> {
    let containers = server.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    let variables = containers.into_iter().flatten().filter_map(|container| container["env"].as_array()).flatten();
    let found =
        variables.filter(|variable| variable["name"] == SETTING).find_map(|variable| variable["value"].as_str());
    found.map(|names| names.split(',').map(|name| name.trim().to_owned()).collect()).unwrap_or_default()
}

/// Whether a text fits a pattern in which `*` stands for anything.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == text };
    text.strip_prefix(before)
        .is_some_and(|rest| (0..=rest.len()).any(|at| rest.get(at..).is_some_and(|rest| fits(after, rest))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::Verdict;

    fn found(address: &str, allowed: Option<&str>) -> Finding {
        let variables: Vec<Value> = allowed.iter().map(|value| json!({"name": SETTING, "value": value})).collect();
        let deployment = json!({"metadata": {"name": "mlflow"},
            "spec": {"template": {"spec": {"containers": [{"name": "mlflow", "env": variables}]}}}});
        answers_to_its_name(&json!({"data": {ADDRESS: address}}), &json!({"items": [deployment]}))
    }

    #[test]
    fn a_name_that_the_server_refuses_is_found() {
        let address = "http://mlflow.regrove.svc.cluster.local";
        assert_eq!(found(address, Some("localhost,mlflow.regrove.svc.cluster.local")).verdict, Verdict::Well);
        assert_eq!(found("http://mlflow.regrove:5000", Some("mlflow.*:*")).verdict, Verdict::Well);
        let refused = found("http://mlflow.regrove:5000", Some("mlflow.regrove"));
        assert_eq!(refused.verdict, Verdict::Wrong, "the port is part of what is compared");
        assert!(refused.detail.contains("`mlflow.regrove:5000`"), "{}", refused.detail);
        let unset = found(address, None);
        assert_eq!(unset.verdict, Verdict::Wrong);
        assert!(unset.detail.ends_with("localhost only"), "{}", unset.detail);
        assert_eq!(found("https://mlflow.example.com", None).verdict, Verdict::Well, "another server");
        assert_eq!(found("", None).verdict, Verdict::Wrong);
    }

    /// What the chart is given fits what the functions are given.
    #[test]
    fn our_own_manifests_agree() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let read = |path: &str| std::fs::read_to_string(format!("{root}/{path}")).unwrap();
        let values: Value = serde_saphyr::from_str(&read("k8s/mlflow/values.yaml")).unwrap();
        let kustomization = read("k8s/functions/kustomization.yaml");
        let address = kustomization.split_once("MLFLOW_TRACKING_URI=").unwrap().1.lines().next().unwrap();
        assert_eq!(found(address, values["extraEnvVars"][SETTING].as_str()).verdict, Verdict::Well);
    }
}
