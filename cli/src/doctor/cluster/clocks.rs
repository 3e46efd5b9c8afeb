//! The nodes' clocks: each node renews its lease every ten seconds, and writes down when.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{items, text};
use crate::doctor::Finding;
use crate::doctor::here::SKEW_MAX;

/// For how long Kubernetes believes in a node that does not renew.
const LEASE: SignedDuration = SignedDuration::from_secs(40);

/// One finding per node whose lease tells of another time than `now`; one for all of them when none does.
pub(super) fn of_nodes(leases: &Value, now: Timestamp) -> Vec<Finding> {
    let leases = items(leases);
    let off: Vec<Finding> = leases.iter().filter_map(|lease| off(lease, now)).collect();
    if !off.is_empty() {
        return off;
    }
    if leases.is_empty() {
        return vec![Finding::doubt("clocks", "no node has a lease", "is this a cluster with nodes?")];
    }
    vec![Finding::well("clocks", format!("the leases of {} nodes are of now", leases.len()))]
}

fn off(lease: &Value, now: Timestamp) -> Option<Finding> {
    let what = format!("clock of node {}", text(lease, "/metadata/name"));
    let renewed: Timestamp = text(lease, "/spec/renewTime").parse().ok()?;
    let ahead = renewed.duration_since(now);
    let mend = "let all machines follow one time server (NTP): overdue shards are told by the clock";
    if ahead > SKEW_MAX {
        return Some(Finding::doubt(what, format!("it is {ahead:#} ahead of this one"), mend));
    }
    let behind = -ahead;
    (behind > LEASE).then(|| {
        let detail = format!("its lease is {behind:#} old: the node is down, or its clock is behind");
        Finding::doubt(what, detail, format!("kubectl describe node; if it is ready, {mend}"))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn a_node_ahead_or_behind_is_named() {
        let now = "2026-11-27T08:00:00Z".parse().unwrap();
        let lease = |name: &str, time: &str| json!({"metadata": {"name": name}, "spec": {"renewTime": time}});
        let of = |leases: &[Value]| of_nodes(&json!({"items": leases}), now);
        let good = lease("good", "2026-11-27T07:59:51.123456Z");
        let found = of(std::slice::from_ref(&good));
        assert_eq!((found.len(), found[0].verdict), (1, Verdict::Well));
        let found =
            of(&[good, lease("fast", "2026-11-27T08:02:00.000000Z"), lease("slow", "2026-11-27T07:58:00.000000Z")]);
        let said: Vec<_> = found.iter().map(|one| (one.what.as_str(), one.verdict, one.detail.as_str())).collect();
        assert_eq!(said[0], ("clock of node fast", Verdict::Doubt, "it is 2m ahead of this one"));
        assert_eq!((said[1].0, said[1].1), ("clock of node slow", Verdict::Doubt));
        assert!(said[1].2.starts_with("its lease is 2m old"), "{}", said[1].2);
        assert_eq!(of(&[])[0].verdict, Verdict::Doubt);
    }
}
