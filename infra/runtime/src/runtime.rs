//! Starting everything, and stopping it in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use regrove_knative::manifest::{Application, Metadata};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::Door;
use crate::broker::eventing::Eventing;
use crate::broker::{Broker, Delivering, Journal, Sender, Topology};
use crate::clock::now_ms;
use crate::config::{Addresses, RuntimeConfig};
use crate::error::Error;
use crate::events_out::EventsOut;
use crate::history::History;
use crate::home::{self, HomeLock};
use crate::http_server::{self, listen};
use crate::metrics::Metrics;
use crate::plan::{Bound, Plan, immutable};
use crate::resolve::{changed_objects, resolve_all};
use crate::runtime_event::{LogLine, RuntimeEvent};
use crate::samples::{self, Samples};
use crate::serving::front::{self, Front};
use crate::serving::gateway::Gateway;
use crate::serving::log_book::LogBook;
use crate::serving::process::Spawner;
use crate::serving::revision::Surroundings;
use crate::serving::scaler::Pace;
use crate::serving::services::Services;
use crate::serving::wire;
use crate::status::{Reloaded, Status};
use crate::view::View;

/// Added to the grace for what comes after the requests: SIGTERM, and the last writes.
const SHUTDOWN_MARGIN: Duration = Duration::from_secs(5);

/// A running application.
///
/// Dropping it without [`Runtime::shutdown`] kills its processes.
#[derive(Debug)]
pub struct Runtime {
    addresses: Addresses,
    grace: Duration,
    warnings: Vec<String>,
    passed_over: Vec<(String, String)>,
    /// As started or last reloaded; held while manifests are taken.
    config: tokio::sync::Mutex<RuntimeConfig>,
    bound: Bound,
    services: Services,
    view: Arc<View>,
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
    console: Option<TcpListener>,
}

impl Sockets {
    fn open(config: &RuntimeConfig) -> Result<Self, Error> {
        Ok(Self {
            gateway: listen("gateway", "--gateway-port", config.gateway)?,
            ingress: listen("broker ingress", "--ingress-port", config.ingress)?,
            record: config.record.map(|address| listen("record", "--record-port", address)).transpose()?,
            console: front::console(&config.application)
                .map(|_| listen("console", "--console-port", config.console))
                .transpose()?,
        })
    }

    fn addresses(&self) -> std::io::Result<Addresses> {
        Ok(Addresses {
            gateway: self.gateway.local_addr()?,
            ingress: self.ingress.local_addr()?,
            record: self.record.as_ref().map(TcpListener::local_addr).transpose()?,
            console: self.console.as_ref().map(TcpListener::local_addr).transpose()?,
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
        let console = front::console(&config.application).cloned();
        let runtime = Self::assemble(config, plan, Made { addresses, bound, history, stop, lock }).await?;
        runtime.run_servers(sockets, record, console.as_ref())?;
        Ok(runtime)
    }

    async fn assemble(config: RuntimeConfig, plan: Plan, made: Made) -> Result<Self, Error> {
        let Made { addresses, bound, history, stop, lock } = made;
        let events = EventsOut::new();
        let metrics = Arc::new(Metrics::new());
        let logs = Arc::new(LogBook::new(events.clone()));
        let (replicas, deliveries) = (TaskTracker::new(), TaskTracker::new());
        let around = Surroundings {
            spawner: Spawner::start(Handle::current()).map_err(Error::Thread)?,
            events: events.clone(),
            logs: Arc::clone(&logs),
            metrics: Arc::clone(&metrics),
            tasks: replicas.clone(),
            main: Handle::current(),
            kill: stop.kill.clone(),
        };
        let gateway = Arc::new(Gateway::new(&config.domain, Arc::clone(&metrics)));
        let services = Services {
            gateway: Arc::clone(&gateway),
            history,
            around,
            pace: Pace { scale: config.time_scale, start_at_zero: config.start_at_zero },
            tasks: deliveries.clone(),
            stop: stop.deliveries.clone(),
        };
        services.apply(plan.services, &config.application.settings.autoscaler)?;
        let topology = Arc::new(Topology::default());
        let waking = Arc::clone(&topology);
        let shared = config.shared_journal.clone();
        let retention = config.event_retention;
        let journal = Journal::open(&config.home, retention, shared, move || waking.look_again()).await?;
        let broker = Broker::new(config.event_bytes_max, journal, topology, events.clone(), Arc::clone(&metrics));
        let delivering = Delivering {
            events: events.clone(),
            metrics: Arc::clone(&metrics),
            sender: Arc::new(Sender::new(config.event_bytes_max)),
            tasks: deliveries.clone(),
            stop: stop.deliveries.clone(),
        };
        let eventing = Eventing::new(broker, delivering);
        eventing.apply(resolve_all(&gateway, plan.brokers, &plan.triggers, plan.unready, plan.pings)?).await?;
        let view = View {
            home: config.home.clone(),
            domain: config.domain.clone(),
            gateway_port: addresses.gateway.port(),
            started_at_ms: now_ms(),
            gateway,
            eventing,
            events,
            logs,
            metrics,
            samples: Samples::default(),
        };
        Ok(Self {
            addresses,
            grace: config.shutdown_grace,
            warnings: plan.warnings,
            passed_over: config.application.passed_over.clone(),
            config: tokio::sync::Mutex::new(config),
            bound,
            services,
            view: Arc::new(view),
            stop,
            deliveries,
            replicas,
            servers: TaskTracker::new(),
            _lock: lock,
        })
    }

    fn run_servers(
        &self,
        sockets: Sockets,
        record: Option<regrove_record::Store>,
        console: Option<&Metadata>,
    ) -> Result<(), Error> {
        let stop = &self.stop.servers;
        let door = Arc::new(Door::new(Arc::clone(&self.view), stop.clone()));
        self.servers.spawn(wire::serve(sockets.gateway, &self.view.gateway, stop).map_err(Error::Thread)?);
        self.servers.spawn(http_server::serve(sockets.ingress, door, stop.clone()));
        self.servers.spawn(samples::take(Arc::clone(&self.view), stop.clone()));
        if let (Some(listener), Some(service)) = (sockets.console, console) {
            let front = Front::new(Arc::clone(&self.view.gateway), service);
            self.servers.spawn(http_server::serve(listener, Arc::new(front), stop.clone()));
        }
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

    /// Base URL of what can be asked about this runtime; `docs/runtime-api.md` says what.
    pub fn api_url(&self) -> String {
        format!("http://{}{}", self.addresses.ingress, crate::admin::BASE)
    }

    /// Public URL of a service.
    pub fn service_url(&self, namespace: &str, name: &str) -> String {
        self.view.service_url(namespace, name)
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
        self.view.events.subscribe()
    }

    /// Milliseconds that starts from zero cost the requests which caused them, their own work left out, by
    /// `namespace/service`. Services that had none are left out.
    pub fn cold_starts(&self) -> BTreeMap<String, Vec<f64>> {
        let mut starts: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for start in self.view.cold_starts() {
            starts.entry(start.service).or_default().push(start.split.start_ms());
        }
        starts
    }

    /// The last lines that a service's replicas wrote, oldest first.
    pub fn logs(&self, namespace: &str, service: &str) -> Vec<LogLine> {
        let service = format!("{namespace}/{service}");
        self.view.logs.lines(0, usize::MAX, |line| line.service == service)
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        self.view.status()
    }

    /// Takes changed manifests: a changed template becomes a new revision, which gets traffic once it is ready; brokers,
    /// triggers, flows and sources become what they are to be. Autoscalers go on with the numbers of a changed
    /// `config-autoscaler`, as in a cluster; `config-defaults` hold for new revisions. Requests and deliveries under way are not disturbed.
    ///
    /// # Errors
    /// [`Error`]; everything stays as it was then, unless it is that the journal cannot be written.
    pub async fn reload(&self, application: Application) -> Result<Reloaded, Error> {
        let mut current = self.config.lock().await;
        let next = RuntimeConfig { application, ..current.clone() };
        let changed = immutable(&current.application, &next.application);
        if !changed.is_empty() {
            return Err(Error::Faults(changed));
        }
        let plan = Plan::make(&next, self.bound, &self.services.history)?;
        let applied = self.services.apply(plan.services, &next.application.settings.autoscaler)?;
        let wanted = resolve_all(&self.view.gateway, plan.brokers, &plan.triggers, plan.unready, plan.pings)?;
        self.view.eventing.apply(wanted).await?;
        let objects = changed_objects(&current.application, &next.application);
        let mut warnings = plan.warnings;
        if current.application.settings.serving != next.application.settings.serving {
            warnings.extend(applied.unchanged);
        }
        *current = next;
        Ok(Reloaded { revisions: applied.new, objects, warnings })
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
        for revision in self.view.gateway.routes().iter().flat_map(|route| route.revisions()) {
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
        let broker = Arc::clone(&self.view.eventing.broker);
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

/// What is made before a runtime.
struct Made {
    addresses: Addresses,
    bound: Bound,
    history: Arc<History>,
    stop: Stop,
    lock: HomeLock,
}
