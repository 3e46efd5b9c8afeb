//! Kubernetes itself: Knative's controllers end at once on a release that is too old for them.

use serde_json::Value;

use super::{KNATIVE, text};
use crate::doctor::Finding;

/// What Knative's release line refuses to run below; a test holds the guide to it. It is in `version/version.go` of
/// `knative.dev/pkg`, as of the release.
const OLDEST: (u32, u32) = (1, 34);

/// Whether the server is new enough, by what `kubectl version` says.
pub(super) fn of_server(answer: &Value) -> Finding {
    let what = "Kubernetes";
    let version = text(answer, "/serverVersion/gitVersion").trim_start_matches('v');
    let (major, minor) = OLDEST;
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(its_major), Some(its_minor)) if (its_major, its_minor) >= OLDEST => {
            Finding::well(what, format!("version {version}"))
        }
        (Some(_), Some(_)) => {
            let detail = format!("version {version}, Knative {KNATIVE} needs {major}.{minor} or newer");
            Finding::wrong(what, detail, format!("upgrade it; minikube start --kubernetes-version v{major}.{minor}.0"))
        }
        _ => Finding::doubt(what, "the server does not say its version", "kubectl version"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn a_server_that_is_too_old_for_knative_is_wrong() {
        let of = |version: &str| of_server(&json!({"clientVersion": {}, "serverVersion": {"gitVersion": version}}));
        for well in ["v1.34.0", "v1.37.1-gke.100", "v2.0.0", "v1.34.3+k3s1"] {
            assert_eq!(of(well).verdict, Verdict::Well, "{well}");
        }
        let old = of("v1.33.9");
        assert_eq!(
            (old.verdict, old.detail.as_str()),
            (Verdict::Wrong, "version 1.33.9, Knative 1.22 needs 1.34 or newer")
        );
        assert_eq!(of_server(&json!({"clientVersion": {}})).verdict, Verdict::Doubt);
    }

    #[test]
    fn the_guide_names_the_same_release() {
        let guide = include_str!("../../../../docs/operations.md");
        let (major, minor) = OLDEST;
        assert!(guide.contains(&format!("A cluster with Kubernetes {major}.{minor} or newer")));
        assert!(guide.contains(&format!("minikube start --kubernetes-version v{major}.{minor}.")));
    }
}
