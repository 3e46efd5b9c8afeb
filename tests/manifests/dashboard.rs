//! The dashboard asks for metrics that there are.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{list, read, root, set, text};

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
