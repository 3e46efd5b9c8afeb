//! `Service` of `serving.knative.dev/v1`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::container::Container;
use super::fields::{Cursor, Fields, Findings};
use super::metadata::{Metadata, is_letter_label};
use super::problem::{Problem, Problems};
use super::settings::Settings;
use crate::autoscaler::{self, ANNOTATION_PREFIX, AutoscalingConfig};
use crate::go_duration::parse_whole_seconds;

/// Annotation that spreads the switch to a new revision over time.
const ROLLOUT_DURATION: &str = "serving.knative.dev/rollout-duration";

/// Longest rollout that is of any use: one day.
const ROLLOUT_DURATION_MAX: Duration = Duration::from_hours(24);

/// Label that keeps a service off the public gateway.
const VISIBILITY: &str = "networking.knative.dev/visibility";

/// A service: one configuration and one route.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Name, labels, annotations of the service.
    pub metadata: Metadata,
    /// What each revision is made from.
    pub template: RevisionTemplate,
    /// Where requests go; never empty, and the percentages add up to 100.
    pub traffic: Vec<TrafficTarget>,
    /// Time over which traffic moves to a new latest revision; zero moves it at once.
    pub rollout: Duration,
    /// Whether only other services reach it (`networking.knative.dev/visibility: cluster-local`).
    pub cluster_local: bool,
}

/// `spec.template` of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct RevisionTemplate {
    /// The revision's own name, instead of `<service>-00001`.
    pub name: Option<String>,
    /// Labels of the revision.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the revision.
    pub annotations: BTreeMap<String, String>,
    /// Requests that one replica takes at a time; 0 for any number, at most the configured limit (1000).
    pub container_concurrency: u32,
    /// Bound of a whole request; also the grace between SIGTERM and SIGKILL.
    pub timeout: Duration,
    /// Bound of the time to the first byte of a response, shorter than `timeout`.
    pub response_start_timeout: Option<Duration>,
    /// Bound of the time between two writes of a response.
    pub idle_timeout: Option<Duration>,
    /// What is started.
    pub container: Container,
    /// Numbers for the autoscaler, annotations and defaults together.
    pub autoscaling: AutoscalingConfig,
    /// The template as it was written: two templates are the same when these are equal.
    pub document: Value,
}

/// The revision that a traffic target means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RevisionChoice {
    /// The latest revision that became ready.
    Latest,
    /// One by name.
    Named(String),
}

/// One entry of `spec.traffic`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrafficTarget {
    /// Which revision.
    pub revision: RevisionChoice,
    /// Share of the service's requests, 0–100.
    pub percent: u8,
    /// Name under which the target has a host of its own.
    pub tag: Option<String>,
}

impl TrafficTarget {
    fn all_to_latest() -> Vec<Self> {
        vec![Self { revision: RevisionChoice::Latest, percent: 100, tag: None }]
    }
}

impl Service {
    pub(crate) fn read(document: &mut Fields<'_>, settings: &Settings) -> Option<Self> {
        let metadata = Metadata::read(document, true);
        refuse_autoscaling(document, &metadata.annotations);
        let rollout = read_rollout(document, &metadata.annotations);
        let cluster_local = match metadata.labels.get(VISIBILITY).map(String::as_str) {
            None => false,
            Some("cluster-local") => true,
            Some(other) => {
                document.error(
                    &format!("metadata.labels[{VISIBILITY}]"),
                    format!("invalid value: {other}; must be `cluster-local`"),
                );
                false
            }
        };
        let mut spec = document.required("spec")?.fields()?;
        let template =
            spec.required("template").and_then(|node| RevisionTemplate::read(&node, &metadata.name, settings));
        let traffic = match spec.get("traffic") {
            None => TrafficTarget::all_to_latest(),
            Some(node) => read_traffic(&node),
        };
        spec.finish();
        Some(Self { metadata, template: template?, traffic, rollout, cluster_local })
    }

    /// Host under a domain: `name.namespace.domain`.
    pub fn host(&self, domain: &str) -> String {
        format!("{}.{}.{domain}", self.metadata.name, self.metadata.namespace)
    }

    /// Host of a tagged target under a domain: `tag-name.namespace.domain`.
    pub fn tag_host(&self, tag: &str, domain: &str) -> String {
        format!("{tag}-{}", self.host(domain))
    }

    /// This service with another template, such as that of an earlier revision.
    ///
    /// # Errors
    ///
    /// Every fault of the template.
    pub fn with_template(&self, document: &Value, settings: &Settings) -> Result<Self, Problems> {
        let findings = Findings::default();
        let node = Cursor { value: document, path: "spec.template".to_owned(), findings: &findings };
        let template = RevisionTemplate::read(&node, &self.metadata.name, settings);
        let (errors, _) = findings.into_parts();
        match template {
            Some(template) if errors.is_empty() => Ok(Self { template, ..self.clone() }),
            _ => {
                let problem = |finding: super::fields::Finding| Problem {
                    source: "earlier revision".to_owned(),
                    document: 1,
                    line: 1,
                    object: format!("Service/{}", self.metadata.name),
                    path: finding.path,
                    reason: finding.reason,
                };
                Err(Problems(errors.into_iter().map(problem).collect()))
            }
        }
    }

    /// Name of the revision that this template makes as number `generation`, counted from 1.
    pub fn revision_name(&self, generation: u32) -> String {
        let numbered = || format!("{}-{generation:05}", self.metadata.name);
        self.template.name.clone().unwrap_or_else(numbered)
    }
}

/// Autoscaling annotations steer revisions: on the service they would be without effect, so upstream refuses them.
fn refuse_autoscaling(document: &Fields<'_>, annotations: &BTreeMap<String, String>) {
    for key in annotations.keys().filter(|key| key.starts_with(ANNOTATION_PREFIX)) {
        document.error(
            &format!("metadata.annotations[{key}]"),
            "autoscaling annotations must be put under \"spec.template.metadata.annotations\" to work",
        );
    }
}

fn read_rollout(document: &Fields<'_>, annotations: &BTreeMap<String, String>) -> Duration {
    let Some(text) = annotations.get(ROLLOUT_DURATION) else {
        return Duration::ZERO;
    };
    parse_whole_seconds(text, Duration::ZERO, ROLLOUT_DURATION_MAX).unwrap_or_else(|reason| {
        document.error(&format!("metadata.annotations[{ROLLOUT_DURATION}]"), reason);
        Duration::ZERO
    })
}

impl RevisionTemplate {
    fn read(node: &Cursor<'_>, service: &str, settings: &Settings) -> Option<Self> {
        let mut fields = node.fields()?;
        let (name, metadata) = Metadata::read_template(&mut fields);
        if let Some(name) = &name {
            let own = name.strip_prefix(service).is_some_and(|rest| rest.len() > 1 && rest.starts_with('-'));
            if !own || !is_letter_label(name) {
                fields.error(
                    "metadata.name",
                    format!("invalid value: {name}; must be a DNS label that starts with `{service}-`"),
                );
            }
        }
        let Some(spec_node) = fields.required("spec") else {
            fields.finish();
            return None;
        };
        fields.finish();
        let mut spec = spec_node.fields()?;
        let container_concurrency = read_concurrency(&mut spec, settings);
        let timeouts = read_timeouts(&mut spec, settings);
        let container = Container::read_serving(&mut spec);
        accept_pod_fields(&mut spec);
        spec.finish();
        let autoscaling = read_autoscaling(node, &metadata.annotations, container_concurrency, settings);
        Some(Self {
            name,
            labels: metadata.labels,
            annotations: metadata.annotations,
            container_concurrency,
            timeout: timeouts.whole,
            response_start_timeout: timeouts.response_start,
            idle_timeout: timeouts.idle,
            container: container?,
            autoscaling,
            document: node.value.clone(),
        })
    }
}

/// Members of the pod that have no meaning on one machine, and those that Knative refuses.
fn accept_pod_fields(spec: &mut Fields<'_>) {
    spec.accept(&[
        "automountServiceAccountToken",
        "enableServiceLinks",
        "imagePullSecrets",
        "securityContext",
        "serviceAccountName",
        "volumes",
        "runtimeClassName",
    ]);
    spec.refuse(
        &[
            "initContainers",
            "affinity",
            "nodeSelector",
            "tolerations",
            "topologySpreadConstraints",
            "dnsConfig",
            "dnsPolicy",
            "hostAliases",
            "hostIPC",
            "hostNetwork",
            "hostPID",
            "priorityClassName",
            "schedulerName",
            "shareProcessNamespace",
        ],
        "it is behind a feature flag of Knative that is off",
    );
}

fn read_autoscaling(
    template: &Cursor<'_>,
    annotations: &BTreeMap<String, String>,
    container_concurrency: u32,
    settings: &Settings,
) -> AutoscalingConfig {
    let path = |key: &str| format!("{}.metadata.annotations[{key}]", template.path);
    for (key, doubt) in autoscaler::doubts(annotations) {
        template.findings.warning(path(&key), doubt);
    }
    AutoscalingConfig::resolve(annotations, container_concurrency, &settings.autoscaler).unwrap_or_else(|faults| {
        for (key, reason) in faults {
            template.findings.error(path(&key), reason);
        }
        AutoscalingConfig::without_annotations(container_concurrency, &settings.autoscaler)
    })
}

fn read_concurrency(spec: &mut Fields<'_>, settings: &Settings) -> u32 {
    let Some(node) = spec.get("containerConcurrency") else {
        return settings.serving.container_concurrency;
    };
    let min = i64::from(!settings.serving.allow_zero_concurrency);
    let max = i64::from(settings.serving.container_concurrency_max);
    node.bounded(min..=max).and_then(|value| u32::try_from(value).ok()).unwrap_or(0)
}

struct Timeouts {
    whole: Duration,
    response_start: Option<Duration>,
    idle: Option<Duration>,
}

fn read_timeouts(spec: &mut Fields<'_>, settings: &Settings) -> Timeouts {
    let serving = &settings.serving;
    let max = i64::try_from(serving.timeout_max.as_secs()).unwrap_or(i64::MAX);
    let mut read = |name: &'static str| {
        let seconds = spec.get(name)?.bounded(0..=max)?;
        u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs)
    };
    // Zero means "the default", as upstream's defaulting treats it.
    let whole = read("timeoutSeconds").unwrap_or(serving.timeout);
    let given_start = read("responseStartTimeoutSeconds");
    let idle = read("idleTimeoutSeconds").or(serving.idle_timeout);
    if given_start.is_some_and(|start| start > whole) {
        spec.error(
            "responseStartTimeoutSeconds",
            format!("must not be longer than timeoutSeconds ({} s)", whole.as_secs()),
        );
    }
    if idle.is_some_and(|idle| idle > whole) {
        spec.error("idleTimeoutSeconds", format!("must not be longer than timeoutSeconds ({} s)", whole.as_secs()));
    }
    let response_start = given_start.or(serving.response_start_timeout).filter(|start| *start < whole);
    Timeouts { whole, response_start, idle }
}

fn read_traffic(list: &Cursor<'_>) -> Vec<TrafficTarget> {
    let items = list.items();
    if items.is_empty() {
        return TrafficTarget::all_to_latest();
    }
    let targets: Vec<TrafficTarget> = items.iter().filter_map(read_target).collect();
    let mut tags = BTreeMap::new();
    for (item, tag) in items.iter().zip(&targets).filter_map(|(item, target)| Some((item, target.tag.as_ref()?))) {
        if let Some(first) = tags.insert(tag.clone(), item.path.clone()) {
            item.error(format!("tag `{tag}` is already used at {first}"));
        }
    }
    let sum: u32 = targets.iter().map(|target| u32::from(target.percent)).sum();
    if targets.len() == items.len() && sum != 100 {
        list.error(format!("Traffic targets sum to {sum}, want 100"));
    }
    targets
}

fn read_target(node: &Cursor<'_>) -> Option<TrafficTarget> {
    let mut fields = node.fields()?;
    let name = fields.string("revisionName").filter(|name| !name.is_empty());
    let latest = fields.get("latestRevision").and_then(|flag| flag.boolean());
    let percent = fields.get("percent").map_or(Some(0), |node| node.bounded(0..=100));
    let tag = fields.string("tag").filter(|tag| !tag.is_empty());
    fields.refuse(&["configurationName"], "a Service's traffic names revisions of its own");
    fields.refuse(&["url"], "it is written by the system");
    fields.finish();
    if let Some(tag) = tag.as_ref().filter(|tag| !is_letter_label(tag)) {
        fields_error(node, "tag", format!("invalid value: {tag}; must be a DNS label that starts with a letter"));
    }
    let revision = match (name, latest) {
        (Some(name), None | Some(false)) => RevisionChoice::Named(name),
        (Some(_), Some(true)) => {
            fields_error(node, "latestRevision", "must be false when revisionName is set".to_owned());
            return None;
        }
        (None, Some(true)) => RevisionChoice::Latest,
        (None, None | Some(false)) => {
            node.error("expected exactly one, got none: latestRevision: true, revisionName");
            return None;
        }
    };
    Some(TrafficTarget { revision, percent: u8::try_from(percent?).ok()?, tag })
}

fn fields_error(node: &Cursor<'_>, name: &str, reason: String) {
    node.findings.error(super::fields::join(&node.path, name), reason);
}
