//! From destinations by name to those that can be sent to, and what differs between two sets of manifests.

use std::collections::BTreeSet;
use std::sync::Arc;

use regrove_knative::autoscaler::AutoscalerDefaults;
use regrove_knative::manifest::{Application, Metadata, PingSource, Settings};

use crate::broker::eventing::{Ping, Wanted};
use crate::broker::{Replies, Target, TargetSpec, TriggerSpec};
use crate::error::{Error, Fault};
use crate::plan::{PlannedReplies, PlannedTrigger, object};
use crate::serving::gateway::Gateway;
use crate::status::TriggerStatus;

/// Objects other than Services that differ.
pub(crate) fn changed_objects(before: &Application, after: &Application) -> Vec<String> {
    fn differing<T: PartialEq>(
        kind: &str,
        before: &[T],
        after: &[T],
        metadata: impl Fn(&T) -> &Metadata,
        into: &mut Vec<String>,
    ) {
        let missing_in = |others: &[T], one: &T| !others.contains(one);
        let changed = after.iter().filter(|one| missing_in(before, one));
        let gone = before.iter().filter(|one| missing_in(after, one));
        let names: BTreeSet<String> = changed.chain(gone).map(|one| object(kind, metadata(one))).collect();
        into.extend(names);
    }
    let mut objects = Vec::new();
    let out = &mut objects;
    differing("Broker", &before.brokers, &after.brokers, |it| &it.metadata, out);
    differing("Trigger", &before.triggers, &after.triggers, |it| &it.metadata, out);
    differing("Sequence", &before.sequences, &after.sequences, |it| &it.metadata, out);
    differing("Parallel", &before.parallels, &after.parallels, |it| &it.metadata, out);
    differing("PingSource", &before.ping_sources, &after.ping_sources, |it| &it.metadata, out);
    differing("SinkBinding", &before.sink_bindings, &after.sink_bindings, |it| &it.metadata, out);
    objects.extend(changed_settings(&before.settings, &after.settings));
    objects
}

/// The `ConfigMap`s of Knative's own that differ in what they set.
fn changed_settings(before: &Settings, after: &Settings) -> Vec<String> {
    let but_deadline = |settings: &Settings| AutoscalerDefaults {
        progress_deadline: std::time::Duration::ZERO,
        ..settings.autoscaler.clone()
    };
    let deadlines = (before.autoscaler.progress_deadline, after.autoscaler.progress_deadline);
    let changed = [
        ("config-autoscaler", but_deadline(before) != but_deadline(after)),
        ("config-deployment", deadlines.0 != deadlines.1),
        ("config-defaults", before.serving != after.serving),
        ("config-features", before.delivery != after.delivery),
    ];
    changed.iter().filter(|(_, changed)| *changed).map(|(name, _)| format!("ConfigMap {name}")).collect()
}

/// Looks up all destinations; all faults at once.
pub(crate) fn resolve_all(
    gateway: &Gateway,
    brokers: BTreeSet<(String, String)>,
    triggers: &[PlannedTrigger],
    unready: Vec<TriggerStatus>,
    pings: Vec<(PingSource, TargetSpec)>,
) -> Result<Wanted, Error> {
    let mut faults = Vec::new();
    let mut wanted = Wanted { brokers, triggers: Vec::new(), unready, pings: Vec::new() };
    for trigger in triggers {
        match resolve_trigger(gateway, trigger) {
            Ok(spec) => wanted.triggers.push(spec),
            Err(fault) => faults.push(fault),
        }
    }
    for (source, planned) in pings {
        match resolve(gateway, &planned) {
            Ok(target) => wanted.pings.push(Ping { source, planned, target }),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(wanted) } else { Err(Error::Faults(faults)) }
}

fn resolve_trigger(gateway: &Gateway, trigger: &PlannedTrigger) -> Result<TriggerSpec, Fault> {
    Ok(TriggerSpec {
        key: Arc::clone(&trigger.key),
        namespace: trigger.namespace.clone(),
        broker: trigger.broker.clone(),
        filter: trigger.filter.clone(),
        subscriber: resolve(gateway, &trigger.subscriber)?,
        policy: trigger.policy.clone(),
        dead_letter_sink: trigger.dead_letter_sink.as_ref().map(|sink| resolve(gateway, sink)).transpose()?,
        ordered: trigger.ordered,
        replies: match &trigger.replies {
            PlannedReplies::Stored(name) => Replies::Stored(name.clone()),
            PlannedReplies::Sent(target) => Replies::Sent(resolve(gateway, target)?),
            PlannedReplies::Dropped => Replies::Dropped,
        },
    })
}

/// Looks up what a destination names. Planning has checked that it exists.
fn resolve(gateway: &Gateway, target: &TargetSpec) -> Result<Target, Fault> {
    Ok(match target {
        TargetSpec::Service { namespace, name, path } => {
            let missing = || Fault {
                object: format!("Service {namespace}/{name}"),
                reason: "it is not in the manifests".to_owned(),
            };
            let route = gateway.route(namespace, name).ok_or_else(missing)?;
            Target::Service { route, path: path.clone() }
        }
        TargetSpec::Broker { namespace, name } => Target::Broker { namespace: namespace.clone(), name: name.clone() },
        TargetSpec::Http(uri) => Target::Http(uri.clone()),
    })
}
