//! The routing table: manifests in, queues out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use regrove_events::CloudEvent;
use regrove_knative::delivery::DeliveryPolicy;
use regrove_knative::filter::Filter;
use regrove_knative::manifest::{Application, Destination, Source, Trigger};

use crate::OpenError;

/// Annotation of a Trigger whose queue is first-in-first-out: the attribute that names an event's message group. Events
/// of one group are delivered in order and one at a time. `subject`, the job, is the attribute that helps.
pub const MESSAGE_GROUP: &str = "regrove.io/sqs-message-group";

/// What the names of first-in-first-out queues end with, as SQS wants it.
const FIFO: &str = ".fifo";
/// What the name of a queue's dead letter queue ends with.
const DEAD: &str = "-dlq";

/// A queue: of a trigger, of a dead letter sink, or of a ping source.
#[derive(Debug, Clone, PartialEq)]
pub struct Queue {
    /// Name without the prefix that all queues of an application share.
    pub name: String,
    /// The function that hears it.
    pub service: String,
    /// The path that it hears it at.
    pub path: String,
    /// The attribute by which messages are grouped; `None` for a queue without an order.
    pub group_by: Option<String>,
    /// Retries and waits.
    pub policy: DeliveryPolicy,
    /// Name of the queue that hears of what could not be delivered.
    pub dead_letter_sink: Option<String>,
    /// What goes in; `None` for a queue that is written to by name.
    filter: Option<Filter>,
}

impl Queue {
    /// Name of the queue that keeps what could not be delivered, for people.
    pub fn dead_letter_queue(&self) -> String {
        match self.name.strip_suffix(FIFO) {
            Some(stem) => format!("{stem}{DEAD}{FIFO}"),
            None => format!("{}{DEAD}", self.name),
        }
    }

    /// Whether an event in its function's answer is routed on: that of a Trigger's subscriber is, that of a dead letter sink or
    /// of a ping source's sink is not.
    pub fn takes_replies(&self) -> bool {
        self.filter.is_some()
    }

    /// How often a message is received before SQS itself moves it to the dead letter queue: once more than a function
    /// tries it, for what never comes to an answer.
    pub fn receives_max(&self) -> u32 {
        self.policy.retry + 2
    }
}

/// Every queue of an application.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Routes {
    queues: BTreeMap<String, Queue>,
}

impl Routes {
    /// Reads a manifest, or every `.yaml` file of a folder.
    ///
    /// # Errors
    /// [`OpenError`] when they cannot be read, are wrong, or hold no Trigger.
    pub fn read(path: &Path) -> Result<Self, OpenError> {
        let fault = |source| OpenError::File { path: path.to_owned(), source };
        let mut texts = Vec::new();
        for file in files(path).map_err(fault)? {
            texts.push((file.display().to_string(), fs::read_to_string(&file).map_err(fault)?));
        }
        let sources: Vec<Source<'_>> = texts.iter().map(|(name, text)| Source { name, text }).collect();
        let routes = Self::of(&Application::parse(&sources)?)?;
        if !routes.queues.values().any(|queue| queue.filter.is_some()) {
            return Err(OpenError::NoTrigger { path: path.to_owned() });
        }
        Ok(routes)
    }

    /// The queues that an application needs: one per Trigger, named like it; one per dead letter sink, named after its
    /// function and path; one per `PingSource`, named like it.
    ///
    /// # Errors
    /// [`OpenError`] for a destination that is no Knative Service, a filter that does not parse, or a name taken twice.
    pub fn of(application: &Application) -> Result<Self, OpenError> {
        let mut routes = Self::default();
        for trigger in &application.triggers {
            let policy = application.broker_of(trigger).map_or_else(
                || DeliveryPolicy::effective(trigger.delivery.as_ref(), None),
                |broker| trigger.delivery_policy(broker),
            );
            let object = format!("Trigger `{}`", trigger.metadata.name);
            let dead_letter_sink = match &policy.dead_letter_sink {
                Some(sink) => Some(routes.sink(&object, sink, &policy)?),
                None => None,
            };
            routes.add(&object, of_trigger(&object, trigger, policy, dead_letter_sink)?)?;
        }
        for source in &application.ping_sources {
            let object = format!("PingSource `{}`", source.metadata.name);
            let (service, path) = address(&object, &source.sink)?;
            let policy = DeliveryPolicy::broker_default();
            routes.add(&object, plain(source.metadata.name.clone(), service, path, policy))?;
        }
        Ok(routes)
    }

    /// The queue of a dead letter sink; many triggers may share one.
    fn sink(&mut self, object: &str, sink: &Destination, policy: &DeliveryPolicy) -> Result<String, OpenError> {
        let (service, path) = address(object, sink)?;
        let name = format!("{service}{}", path.trim_end_matches('/').replace('/', "-"));
        // Nothing is buried twice: a letter that cannot be delivered stays in its own dead letter queue.
        let policy = DeliveryPolicy { dead_letter_sink: None, timeout: None, ..policy.clone() };
        self.queues.entry(name.clone()).or_insert_with(|| plain(name.clone(), service, path, policy));
        Ok(name)
    }

    fn add(&mut self, object: &str, queue: Queue) -> Result<(), OpenError> {
        if self.queues.contains_key(&queue.name) {
            return Err(OpenError::SameQueue { object: object.to_owned(), queue: queue.name });
        }
        self.queues.insert(queue.name.clone(), queue);
        Ok(())
    }

    /// Every queue, by name.
    pub fn queues(&self) -> impl Iterator<Item = &Queue> {
        self.queues.values()
    }

    /// The queue of this name.
    pub fn queue(&self, name: &str) -> Option<&Queue> {
        self.queues.get(name)
    }

    /// The queues of all triggers that want an event.
    pub fn of_event(&self, event: &CloudEvent) -> impl Iterator<Item = &Queue> {
        self.queues.values().filter(|queue| queue.filter.as_ref().is_some_and(|filter| filter.matches(event)))
    }
}

fn of_trigger(
    object: &str,
    trigger: &Trigger,
    policy: DeliveryPolicy,
    dead_letter_sink: Option<String>,
) -> Result<Queue, OpenError> {
    let (service, path) = address(object, &trigger.subscriber)?;
    let filter = Filter::compile(&trigger.filter)
        .map_err(|source| OpenError::Filter { trigger: trigger.metadata.name.clone(), source })?;
    let group_by = trigger.metadata.annotations.get(MESSAGE_GROUP).cloned();
    let order = if group_by.is_some() { FIFO } else { "" };
    let name = format!("{}{order}", trigger.metadata.name);
    Ok(Queue { group_by, dead_letter_sink, filter: Some(filter), ..plain(name, service, path, policy) })
}

fn plain(name: String, service: String, path: String, policy: DeliveryPolicy) -> Queue {
    Queue { name, service, path, group_by: None, policy, dead_letter_sink: None, filter: None }
}

/// A destination as the name of a function and a path.
fn address(object: &str, destination: &Destination) -> Result<(String, String), OpenError> {
    let service = destination
        .reference
        .as_ref()
        .filter(|reference| reference.kind == "Service" && reference.api_version.starts_with("serving.knative.dev/"))
        .ok_or_else(|| OpenError::Destination { object: object.to_owned() })?;
    let path = destination.uri.as_deref().unwrap_or_default();
    Ok((service.name.clone(), format!("/{}", path.trim_start_matches('/'))))
}

/// The file itself, or the manifests in the folder, in the order of their names.
fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let manifest = file.extension().is_some_and(|extension| extension == "yaml");
        if manifest && file.file_name().is_some_and(|name| name != "kustomization.yaml") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}
