//! From a Service to its revisions: which are needed, and what their processes are started from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use regrove_knative::manifest::{Container, PortProtocol, RevisionChoice, Service, TrafficTarget};

use crate::broker::TargetSpec;
use crate::history::Lineage;
use crate::plan::{Planner, object};
use crate::serving::revision::{ExecCommand, RevisionSpec, RunSpec};

/// Annotation of the template: the process takes a listening socket as descriptor 3.
const LISTEN_FDS: &str = "regrove.io/listen-fds";
/// Annotation of the template: the command that stands for the image, words separated by spaces.
const EXEC: &str = "regrove.io/exec";
/// Variable that tells every function where it finds the others by their names in the cluster.
const GATEWAY: &str = "REGROVE_GATEWAY";

/// Variable that tells a function where it can ask about this runtime.
const RUNTIME: &str = "REGROVE_RUNTIME";

/// A revision that a service needs.
#[derive(Debug)]
pub(crate) struct PlannedRevision {
    pub(crate) spec: RevisionSpec,
    /// Those of its template.
    pub(crate) annotations: BTreeMap<String, String>,
    /// Whether it has ever become ready.
    pub(crate) ready: bool,
}

/// A service: its revisions, and who of them gets which requests.
#[derive(Debug)]
pub(crate) struct PlannedService {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) cluster_local: bool,
    pub(crate) rollout: Duration,
    pub(crate) traffic: Vec<TrafficTarget>,
    /// Those that traffic needs and the latest, which is last.
    pub(crate) revisions: Vec<PlannedRevision>,
    /// All that are known.
    pub(crate) lineage: Lineage,
    /// Whether the latest is new.
    pub(crate) is_new: bool,
}

impl Planner<'_> {
    pub(crate) fn service(&mut self, service: &Service, lineage: &Lineage) -> Option<PlannedService> {
        let next = match lineage.with(service) {
            Ok(next) => next,
            Err(reason) => {
                self.fault("Service", &service.metadata, reason);
                return None;
            }
        };
        let latest = next.latest()?;
        let mut revisions = self.earlier_revisions(service, &next);
        let (spec, annotations) = (self.revision(service, &latest.name)?, service.template.annotations.clone());
        revisions.push(PlannedRevision { spec, annotations, ready: latest.ready });
        Some(PlannedService {
            namespace: service.metadata.namespace.clone(),
            name: service.metadata.name.clone(),
            cluster_local: service.cluster_local,
            rollout: service.rollout,
            traffic: service.traffic.clone(),
            revisions,
            is_new: next != *lineage,
            lineage: next,
        })
    }

    /// The revisions before the latest that traffic needs: those that it names, and the latest ready one while the
    /// latest has not proved itself.
    fn earlier_revisions(&mut self, service: &Service, lineage: &Lineage) -> Vec<PlannedRevision> {
        let Some(latest) = lineage.latest() else {
            return Vec::new();
        };
        let named: BTreeSet<&str> = service
            .traffic
            .iter()
            .filter_map(|target| match &target.revision {
                RevisionChoice::Named(name) => Some(name.as_str()),
                RevisionChoice::Latest => None,
            })
            .collect();
        for name in named.iter().filter(|name| lineage.find(name).is_none()) {
            self.warnings.push(format!(
                "{}: spec.traffic names {name}, which never existed here: the latest revision gets its share",
                object("Service", &service.metadata)
            ));
        }
        let fallback = lineage.latest_ready().filter(|_| !latest.ready);
        let mut planned = Vec::new();
        for recorded in lineage.revisions.iter().filter(|recorded| recorded.name != latest.name) {
            let is_named = named.contains(recorded.name.as_str());
            if !is_named && fallback != Some(recorded) {
                continue;
            }
            let faults = self.faults.len();
            let earlier = match service.with_template(&recorded.template, &self.application.settings) {
                Ok(earlier) => {
                    let spec = self.revision(&earlier, &recorded.name);
                    spec.map(|spec| (spec, earlier.template.annotations.clone()))
                }
                Err(problems) => {
                    self.fault("Service", &service.metadata, problems.to_string());
                    None
                }
            };
            let ready = recorded.ready;
            planned.extend(earlier.map(|(spec, annotations)| PlannedRevision { spec, annotations, ready }));
            if !is_named && self.faults.len() > faults {
                // Nobody asked for it: the latest takes over without proof.
                self.faults.truncate(faults);
                planned.retain(|revision| revision.spec.revision != recorded.name);
                let object = object("Service", &service.metadata);
                self.warnings.push(format!("{object}: {} can no longer be run here", recorded.name));
            }
        }
        planned
    }

    fn revision(&mut self, service: &Service, revision: &str) -> Option<RevisionSpec> {
        let template = &service.template;
        let metadata = &service.metadata;
        let command = self.command(service);
        let env = self.environment(service, revision);
        Some(RevisionSpec {
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone(),
            revision: revision.to_owned(),
            run: RunSpec { command: command?, env: env? },
            inherits_socket: template.annotations.get(LISTEN_FDS).is_some_and(|value| value == "true"),
            concurrency: template.container_concurrency,
            timeout: template.timeout,
            response_start_timeout: template.response_start_timeout,
            idle_timeout: template.idle_timeout,
            container_port: template.container.port,
            http2: template.container.protocol == PortProtocol::H2c,
            readiness: template.container.readiness.clone(),
            liveness: template.container.liveness.clone(),
            startup: template.container.startup.clone(),
            autoscaling: template.autoscaling.clone(),
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
        env.entry(RUNTIME.to_owned()).or_insert_with(|| format!("http://{}{}", self.bound.ingress, crate::admin::BASE));
        if let Some(record) = self.bound.record {
            env.entry("MLFLOW_TRACKING_URI".to_owned()).or_insert_with(|| format!("http://{record}"));
        }
        env.entry(GATEWAY.to_owned()).or_insert_with(|| format!("http://{}", self.config.gateway));
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
