//! Redis, without which no function is ready.

use serde_json::Value;

use super::text;
use crate::doctor::Finding;

/// What `k8s/redis` calls it.
pub(super) const NAME: &str = "redis";

/// Whether its replica is ready; nothing at all where Redis is somewhere else.
pub(super) fn is_ready(set: &Value) -> Finding {
    let what = format!("StatefulSet {NAME}");
    if set.is_null() {
        let mend = "`skaffold run -m stores` makes it; a Redis of your own needs none";
        return Finding::doubt(what, "there is none in this namespace", mend);
    }
    let count = |pointer: &str| set.pointer(pointer).and_then(Value::as_u64);
    // Kubernetes leaves out what is zero in the status, and what is one in the specification.
    let (ready, wanted) = (count("/status/readyReplicas").unwrap_or(0), count("/spec/replicas").unwrap_or(1));
    if wanted > 0 && ready >= wanted {
        return Finding::well(what, format!("{ready} of {wanted} replicas ready"));
    }
    let namespace = text(set, "/metadata/namespace");
    let mend = if wanted == 0 {
        format!("kubectl -n {namespace} scale statefulset {NAME} --replicas 1")
    } else {
        format!(
            "kubectl -n {namespace} describe pod {NAME}-0, and its log: its claim, or its password in Secret redis-auth"
        )
    };
    Finding::wrong(what, format!("{ready} of {wanted} replicas ready"), mend)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn a_redis_that_is_not_ready_is_wrong() {
        let set = |spec: &Value, status: &Value| {
            is_ready(&json!({"metadata": {"name": "redis", "namespace": "grove"}, "spec": spec, "status": status}))
        };
        assert_eq!(set(&json!({"replicas": 1}), &json!({"readyReplicas": 1})).verdict, Verdict::Well);
        let down = set(&json!({"replicas": 1}), &json!({}));
        assert_eq!((down.verdict, down.detail.as_str()), (Verdict::Wrong, "0 of 1 replicas ready"));
        assert!(down.mend.unwrap().starts_with("kubectl -n grove describe pod redis-0"));
        let scaled = set(&json!({"replicas": 0}), &json!({}));
        assert_eq!(scaled.mend.as_deref(), Some("kubectl -n grove scale statefulset redis --replicas 1"));
        assert_eq!(is_ready(&Value::Null).verdict, Verdict::Doubt);
    }
}
