//! Starting everything, and stopping it in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use regrove_knative::manifest::{Application, PingSource};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::{Broker, IngressConfig, Journal, Sender, Target, TargetSpec, TriggerSpec, Triggers, run_ping};
use crate::config::{Addresses, RuntimeConfig};
use crate::error::{Error, Fault};
use crate::events_out::EventsOut;
use crate::history::History;
use crate::home::{self, HomeLock};
use crate::http_server::{self, listen};
use crate::plan::{Bound, Plan, PlannedTrigger};
use crate::runtime_event::{LogLine, RuntimeEvent};
use crate::serving::gateway::Gateway;
use crate::serving::process::Spawner;
use crate::serving::revision::Surroundings;
use crate::serving::route::Route;
use crate::serving::scaler::Pace;
use crate::serving::services::Services;
use crate::status::{Reloaded, RevisionStatus, ServiceStatus, Status};

/// Added to the grace for what comes after the requests: SIGTERM, and the last writes.
const SHUTDOWN_MARGIN: Duration = Duration::from_secs(5);

/// A running application.
///
/// Dropping it without [`Runtime::shutdown`] kills its processes.
#[derive(Debug)]
pub struct Runtime {
    addresses: Addresses,
    domain: String,
    grace: Duration,
    warnings: Vec<String>,
    passed_over: Vec<(String, String)>,
    /// As started or last reloaded.
    config: Mutex<RuntimeConfig>,
    bound: Bound,
    services: Services,
    gateway: Arc<Gateway>,
    broker: Arc<Broker>,
    events: EventsOut,
    stop: Stop,
    deliveries: TaskTracker,
    replicas: TaskTracker,
    servers: TaskTracker,
    _lock: HomeLock,
}

/// The order in which things stop.
#[derive(Debug)]
struct Stop {
    /// No new deliveries, pings or scaling.
    deliveries: CancellationToken,
    /// No new connections.
    servers: CancellationToken,
    /// No more processes.
    kill: CancellationToken,
}

impl Drop for Stop {
    fn drop(&mut self) {
        for token in [&self.deliveries, &self.servers, &self.kill] {
            token.cancel();
        }
    }
}

struct Sockets {
    gateway: TcpListener,
    ingress: TcpListener,
    record: Option<TcpListener>,
}

impl Sockets {
    fn open(config: &RuntimeConfig) -> Result<Self, Error> {
        Ok(Self {
            gateway: listen("gateway", "--gateway-port", config.gateway)?,
            ingress: listen("broker ingress", "--ingress-port", config.ingress)?,
            record: config.record.map(|address| listen("record", "--record-port", address)).transpose()?,
        })
    }

    fn addresses(&self) -> std::io::Result<Addresses> {
        Ok(Addresses {
            gateway: self.gateway.local_addr()?,
            ingress: self.ingress.local_addr()?,
            record: self.record.as_ref().map(TcpListener::local_addr).transpose()?,
        })
    }
}

impl Runtime {
    /// Starts everything; functions start when they are needed. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`Error`]; nothing is left running then.
    pub async fn start(mut config: RuntimeConfig) -> Result<Self, Error> {
        if !(config.time_scale.is_finite() && config.time_scale >= 1.0) {
            return Err(Error::TimeScale(config.time_scale));
        }
        let lock = home::lock(&config.home)?;
        let sockets = Sockets::open(&config)?;
        let addresses = sockets.addresses().map_err(|source| Error::Home { home: config.home.clone(), source })?;
        // From here on the port is the one that functions can call.
        config.gateway = addresses.gateway;
        let bound = Bound { ingress: addresses.ingress, record: addresses.record };
        let history = Arc::new(History::new(&config.home));
        let plan = Plan::make(&config, bound, &history)?;
        let record = match &sockets.record {
            Some(_) => Some(regrove_record::Store::open(&config.home.join("record"))?),
            None => None,
        };
        let stop = Stop {
            deliveries: CancellationToken::new(),
            servers: CancellationToken::new(),
            kill: CancellationToken::new(),
        };
        let events = EventsOut::new();
        let replicas = TaskTracker::new();
        let surroundings = Surroundings {
            spawner: Spawner::start(Handle::current()).map_err(Error::Thread)?,
            events: events.clone(),
            tasks: replicas.clone(),
            kill: stop.kill.clone(),
        };
        let gateway = Arc::new(Gateway::new(&config.domain));
        let deliveries = TaskTracker::new();
        let services = Services {
            gateway: Arc::clone(&gateway),
            history,
            around: surroundings,
            pace: Pace { scale: config.time_scale, start_at_zero: config.start_at_zero },
            tasks: deliveries.clone(),
            stop: stop.deliveries.clone(),
        };
        services.apply(plan.services)?;
        let broker = eventing(&plan.triggers, plan.brokers, &config, &gateway, &events).await?;
        let runtime = Self {
            addresses,
            domain: config.domain.clone(),
            grace: config.shutdown_grace,
            warnings: plan.warnings,
            passed_over: config.application.passed_over.clone(),
            config: Mutex::new(config.clone()),
            bound,
            services,
            gateway,
            broker,
            events,
            stop,
            deliveries,
            replicas,
            servers: TaskTracker::new(),
            _lock: lock,
        };
        runtime.run_servers(sockets, record);
        runtime.run_deliveries(&config, plan.pings)?;
        Ok(runtime)
    }

    fn run_servers(&self, sockets: Sockets, record: Option<regrove_record::Store>) {
        let stop = &self.stop.servers;
        self.servers.spawn(http_server::serve(sockets.gateway, Arc::clone(&self.gateway), stop.clone()));
        self.servers.spawn(http_server::serve(sockets.ingress, Arc::clone(&self.broker), stop.clone()));
        if let (Some(listener), Some(store)) = (sockets.record, record) {
            let stop = stop.clone();
            let serving = axum::serve(listener, regrove_record::router(store))
                .with_graceful_shutdown(async move { stop.cancelled().await });
            self.servers.spawn(async move {
                if let Err(error) = serving.await {
                    tracing::error!(%error, "the embedded record stopped");
                }
            });
        }
    }

    fn run_deliveries(&self, config: &RuntimeConfig, pings: Vec<(PingSource, TargetSpec)>) -> Result<(), Error> {
        let sender = Arc::new(Sender::new(config.event_bytes_max));
        let stop = &self.stop.deliveries;
        self.broker.triggers().start(&self.broker, &self.events, &sender, &self.deliveries, stop);
        for (source, target) in pings {
            let target = resolve(&self.gateway, &target).map_err(|fault| Error::Faults(vec![fault]))?;
            let (broker, sender) = (Arc::clone(&self.broker), Arc::clone(&sender));
            self.deliveries.spawn(run_ping(source, target, broker, sender, stop.clone()));
        }
        Ok(())
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// URL of a broker's ingress, where events are posted.
    pub fn broker_url(&self, namespace: &str, name: &str) -> String {
        format!("http://{}/{namespace}/{name}", self.addresses.ingress)
    }

    /// Public URL of a service.
    pub fn service_url(&self, namespace: &str, name: &str) -> String {
        format!("http://{name}.{namespace}.{}:{}", self.domain, self.addresses.gateway.port())
    }

    /// What is not wrong, but may not be meant.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// (kind, name) of the objects that are of no kind that is run here.
    pub fn passed_over(&self) -> &[(String, String)] {
        &self.passed_over
    }

    /// Everything that happens from now on. A receiver that lags by more than
    /// [`WATCHER_LAG_MAX`](crate::WATCHER_LAG_MAX) events loses the oldest.
    pub fn watch(&self) -> broadcast::Receiver<RuntimeEvent> {
        self.events.subscribe()
    }

    /// Milliseconds that starts from zero cost the requests which caused them, their own work left out, by
    /// `namespace/service`. Services that had none are left out.
    pub fn cold_starts(&self) -> BTreeMap<String, Vec<f64>> {
        let of = |route: &Arc<Route>| route.revisions().iter().flat_map(|revision| revision.cold_starts()).collect();
        let starts = self.gateway.routes().into_iter().map(|route| (route.key(), of(&route)));
        starts.filter(|(_, starts): &(String, Vec<f64>)| !starts.is_empty()).collect()
    }

    /// The last lines that a service's replicas wrote, revision by revision, oldest first.
    pub fn logs(&self, namespace: &str, service: &str) -> Vec<LogLine> {
        let route = self.gateway.route(namespace, service);
        let revisions = route.map(|route| route.revisions()).unwrap_or_default();
        revisions.iter().flat_map(|revision| revision.tail.lines()).collect()
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        Status { services: self.gateway.routes().iter().map(|route| self.service_status(route)).collect() }
    }

    fn service_status(&self, route: &Route) -> ServiceStatus {
        let recent = route.recent.summary();
        let shares = route.shares();
        let share = |name: &str| shares.iter().find(|share| share.revision == name).map_or(0.0, |share| share.percent);
        let main = shares.iter().max_by(|one, other| one.percent.total_cmp(&other.percent));
        let mut status = ServiceStatus {
            service: route.key(),
            revision: main.map(|share| share.revision.clone()).unwrap_or_default(),
            url: (!route.is_cluster_local()).then(|| self.service_url(&route.namespace, &route.name)),
            ready: 0,
            starting: 0,
            draining: 0,
            in_flight: 0,
            waiting: 0,
            requests: recent.requests,
            failures: recent.failures,
            p50_ms: recent.p50_ms,
            p99_ms: recent.p99_ms,
            cold_starts: 0,
            revisions: Vec::new(),
            tags: BTreeMap::new(),
        };
        for revision in route.revisions() {
            let counts = revision.table.counts();
            status.ready += counts.ready;
            status.starting += counts.starting;
            status.draining += counts.draining;
            status.in_flight += counts.in_flight;
            status.waiting += counts.waiting;
            status.cold_starts += revision.cold_starts().len();
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

    /// Takes changed manifests: a changed template becomes a new revision, which gets traffic once it is ready; requests
    /// under way are not disturbed. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`Error`]; everything stays as it was then.
    pub fn reload(&self, application: Application) -> Result<Reloaded, Error> {
        let mut current = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        let next = RuntimeConfig { application, ..current.clone() };
        let plan = Plan::make(&next, self.bound, &self.services.history)?;
        let revisions = self.services.apply(plan.services)?;
        let (before, after) = (&current.application, &next.application);
        let changed = [
            ("Broker", before.brokers != after.brokers),
            ("Trigger", before.triggers != after.triggers),
            ("Sequence", before.sequences != after.sequences),
            ("Parallel", before.parallels != after.parallels),
            ("PingSource", before.ping_sources != after.ping_sources),
        ];
        let kept = changed.into_iter().filter(|(_, changed)| *changed).map(|(kind, _)| kind).collect();
        *current = next;
        Ok(Reloaded { revisions, kept, warnings: plan.warnings })
    }

    /// Ends at once what still runs: for a second Ctrl-C while [`Runtime::shutdown`] is under way.
    pub fn killer(&self) -> Killer {
        Killer { kill: self.stop.kill.clone() }
    }

    /// Stops in order: no new deliveries, requests under way end, processes end, the journal is closed. What takes
    /// longer than the grace is cut off; events that were not delivered stay in the journal.
    pub async fn shutdown(self) {
        self.stop.deliveries.cancel();
        self.deliveries.close();
        self.replicas.close();
        self.servers.close();
        let kill = self.stop.kill.clone();
        let bounded = |grace| {
            let kill = kill.clone();
            async move {
                tokio::select! {
                    () = tokio::time::sleep(grace) => {}
                    () = kill.cancelled() => {}
                }
            }
        };
        tokio::select! {
            () = self.deliveries.wait() => {}
            () = bounded(self.grace) => {}
        }
        for revision in self.gateway.routes().iter().flat_map(|route| route.revisions()) {
            revision.close(self.grace, "the runtime is shutting down");
        }
        tokio::select! {
            () = self.replicas.wait() => {}
            () = bounded(self.grace + SHUTDOWN_MARGIN) => {}
        }
        kill.cancel();
        self.replicas.wait().await;
        self.stop.servers.cancel();
        tokio::select! {
            () = self.servers.wait() => {}
            () = tokio::time::sleep(SHUTDOWN_MARGIN.min(self.grace)) => {}
        }
        let broker = Arc::clone(&self.broker);
        if tokio::task::spawn_blocking(move || broker.journal.close()).await.is_err() {
            tracing::error!("the event journal was not closed");
        }
    }
}

/// Ends a runtime's processes at once.
#[derive(Debug, Clone)]
pub struct Killer {
    kill: CancellationToken,
}

impl Killer {
    /// Kills all processes; [`Runtime::shutdown`] then has nothing left to wait for.
    pub fn kill(&self) {
        self.kill.cancel();
    }
}

async fn eventing(
    planned: &[PlannedTrigger],
    brokers: BTreeSet<(String, String)>,
    config: &RuntimeConfig,
    gateway: &Gateway,
    events: &EventsOut,
) -> Result<Arc<Broker>, Error> {
    let mut faults = Vec::new();
    let mut specs = Vec::new();
    for trigger in planned {
        match resolve_trigger(gateway, trigger) {
            Ok(spec) => specs.push(spec),
            Err(fault) => faults.push(fault),
        }
    }
    if !faults.is_empty() {
        return Err(Error::Faults(faults));
    }
    let triggers = Arc::new(Triggers::new(specs));
    let waking = Arc::clone(&triggers);
    let journal = Journal::open(&config.home, config.event_retention, move || waking.look_again())?;
    let orphans = journal.keep_triggers(triggers.known()).await?;
    if orphans > 0 {
        tracing::warn!(
            orphans,
            "events waited for triggers that are no longer in the manifests; they are dead letters"
        );
    }
    let ingress = IngressConfig { brokers, event_bytes_max: config.event_bytes_max };
    Ok(Broker::new(ingress, journal, triggers, events.clone()))
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
        replies: trigger.replies.clone(),
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
