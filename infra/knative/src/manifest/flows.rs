//! `Sequence` and `Parallel` of `flows.knative.dev/v1`.

use super::fields::{Cursor, Fields};
use super::metadata::{Destination, Metadata};
use super::settings::Settings;
use crate::delivery::DeliverySpec;

/// One step of a sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Who does the step; its reply goes to the next one.
    pub destination: Destination,
    /// Delivery to it.
    pub delivery: Option<DeliverySpec>,
}

/// Steps, one after the other; a step without a reply ends the flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// Name, labels, annotations.
    pub metadata: Metadata,
    /// At least one.
    pub steps: Vec<Step>,
    /// Where the last step's reply goes.
    pub reply: Option<Destination>,
}

/// One branch of a parallel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// Decides by replying with an event whether the branch is taken; absent means always.
    pub filter: Option<Destination>,
    /// Who handles the event.
    pub subscriber: Destination,
    /// Where its reply goes; the parallel's own when absent.
    pub reply: Option<Destination>,
    /// Delivery to the subscriber.
    pub delivery: Option<DeliverySpec>,
}

/// Branches that each get every event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parallel {
    /// Name, labels, annotations.
    pub metadata: Metadata,
    /// At least one.
    pub branches: Vec<Branch>,
    /// Where replies of branches go that name no place of their own.
    pub reply: Option<Destination>,
}

impl Sequence {
    pub(crate) fn read(document: &mut Fields<'_>, settings: &Settings) -> Option<Self> {
        let metadata = Metadata::read(document, true);
        let mut spec = document.required("spec")?.fields()?;
        let steps = read_list(&mut spec, "steps", |item| {
            let mut fields = item.fields()?;
            let delivery = fields.get("delivery").and_then(|node| DeliverySpec::read(&node, settings.delivery));
            let destination = Destination::read_fields(&mut fields);
            fields.finish();
            Some(Step { destination: destination?, delivery })
        });
        let reply = spec.get("reply").and_then(|node| Destination::read(&node));
        spec.accept(&["channelTemplate"]);
        spec.finish();
        Some(Self { metadata, steps, reply })
    }
}

impl Parallel {
    pub(crate) fn read(document: &mut Fields<'_>, settings: &Settings) -> Option<Self> {
        let metadata = Metadata::read(document, true);
        let mut spec = document.required("spec")?.fields()?;
        let branches = read_list(&mut spec, "branches", |item| {
            let mut fields = item.fields()?;
            let filter = fields.get("filter").and_then(|node| Destination::read(&node));
            let subscriber = fields.required("subscriber").and_then(|node| Destination::read(&node));
            let reply = fields.get("reply").and_then(|node| Destination::read(&node));
            let delivery = fields.get("delivery").and_then(|node| DeliverySpec::read(&node, settings.delivery));
            fields.finish();
            Some(Branch { filter, subscriber: subscriber?, reply, delivery })
        });
        let reply = spec.get("reply").and_then(|node| Destination::read(&node));
        spec.accept(&["channelTemplate"]);
        spec.finish();
        Some(Self { metadata, branches, reply })
    }
}

fn read_list<T>(spec: &mut Fields<'_>, name: &'static str, read: impl Fn(&Cursor<'_>) -> Option<T>) -> Vec<T> {
    let items = spec.items(name);
    if items.is_empty() {
        spec.error(name, "missing field: at least one entry is needed");
    }
    items.iter().filter_map(read).collect()
}
