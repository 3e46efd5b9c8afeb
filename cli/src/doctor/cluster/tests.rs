use serde_json::json;

use super::*;
use crate::doctor::Verdict;

fn verdicts(findings: &[Finding]) -> Vec<(&str, Verdict)> {
    findings.iter().map(|finding| (finding.what.as_str(), finding.verdict)).collect()
}

fn object(kind: &str, name: &str, spec: &Value, status: &str) -> Value {
    json!({"kind": kind, "metadata": {"name": name}, "spec": spec,
        "status": {"conditions": [{"type": "Ready", "status": status, "reason": "Why", "message": "so"}]}})
}

fn trigger(subscriber: &str) -> Value {
    let spec = json!({"subscriber": {"ref": {"name": subscriber}}, "delivery": {"deadLetterSink": {}}});
    object("Trigger", subscriber, &spec, "True")
}

fn function(name: &str, image: &str) -> Value {
    object("Service", name, &json!({"template": {"spec": {"containers": [{"image": image}]}}}), "True")
}

#[test]
fn a_cluster_that_is_well_has_nothing_to_mend() {
    let all = json!({"items": [object("Broker", "default", &json!({}), "True"), trigger("aggregate"),
        function("aggregate", "registry.example/aggregate:1"), object("SinkBinding", "aggregate", &json!({}), "True")]});
    let findings = objects_of(&all);
    assert!(findings.iter().all(|finding| finding.verdict == Verdict::Well && finding.mend.is_none()), "{findings:?}");
    assert_eq!(findings.len(), 4);
}

#[test]
fn a_broker_that_is_not_ready_says_why() {
    let all = json!({"items": [object("Broker", "default", &json!({}), "False"), trigger("a"), function("a", "a:1"),
        object("SinkBinding", "a", &json!({}), "True")]});
    let findings = objects_of(&all);
    assert_eq!(findings[0].verdict, Verdict::Wrong);
    assert_eq!(findings[0].detail, "not ready: Why so");
}

#[test]
fn a_sink_binding_that_is_not_ready_says_why() {
    let all = json!({"items": [object("Broker", "default", &json!({}), "True"), trigger("a"), function("a", "a:1"),
        object("SinkBinding", "a", &json!({}), "False")]});
    let last = objects_of(&all).pop().unwrap();
    assert_eq!((last.what.as_str(), last.verdict), ("SinkBinding a", Verdict::Wrong));
    assert_eq!(last.detail, "not ready: Why so");
}

#[test]
fn a_trigger_without_its_subscriber_or_dead_letter_sink_is_found() {
    let mut lossy = trigger("a");
    lossy["spec"].as_object_mut().unwrap().remove("delivery");
    let all = json!({"items": [object("Broker", "b", &json!({}), "True"), trigger("gone"), lossy, function("a", "a:1"),
        object("SinkBinding", "a", &json!({}), "True")]});
    let findings = objects_of(&all);
    assert_eq!(findings[1].detail, "its subscriber `gone` does not exist");
    assert_eq!(findings[1].mend.as_deref(), Some("apply k8s/functions/gone.yaml"));
    assert_eq!(verdicts(&findings)[2..4], [("Trigger a", Verdict::Well), ("Trigger a", Verdict::Doubt)]);
}

#[test]
fn half_an_upgrade_is_found() {
    let all = [function("a", "r.example:5000/a:1"), function("b", "r.example:5000/b:2")];
    let found = mixed_versions(&all.iter().collect::<Vec<_>>()).unwrap();
    assert!(found.detail.ends_with("1, 2"), "{}", found.detail);
    let digest = "0123456789abcdef".repeat(4);
    let pinned = [function("a", &format!("r/a:1@sha256:{digest}")), function("b", &format!("r/b:2@sha256:{digest}"))];
    assert!(mixed_versions(&pinned.iter().collect::<Vec<_>>()).is_some(), "skaffold pins what it pushes");
    // Without a tag, or with skaffold's tag of a local build, an image says nothing of its version.
    for silent in [format!("r/a@sha256:{digest}"), format!("a:{digest}"), "r:5000/a".to_owned()] {
        let all = [function("a", &silent), function("b", "r/b:2")];
        assert_eq!(mixed_versions(&all.iter().collect::<Vec<_>>()), None, "{silent}");
    }
}

#[test]
fn an_empty_namespace_is_four_things_to_mend() {
    let wrong = ["Broker", "Trigger", "Service", "SinkBinding"].map(|kind| (kind, Verdict::Wrong));
    assert_eq!(verdicts(&objects_of(&json!({"items": []}))), wrong);
}

#[test]
fn a_domain_of_ones_own_is_well_when_it_is_asked_for() {
    let own = json!({"data": {"example.com": "", "_example": "…"}});
    assert_eq!(domain(&own, "example.com").verdict, Verdict::Well);
    assert_eq!(domain(&json!({"data": {"localhost": "", "_example": "…"}}), "localhost").verdict, Verdict::Well);
    let other = domain(&own, "localhost");
    let said = "it is example.com, and this command asks for localhost";
    assert_eq!((other.verdict, other.detail.as_str()), (Verdict::Doubt, said));
    assert_eq!(other.mend.as_deref(), Some("say --domain example.com, or REGROVE_DOMAIN=example.com"));
    let none = domain(&json!({"data": {"_example": "…"}}), "localhost");
    assert_eq!((none.verdict, none.detail.as_str()), (Verdict::Wrong, "none is set"));
    assert!(none.mend.unwrap().contains("'{\"data\":{\"localhost\":\"\"}}'"));
}

#[test]
fn a_missing_or_another_knative_is_found() {
    let namespace = |name: &str, version: &str| json!({"metadata": {"name": name, "labels": {"app.kubernetes.io/version": version}}});
    let both = json!({"items": [namespace("knative-serving", "1.22.3"), namespace("knative-eventing", "v1.19.0")]});
    let found = versions(&both);
    assert_eq!(verdicts(&found), [("knative-serving", Verdict::Well), ("knative-eventing", Verdict::Doubt)]);
    assert!(versions(&Value::Null).iter().all(|finding| finding.verdict == Verdict::Wrong));
    let script = include_str!("../../../../k8s/cluster/knative.sh");
    assert!(script.contains(&format!("knative-v{KNATIVE}.")), "{KNATIVE} is not what the script installs");
}

#[test]
fn a_secret_without_a_password_is_a_doubt() {
    assert_eq!(passwords(&json!({"data": {"REDIS_PASSWORD": "eA=="}})).verdict, Verdict::Well);
    assert_eq!(passwords(&Value::Null).verdict, Verdict::Doubt);
}
