//! `Broker` and `Trigger` of `eventing.knative.dev/v1`.

use super::fields::{Cursor, Fields};
use super::filters::{FilterSpec, TriggerFilter};
use super::metadata::{Destination, Metadata};
use super::settings::Settings;
use crate::delivery::{DeliveryPolicy, DeliverySpec};

/// A broker: events go in, and to every trigger that wants them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Name, labels, annotations.
    pub metadata: Metadata,
    /// Delivery of triggers that set none of their own.
    pub delivery: Option<DeliverySpec>,
    /// `spec.config` as it was written; it is without effect here.
    pub config: Option<serde_json::Value>,
}

/// A trigger: a subscription to a broker's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// Name, labels, annotations.
    pub metadata: Metadata,
    /// Name of the broker, in the trigger's namespace.
    pub broker: String,
    /// Which events are wanted.
    pub filter: TriggerFilter,
    /// Where they go.
    pub subscriber: Destination,
    /// Delivery; when it sets any field it replaces the broker's as a whole.
    pub delivery: Option<DeliverySpec>,
}

/// Annotation that names the broker's implementation.
pub const BROKER_CLASS: &str = "eventing.knative.dev/broker.class";

/// Annotation that asks for ordered delivery, of the Kafka broker.
const DELIVERY_ORDER: &str = "kafka.eventing.knative.dev/delivery.order";

impl Broker {
    pub(crate) fn read(document: &mut Fields<'_>, settings: &Settings) -> Self {
        let metadata = Metadata::read(document, true);
        if let Some(class) = metadata.annotations.get(BROKER_CLASS).filter(|class| *class != "MTChannelBasedBroker") {
            document.warning(
                &format!("metadata.annotations[{BROKER_CLASS}]"),
                format!("class {class} is not run here; events are kept in the local log"),
            );
        }
        let (mut delivery, mut config) = (None, None);
        // A broker without a spec is a broker with all defaults.
        if let Some(mut spec) = document.get("spec").and_then(|node| node.fields()) {
            delivery = spec.get("delivery").and_then(|node| DeliverySpec::read(&node, settings.delivery));
            config = spec.get("config").map(|node| node.value.clone());
            spec.finish();
        }
        Self { metadata, delivery, config }
    }
}

impl Trigger {
    pub(crate) fn read(document: &mut Fields<'_>, settings: &Settings) -> Option<Self> {
        let metadata = Metadata::read(document, false);
        let mut spec = document.required("spec")?.fields()?;
        let broker = spec.required_string("broker");
        let subscriber = spec.required("subscriber").and_then(|node| Destination::read(&node));
        let filter = TriggerFilter {
            attributes: spec.get("filter").and_then(|node| read_legacy(&node)),
            filters: spec.items("filters").iter().filter_map(FilterSpec::read).collect(),
        };
        if filter.attributes.is_some() && !filter.filters.is_empty() {
            spec.warning("filter", "it is without effect: `filters` overrides it");
        }
        let delivery = spec.get("delivery").and_then(|node| DeliverySpec::read(&node, settings.delivery));
        spec.refuse(&["brokerRef"], "it is behind the feature cross-namespace-event-links, which is off");
        spec.finish();
        Some(Self { metadata, broker: broker?, filter, subscriber: subscriber?, delivery })
    }

    /// Whether deliveries are made one at a time, in the order of the broker
    /// (annotation `kafka.eventing.knative.dev/delivery.order: ordered`).
    pub fn is_ordered(&self) -> bool {
        self.metadata.annotations.get(DELIVERY_ORDER).is_some_and(|order| order == "ordered")
    }

    /// The delivery in force, given this trigger's broker.
    pub fn delivery_policy(&self, broker: &Broker) -> DeliveryPolicy {
        DeliveryPolicy::effective(self.delivery.as_ref(), broker.delivery.as_ref())
    }

    /// Whether this trigger's own delivery drops a dead letter sink that its broker has.
    pub fn drops_dead_letter_sink(&self, broker: &Broker) -> bool {
        let has_sink =
            |delivery: &Option<DeliverySpec>| delivery.as_ref().is_some_and(|spec| spec.dead_letter_sink.is_some());
        has_sink(&broker.delivery) && self.delivery_policy(broker).dead_letter_sink.is_none()
    }
}

fn read_legacy(node: &Cursor<'_>) -> Option<std::collections::BTreeMap<String, String>> {
    let mut fields = node.fields()?;
    let attributes = fields.string_map("attributes");
    for name in attributes.keys().filter(|name| !super::filters::is_attribute_name(name)) {
        fields.error(
            &format!("attributes[{name}]"),
            format!(
                "invalid key name \"{name}\": must start with a letter and have lower-case letters and digits only"
            ),
        );
    }
    fields.finish();
    Some(attributes)
}
