//! From manifests to what is run: commands, environments, destinations. All faults at once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use regrove_knative::delivery::DeliveryPolicy;
use regrove_knative::filter::Filter;
use regrove_knative::manifest::{
    Application, Container, Metadata, PingSource, PortProtocol, ProbeAction, RevisionChoice, Service, TrafficTarget,
    TriggerFilter,
};

use crate::RuntimeConfig;
use crate::broker::{Replies, TargetSpec, flows};
use crate::error::Fault;
use crate::serving::revision::{ExecCommand, RevisionSpec};

/// Annotation of the template: the process takes a listening socket as descriptor 3.
const LISTEN_FDS: &str = "regrove.io/listen-fds";
/// Annotation of the template: the command that stands for the image, words separated by spaces.
const EXEC: &str = "regrove.io/exec";

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
    pub(crate) replies: Replies,
}

/// What is run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) revisions: Vec<RevisionSpec>,
    pub(crate) brokers: BTreeSet<(String, String)>,
    pub(crate) triggers: Vec<PlannedTrigger>,
    pub(crate) pings: Vec<(PingSource, TargetSpec)>,
    pub(crate) warnings: Vec<String>,
}

impl Plan {
    pub(crate) fn make(config: &RuntimeConfig, bound: Bound) -> Result<Self, Vec<Fault>> {
        let mut planner = Planner { config, application: &config.application, bound, faults: Vec::new() };
        let revisions = planner.revisions();
        let brokers = planner.brokers();
        let mut triggers = planner.triggers();
        triggers.extend(planner.flows());
        let pings = planner.pings();
        let warnings = planner.warnings();
        if planner.faults.is_empty() {
            Ok(Self { revisions, brokers, triggers, pings, warnings })
        } else {
            Err(planner.faults)
        }
    }
}

struct Planner<'a> {
    config: &'a RuntimeConfig,
    application: &'a Application,
    bound: Bound,
    faults: Vec<Fault>,
}

fn object(kind: &str, metadata: &Metadata) -> String {
    format!("{kind} {}/{}", metadata.namespace, metadata.name)
}

impl Planner<'_> {
    fn fault(&mut self, kind: &str, metadata: &Metadata, reason: impl Into<String>) {
        self.faults.push(Fault { object: object(kind, metadata), reason: reason.into() });
    }

    fn revisions(&mut self) -> Vec<RevisionSpec> {
        let application = self.application;
        application.services.iter().filter_map(|service| self.revision(service)).collect()
    }

    fn revision(&mut self, service: &Service) -> Option<RevisionSpec> {
        let template = &service.template;
        let metadata = &service.metadata;
        let revision = revision_name(service);
        if template.container.protocol == PortProtocol::H2c {
            let reason = "port name h2c: HTTP/2 to the process is not supported yet; leave the name out";
            self.fault("Service", metadata, reason);
        }
        let command = self.command(service);
        let env = self.environment(service, &revision);
        Some(RevisionSpec {
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone(),
            cluster_local: service.cluster_local,
            command: command?,
            env: env?,
            inherits_socket: template.annotations.get(LISTEN_FDS).is_some_and(|value| value == "true"),
            concurrency: template.container_concurrency,
            timeout: template.timeout,
            response_start_timeout: template.response_start_timeout,
            idle_timeout: template.idle_timeout,
            container_port: template.container.port,
            readiness: template.container.readiness.clone(),
            autoscaling: template.autoscaling.clone(),
            revision,
        })
    }

    fn command(&mut self, service: &Service) -> Option<ExecCommand> {
        let container = &service.template.container;
        let found = self.entry_point(service);
        let Some((program, mut args)) = found.filter(|(program, _)| !program.is_empty()) else {
            let name = image_name(&container.image);
            let looked = match self.config.bin_dirs.as_slice() {
                [] => String::new(),
                dirs => {
                    let dirs: Vec<_> = dirs.iter().map(|dir| dir.display().to_string()).collect();
                    format!(" (no program `{name}` in {})", dirs.join(", "))
                }
            };
            let reason = format!(
                "image `{}` has no command here{looked}; say --exec {name}=COMMAND, or annotate the template with {EXEC}",
                container.image
            );
            self.fault("Service", &service.metadata, reason);
            return None;
        };
        args.extend(container.args.iter().cloned());
        let dir = container.working_dir.as_ref().map(PathBuf::from).filter(|dir| dir.is_dir());
        Some(ExecCommand { program: program.into(), args, dir })
    }

    /// The command of an image: `--exec`, then the annotation, then a program of its name, then the container's own
    /// command if this machine has it.
    fn entry_point(&self, service: &Service) -> Option<(String, Vec<String>)> {
        let container = &service.template.container;
        let name = image_name(&container.image);
        let words = |words: &[String]| words.split_first().map(|(first, rest)| (first.clone(), rest.to_vec()));
        if let Some(command) = self.config.exec.get(&container.image).or_else(|| self.config.exec.get(name)) {
            return words(command);
        }
        if let Some(line) = service.template.annotations.get(EXEC) {
            return words(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        }
        let own = self.config.bin_dirs.iter().map(|dir| dir.join(name)).find(|path| is_program(path));
        if let Some(path) = own {
            // Absolute, because the process may start in another folder.
            let path = std::path::absolute(&path).unwrap_or(path);
            return Some((path.to_string_lossy().into_owned(), Vec::new()));
        }
        local_command(container)
    }

    /// Variables, the later winning: the runtime's own for every function, the manifest's, the sink's, the contract's.
    fn environment(&mut self, service: &Service, revision: &str) -> Option<BTreeMap<String, String>> {
        let name = &service.metadata.name;
        let contract = BTreeMap::from([
            ("K_SERVICE".to_owned(), name.clone()),
            ("K_CONFIGURATION".to_owned(), name.clone()),
            ("K_REVISION".to_owned(), revision.to_owned()),
        ]);
        let mut env = self.config.env.clone();
        if let Some(record) = self.bound.record {
            env.entry("MLFLOW_TRACKING_URI".to_owned()).or_insert_with(|| format!("http://{record}"));
        }
        let mut known = env.clone();
        known.extend(contract.clone());
        match self.application.environment(service, &known) {
            Ok(own) => env.extend(own),
            Err(missing) => {
                for variable in missing {
                    self.fault("Service", &service.metadata, variable.to_string());
                }
                return None;
            }
        }
        env.extend(self.sink(service)?);
        env.extend(contract);
        Some(env)
    }

    /// What a sink binding adds to the environment of its subject.
    fn sink(&mut self, service: &Service) -> Option<BTreeMap<String, String>> {
        let application = self.application;
        let mut env = BTreeMap::new();
        if let Some(binding) = application.sink_bindings_of(service).last() {
            let url = match TargetSpec::of(&binding.sink, &binding.metadata.namespace, &self.config.domain) {
                Ok(target) => self.url(&target),
                Err(reason) => {
                    self.fault("SinkBinding", &binding.metadata, format!("spec.sink: {reason}"));
                    return None;
                }
            };
            env.insert("K_SINK".to_owned(), url);
            env.insert("K_CE_OVERRIDES".to_owned(), binding.overrides_json());
        }
        Some(env)
    }

    /// URL at which a process on this machine reaches a destination.
    fn url(&self, target: &TargetSpec) -> String {
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
                    replies: Replies::To(trigger.broker.clone()),
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
            // Without a filter there is nothing that could not be understood.
            let filter = Filter::compile(&TriggerFilter::default());
            if let (Ok(filter), Some(subscriber)) = (filter, subscriber) {
                planned.push(PlannedTrigger {
                    key: Arc::from(format!("{}/{}", metadata.namespace, flow.name)),
                    namespace: metadata.namespace.clone(),
                    broker: flow.channel,
                    filter,
                    subscriber,
                    policy,
                    dead_letter_sink: sink,
                    ordered: false,
                    replies: flow.replies.map_or(Replies::Dropped, Replies::To),
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

    fn warnings(&self) -> Vec<String> {
        let application = self.application;
        let mut warnings: Vec<String> = application.warnings.iter().map(ToString::to_string).collect();
        for service in &application.services {
            let container = &service.template.container;
            let own = revision_name(service);
            let elsewhere = |target: &&TrafficTarget| match &target.revision {
                RevisionChoice::Named(name) => *name != own,
                RevisionChoice::Latest => false,
            };
            if let Some(TrafficTarget { revision: RevisionChoice::Named(name), .. }) =
                service.traffic.iter().find(elsewhere)
            {
                let object = object("Service", &service.metadata);
                warnings
                    .push(format!("{object}: spec.traffic names {name}, but only {own} exists here: it gets it all"));
            }
            if matches!(container.readiness.action, ProbeAction::Grpc { .. }) {
                let name = object("Service", &service.metadata);
                warnings.push(format!("{name}: the gRPC readiness probe is replaced by a TCP connection here"));
            }
        }
        warnings
    }
}

fn is(metadata: &Metadata, namespace: &str, name: &str) -> bool {
    metadata.namespace == namespace && metadata.name == name
}

/// The only revision that a service has here: there is no history of templates.
fn revision_name(service: &Service) -> String {
    service.template.name.clone().unwrap_or_else(|| format!("{}-00001", service.metadata.name))
}

/// Last path segment of an image without tag and digest.
fn image_name(image: &str) -> &str {
    let path = image.split('@').next().unwrap_or(image);
    let last = path.rsplit('/').next().unwrap_or(path);
    last.split(':').next().unwrap_or(last)
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// The container's own command, if its program is a file on this machine.
fn local_command(container: &Container) -> Option<(String, Vec<String>)> {
    let (program, rest) = container.command.split_first()?;
    let path = Path::new(program);
    (path.is_absolute() && is_program(path)).then(|| (program.clone(), rest.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::image_name;

    #[test]
    fn image_names_lose_registry_tag_and_digest() {
        for image in ["train", "train:1", "localhost:5000/a/train", "ghcr.io/a/train:v1@sha256:00", "train@sha256:0"] {
            assert_eq!(image_name(image), "train", "{image}");
        }
    }
}
