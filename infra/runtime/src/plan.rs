//! From manifests to what is run: commands, environments, destinations. All faults at once.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use regrove_knative::delivery::DeliveryPolicy;
use regrove_knative::filter::Filter;
use regrove_knative::manifest::{Application, BROKER_CLASS, Metadata, PingSource, Trigger, TriggerFilter};

use crate::RuntimeConfig;
use crate::broker::TargetSpec;
use crate::broker::flows::{self, ReplyTo};
use crate::error::{Error, Fault};
use crate::history::History;
use crate::plan_services::PlannedService;
use crate::status::TriggerStatus;

/// Where the runtime itself listens, as functions have to know it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    pub(crate) ingress: SocketAddr,
    pub(crate) record: Option<SocketAddr>,
}

/// A trigger before its destinations are looked up.
#[derive(Debug)]
pub(crate) struct PlannedTrigger {
    pub(crate) key: Arc<str>,
    pub(crate) namespace: String,
    pub(crate) broker: String,
    pub(crate) filter: Filter,
    pub(crate) subscriber: TargetSpec,
    pub(crate) policy: DeliveryPolicy,
    pub(crate) dead_letter_sink: Option<TargetSpec>,
    pub(crate) ordered: bool,
    pub(crate) replies: PlannedReplies,
}

/// Where a subscriber's replies go.
#[derive(Debug)]
pub(crate) enum PlannedReplies {
    /// Into this broker or channel of the trigger's namespace.
    Stored(String),
    /// To this destination, as part of the delivery.
    Sent(TargetSpec),
    /// Nowhere.
    Dropped,
}

/// What is run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) services: Vec<PlannedService>,
    pub(crate) brokers: BTreeSet<(String, String)>,
    pub(crate) triggers: Vec<PlannedTrigger>,
    /// Triggers that get no events, and why.
    pub(crate) unready: Vec<TriggerStatus>,
    pub(crate) pings: Vec<(PingSource, TargetSpec)>,
    pub(crate) warnings: Vec<String>,
}

impl Plan {
    pub(crate) fn make(config: &RuntimeConfig, bound: Bound, history: &History) -> Result<Self, Error> {
        let application = &config.application;
        let mut planner = Planner { config, application, bound, faults: Vec::new(), warnings: Vec::new() };
        let mut services = Vec::new();
        for service in &application.services {
            let lineage = history.read(&service.metadata.namespace, &service.metadata.name)?;
            services.extend(planner.service(service, &lineage));
        }
        let brokers = planner.brokers();
        let mut triggers = planner.triggers();
        triggers.extend(planner.flows());
        let pings = planner.pings();
        planner.warn();
        if planner.faults.is_empty() {
            Ok(Self { services, brokers, triggers, unready: unready(application), pings, warnings: planner.warnings })
        } else {
            Err(Error::Faults(planner.faults))
        }
    }
}

pub(crate) struct Planner<'a> {
    pub(crate) config: &'a RuntimeConfig,
    pub(crate) application: &'a Application,
    pub(crate) bound: Bound,
    pub(crate) faults: Vec<Fault>,
    pub(crate) warnings: Vec<String>,
}

pub(crate) fn object(kind: &str, metadata: &Metadata) -> String {
    format!("{kind} {}/{}", metadata.namespace, metadata.name)
}

impl Planner<'_> {
    pub(crate) fn fault(&mut self, kind: &str, metadata: &Metadata, reason: impl Into<String>) {
        self.faults.push(Fault { object: object(kind, metadata), reason: reason.into() });
    }

    /// URL at which a process on this machine reaches a destination.
    pub(crate) fn url(&self, target: &TargetSpec) -> String {
        match target {
            TargetSpec::Broker { namespace, name } => format!("http://{}/{namespace}/{name}", self.bound.ingress),
            TargetSpec::Service { namespace, name, path } => {
                let port = self.config.gateway.port();
                format!("http://{name}.{namespace}.{}:{port}{path}", self.config.domain)
            }
            TargetSpec::Http(uri) => uri.to_string(),
        }
    }

    fn triggers(&mut self) -> Vec<PlannedTrigger> {
        let application = self.application;
        let mut planned = Vec::new();
        for trigger in &application.triggers {
            let metadata = &trigger.metadata;
            // A trigger without a broker is never ready; parsing has warned about it.
            let Some(broker) = application.broker_of(trigger) else {
                continue;
            };
            let policy = trigger.delivery_policy(broker);
            let subscriber = self.target("Trigger", metadata, "spec.subscriber", &trigger.subscriber);
            let sink = policy.dead_letter_sink.clone();
            let sink = sink.map(|sink| self.target("Trigger", metadata, "deadLetterSink", &sink));
            let filter = Filter::compile(&trigger.filter);
            if let Err(error) = &filter {
                self.fault("Trigger", metadata, format!("spec.filters: {error}"));
            }
            if let (Ok(filter), Some(subscriber)) = (filter, subscriber) {
                planned.push(PlannedTrigger {
                    key: Arc::from(format!("{}/{}", metadata.namespace, metadata.name)),
                    namespace: metadata.namespace.clone(),
                    broker: trigger.broker.clone(),
                    filter,
                    subscriber,
                    policy,
                    dead_letter_sink: sink.flatten(),
                    ordered: trigger.is_ordered(),
                    replies: PlannedReplies::Stored(trigger.broker.clone()),
                });
            }
        }
        planned
    }

    /// The brokers, and the channels of sequences and parallels.
    fn brokers(&mut self) -> BTreeSet<(String, String)> {
        let application = self.application;
        let key = |metadata: &Metadata, name: &str| (metadata.namespace.clone(), name.to_owned());
        let mut brokers: BTreeSet<_> =
            application.brokers.iter().map(|broker| key(&broker.metadata, &broker.metadata.name)).collect();
        for flow in flows::subscriptions(application) {
            if application.brokers.iter().any(|broker| is(&broker.metadata, &flow.metadata.namespace, &flow.channel)) {
                let reason = format!("its channel `{}` has the name of a Broker; rename one of them", flow.channel);
                self.fault(flow.kind, flow.metadata, reason);
            }
            brokers.insert(key(flow.metadata, &flow.channel));
        }
        brokers
    }

    fn flows(&mut self) -> Vec<PlannedTrigger> {
        let mut planned = Vec::new();
        for flow in flows::subscriptions(self.application) {
            let metadata = flow.metadata;
            let policy = flow.delivery.map_or_else(DeliveryPolicy::once, DeliveryPolicy::from);
            let subscriber = self.target(flow.kind, metadata, &flow.field, flow.subscriber);
            let sink = policy.dead_letter_sink.clone();
            let sink = sink.and_then(|sink| self.target(flow.kind, metadata, "deadLetterSink", &sink));
            let replies = match &flow.replies {
                None => Some(PlannedReplies::Dropped),
                Some(ReplyTo::Channel(channel)) => Some(PlannedReplies::Stored(channel.clone())),
                Some(ReplyTo::Destination(reply, field)) => {
                    self.target(flow.kind, metadata, field, reply).map(PlannedReplies::Sent)
                }
            };
            // Without a filter there is nothing that could not be understood.
            let filter = Filter::compile(&TriggerFilter::default());
            if let (Ok(filter), Some(subscriber), Some(replies)) = (filter, subscriber, replies) {
                planned.push(PlannedTrigger {
                    key: Arc::from(format!("{}/{}", metadata.namespace, flow.name)),
                    namespace: metadata.namespace.clone(),
                    broker: flow.channel,
                    filter,
                    subscriber,
                    policy,
                    dead_letter_sink: sink,
                    ordered: false,
                    replies,
                });
            }
        }
        planned
    }

    fn pings(&mut self) -> Vec<(PingSource, TargetSpec)> {
        let application = self.application;
        let mut planned = Vec::new();
        for source in &application.ping_sources {
            if let Some(target) = self.target("PingSource", &source.metadata, "spec.sink", &source.sink) {
                planned.push((source.clone(), target));
            }
        }
        planned
    }

    /// A destination that exists.
    fn target(
        &mut self,
        kind: &str,
        metadata: &Metadata,
        field: &str,
        destination: &regrove_knative::manifest::Destination,
    ) -> Option<TargetSpec> {
        let target = match TargetSpec::of(destination, &metadata.namespace, &self.config.domain) {
            Ok(target) => target,
            Err(reason) => {
                self.fault(kind, metadata, format!("{field}: {reason}"));
                return None;
            }
        };
        let missing = match &target {
            TargetSpec::Service { namespace, name, .. } => {
                let found = self.application.services.iter().any(|service| is(&service.metadata, namespace, name));
                (!found).then(|| format!("there is no Service {namespace}/{name} in the manifests"))
            }
            TargetSpec::Broker { namespace, name } => {
                let channels = flows::subscriptions(self.application);
                let found = self.application.brokers.iter().any(|broker| is(&broker.metadata, namespace, name))
                    || channels.iter().any(|flow| flow.metadata.namespace == *namespace && flow.channel == *name);
                let named = destination.reference.as_ref();
                let (kind, name) = named.map_or(("Broker", name.as_str()), |it| (it.kind.as_str(), it.name.as_str()));
                (!found).then(|| format!("there is no {kind} {namespace}/{name} in the manifests"))
            }
            TargetSpec::Http(_) => None,
        };
        if let Some(missing) = missing {
            self.fault(kind, metadata, format!("{field}: {missing}"));
            return None;
        }
        Some(target)
    }

    fn warn(&mut self) {
        self.warnings.extend(self.application.warnings.iter().map(ToString::to_string));
    }
}

/// Triggers whose broker is not there.
fn unready(application: &Application) -> Vec<TriggerStatus> {
    let lost = application.triggers.iter().filter(|trigger| application.broker_of(trigger).is_none());
    let status = |trigger: &Trigger| {
        let Metadata { namespace, name, .. } = &trigger.metadata;
        let broker = format!("{namespace}/{}", trigger.broker);
        TriggerStatus {
            trigger: format!("{namespace}/{name}"),
            ready: false,
            reason: Some(format!("BrokerDoesNotExist: there is no Broker {broker}")),
            subscriber_uri: None,
            dead_letter_sink_uri: None,
            ordered: trigger.is_ordered(),
            in_memory: 0,
            broker,
        }
    };
    lost.map(status).collect()
}

/// Fields that cannot be changed while their object is there, as Knative's webhooks refuse it.
pub(crate) fn immutable(before: &Application, after: &Application) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (old, new) in pairs(&before.triggers, &after.triggers, |trigger| &trigger.metadata) {
        if old.broker != new.broker {
            let (from, to) = (&old.broker, &new.broker);
            let reason = format!(
                "spec.broker: immutable field changed from {from} to {to}; take the trigger out first, or give it another name"
            );
            faults.push(Fault { object: object("Trigger", &new.metadata), reason });
        }
    }
    for (old, new) in pairs(&before.brokers, &after.brokers, |broker| &broker.metadata) {
        let class = |metadata: &Metadata| metadata.annotations.get(BROKER_CLASS).cloned().unwrap_or_default();
        if class(&old.metadata) != class(&new.metadata) {
            let reason =
                format!("metadata.annotations[{BROKER_CLASS}]: immutable field changed; take the broker out first");
            faults.push(Fault { object: object("Broker", &new.metadata), reason });
        }
        if old.config != new.config {
            let reason = "spec.config: immutable field changed; take the broker out first".to_owned();
            faults.push(Fault { object: object("Broker", &new.metadata), reason });
        }
    }
    faults
}

/// Objects that are in both, by name.
fn pairs<'a, T>(
    before: &'a [T],
    after: &'a [T],
    metadata: impl Fn(&T) -> &Metadata,
) -> impl Iterator<Item = (&'a T, &'a T)> {
    after.iter().filter_map(move |new| {
        let same = |old: &&T| is(metadata(old), &metadata(new).namespace, &metadata(new).name);
        before.iter().find(same).map(|old| (old, new))
    })
}

fn is(metadata: &Metadata, namespace: &str, name: &str) -> bool {
    metadata.namespace == namespace && metadata.name == name
}
