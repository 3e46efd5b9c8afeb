//! What can be seen of a running runtime.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::broker::eventing::Eventing;
use crate::clock::now_ms;
use crate::events_out::EventsOut;
use crate::metrics::Metrics;
use crate::samples::{Samples, ServiceSample};
use crate::serving::gateway::Gateway;
use crate::serving::log_book::LogBook;
use crate::serving::route::Route;
use crate::status::{ColdStartRecord, RevisionStatus, ServiceStatus, Status, TriggerStatus};

/// All that is looked at.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) home: PathBuf,
    pub(crate) domain: String,
    pub(crate) gateway_port: u16,
    pub(crate) started_at_ms: i64,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) eventing: Eventing,
    pub(crate) events: EventsOut,
    pub(crate) logs: Arc<LogBook>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) samples: Samples,
}

impl View {
    /// Public URL of a service.
    pub(crate) fn service_url(&self, namespace: &str, name: &str) -> String {
        format!("http://{name}.{namespace}.{}:{}", self.domain, self.gateway_port)
    }

    pub(crate) fn services(&self) -> Vec<ServiceStatus> {
        self.gateway.routes().iter().map(|route| self.service(route)).collect()
    }

    pub(crate) fn status(&self) -> Status {
        let topology = self.eventing.broker.topology();
        let trigger = |queue: &Arc<crate::broker::TriggerQueue>| {
            let spec = queue.spec();
            TriggerStatus {
                trigger: spec.key.to_string(),
                broker: format!("{}/{}", spec.namespace, spec.broker),
                ready: true,
                reason: None,
                subscriber_uri: Some(spec.subscriber.url()),
                dead_letter_sink_uri: spec.dead_letter_sink.as_ref().map(crate::broker::Target::url),
                ordered: spec.ordered,
                in_memory: queue.in_memory(),
            }
        };
        Status {
            at_ms: now_ms(),
            started_at_ms: self.started_at_ms,
            services: self.services(),
            brokers: topology.brokers(),
            triggers: topology.triggers().iter().map(trigger).chain(self.eventing.unready()).collect(),
            ping_sources: self.eventing.ping_sources(),
            events: self.metrics.totals(),
        }
    }

    /// The latest starts from zero of all services, oldest first.
    pub(crate) fn cold_starts(&self) -> Vec<ColdStartRecord> {
        let revisions = self.gateway.routes().into_iter().flat_map(|route| route.revisions());
        let mut starts: Vec<ColdStartRecord> = revisions.flat_map(|revision| revision.cold_starts()).collect();
        starts.sort_by_key(|start| start.at_ms);
        starts
    }

    fn service(&self, route: &Route) -> ServiceStatus {
        let recent = route.recent.summary();
        let shares = route.shares();
        let share = |name: &str| shares.iter().find(|share| share.revision == name).map_or(0.0, |share| share.percent);
        let main = shares.iter().max_by(|one, other| one.percent.total_cmp(&other.percent));
        let mut status = ServiceStatus {
            now: ServiceSample {
                service: route.key(),
                ready: 0,
                starting: 0,
                draining: 0,
                in_flight: 0,
                waiting: 0,
                requests: recent.requests,
                failures: recent.failures,
                p50_ms: recent.p50_ms,
                p99_ms: recent.p99_ms,
            },
            revision: main.map(|share| share.revision.clone()).unwrap_or_default(),
            url: (!route.is_cluster_local()).then(|| self.service_url(&route.namespace, &route.name)),
            cold_starts: 0,
            last_cold_start: None,
            revisions: Vec::new(),
            tags: BTreeMap::new(),
        };
        for revision in route.revisions() {
            let counts = revision.table.counts();
            status.now.ready += counts.ready;
            status.now.starting += counts.starting;
            status.now.draining += counts.draining;
            status.now.in_flight += counts.in_flight;
            status.now.waiting += counts.waiting;
            status.cold_starts += revision.cold_start_count();
            let latest = revision.last_cold_start();
            if latest.as_ref().map(|start| start.at_ms) > status.last_cold_start.as_ref().map(|start| start.at_ms) {
                status.last_cold_start = latest;
            }
            status.revisions.push(RevisionStatus {
                revision: revision.spec.revision.clone(),
                percent: share(&revision.spec.revision),
                proven: revision.has_been_ready(),
                ready: counts.ready,
                starting: counts.starting,
                draining: counts.draining,
            });
        }
        if status.url.is_some() {
            let url = |tag: &String| self.service_url(&route.namespace, &format!("{tag}-{}", route.name));
            status.tags = route.tags().iter().map(|tag| (tag.clone(), url(tag))).collect();
        }
        status
    }
}
