//! Which brokers there are and which triggers hang on them; changed as a whole.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::metrics::counter::Counter;

use super::queue::{TriggerQueue, TriggerSpec};
use super::upkeep::KnownTrigger;
use crate::metrics::Metrics;

/// A broker, or a channel of a flow.
#[derive(Debug)]
pub(crate) struct BrokerEntry {
    pub(crate) triggers: Vec<Arc<TriggerQueue>>,
    pub(crate) accepted: Counter,
}

#[derive(Debug, Default)]
struct Table {
    /// By `namespace/name`.
    brokers: HashMap<String, Arc<BrokerEntry>>,
    /// In the order of the manifests.
    triggers: Vec<Arc<TriggerQueue>>,
}

/// The brokers and triggers of a runtime.
#[derive(Debug, Default)]
pub(crate) struct Topology {
    table: RwLock<Arc<Table>>,
}

impl Topology {
    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn broker(&self, namespace: &str, name: &str) -> Option<Arc<BrokerEntry>> {
        self.table().brokers.get(&format!("{namespace}/{name}")).cloned()
    }

    /// All brokers, as `namespace/name`, in order.
    pub(crate) fn brokers(&self) -> Vec<String> {
        let names: BTreeSet<String> = self.table().brokers.keys().cloned().collect();
        names.into_iter().collect()
    }

    pub(crate) fn triggers(&self) -> Vec<Arc<TriggerQueue>> {
        self.table().triggers.clone()
    }

    /// All triggers, for other processes.
    pub(crate) fn known(&self) -> Vec<KnownTrigger> {
        let known = |queue: &Arc<TriggerQueue>| {
            let spec = queue.spec();
            KnownTrigger { key: Arc::clone(&spec.key), namespace: spec.namespace.clone(), broker: spec.broker.clone() }
        };
        self.table().triggers.iter().map(known).collect()
    }

    /// Has every trigger look into the journal again.
    pub(crate) fn look_again(&self) {
        for queue in &self.table().triggers {
            queue.look_again();
        }
    }

    /// Makes brokers and triggers what they are to be. A trigger of a known name keeps what it has under way. Returns the
    /// new ones, which somebody has to deliver for; those that are no more are told so.
    pub(crate) fn change(
        &self,
        brokers: &BTreeSet<(String, String)>,
        specs: Vec<TriggerSpec>,
        metrics: &Metrics,
    ) -> Vec<Arc<TriggerQueue>> {
        let before = self.table();
        let mut next = Table::default();
        let mut new = Vec::new();
        let mut by_broker: HashMap<String, Vec<Arc<TriggerQueue>>> = HashMap::new();
        for spec in specs {
            let broker = format!("{}/{}", spec.namespace, spec.broker);
            let queue = if let Some(known) = before.triggers.iter().find(|queue| queue.key == spec.key) {
                known.change(spec);
                Arc::clone(known)
            } else {
                let metrics = metrics.trigger(&spec.key);
                let queue = Arc::new(TriggerQueue::new(spec, metrics));
                new.push(Arc::clone(&queue));
                queue
            };
            by_broker.entry(broker).or_default().push(Arc::clone(&queue));
            next.triggers.push(queue);
        }
        for (namespace, name) in brokers {
            let key = format!("{namespace}/{name}");
            let triggers = by_broker.remove(&key).unwrap_or_default();
            let entry = BrokerEntry { triggers, accepted: metrics.broker(&key) };
            next.brokers.insert(key, Arc::new(entry));
        }
        let gone = |queue: &&Arc<TriggerQueue>| !next.triggers.iter().any(|kept| kept.key == queue.key);
        let gone: Vec<Arc<TriggerQueue>> = before.triggers.iter().filter(gone).cloned().collect();
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        for queue in gone {
            queue.gone.cancel();
        }
        new
    }
}
