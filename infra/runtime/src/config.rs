//! What a runtime is started with.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use regrove_knative::manifest::Application;
use regrove_store::SharedJournal;

/// Port of the gateway when none is given.
pub const GATEWAY_PORT: u16 = 8000;
/// Port of the broker ingress when none is given.
pub const INGRESS_PORT: u16 = 8081;
/// Port of the embedded record when none is given: the one of MLflow in every URL of the documentation.
pub const RECORD_PORT: u16 = 8989;
/// Port of the console when none is given: the one of Ray's dashboard.
pub const CONSOLE_PORT: u16 = 8265;
/// Largest event that the broker takes, in bytes of the HTTP body: 1 MiB, as most brokers in clusters have it.
pub const EVENT_BYTES_MAX: usize = 1 << 20;
/// How long the broker keeps delivered events when nothing else is said.
pub const EVENT_RETENTION: Duration = Duration::from_hours(24);
/// Name of the broker's journal in Redis.
pub const SHARED_JOURNAL: &str = "broker";
/// Domain of public host names when none is given.
pub const DOMAIN: &str = "localhost";
/// How long requests under way may take to end once the runtime shuts down, when nothing else is said.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

/// Everything that [`Runtime::start`](crate::Runtime::start) needs. [`RuntimeConfig::new`] fills in the defaults.
#[derive(Debug, Clone)]
pub struct RuntimeConfig {
    /// The manifests.
    pub application: Application,
    /// Folder for everything that is kept; made when it is missing. One runtime per folder.
    pub home: PathBuf,
    /// Address of the gateway; port 0 takes a free one, which [`Runtime::addresses`](crate::Runtime::addresses) tells.
    pub gateway: SocketAddr,
    /// Address of the broker ingress; port 0 as above.
    pub ingress: SocketAddr,
    /// Address of the embedded record; `None` starts none.
    pub record: Option<SocketAddr>,
    /// Address at which the service answers whose template is annotated `regrove.io/console: "true"`, whatever host name
    /// a request gives; not listened on when no service is.
    pub console: SocketAddr,
    /// Commands by image, either as the manifest writes it or by its last path segment without tag and digest.
    pub exec: BTreeMap<String, Vec<String>>,
    /// Folders in which a program of the image's name is looked for, in this order.
    pub bin_dirs: Vec<PathBuf>,
    /// Variables for every function. What a manifest sets wins over these. When the embedded record is started and
    /// `MLFLOW_TRACKING_URI` is not among them, the runtime sets it.
    pub env: BTreeMap<String, String>,
    /// Domain of public host names `<service>.<namespace>.<domain>`.
    pub domain: String,
    /// Divides every window, delay and grace period of the autoscaler; 1 is real time, larger is faster.
    pub time_scale: f64,
    /// Whether services start without replicas, whatever their initial scale says. Knative starts one replica of each
    /// to prove that it gets ready; on one machine the first request is soon enough.
    pub start_at_zero: bool,
    /// Largest event that the broker takes, in bytes of the HTTP body.
    pub event_bytes_max: usize,
    /// How long the broker keeps events after all their deliveries succeeded, for `regrove event show` and `replay`; of
    /// more than 50,000 such events the oldest go sooner. Dead letters stay until they are redriven.
    pub event_retention: Duration,
    /// The broker's journal in Redis; without it, it is in a file in `home`. One runtime at a time.
    pub shared_journal: Option<Arc<SharedJournal>>,
    /// How long requests under way may take to end once the runtime shuts down.
    pub shutdown_grace: Duration,
}

impl RuntimeConfig {
    /// The defaults for these manifests, kept in `home`.
    pub fn new(application: Application, home: impl Into<PathBuf>) -> Self {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            application,
            home: home.into(),
            gateway: local(GATEWAY_PORT),
            ingress: local(INGRESS_PORT),
            record: Some(local(RECORD_PORT)),
            console: local(CONSOLE_PORT),
            exec: BTreeMap::new(),
            bin_dirs: Vec::new(),
            env: BTreeMap::new(),
            domain: DOMAIN.to_owned(),
            time_scale: 1.0,
            start_at_zero: true,
            event_bytes_max: EVENT_BYTES_MAX,
            event_retention: EVENT_RETENTION,
            shared_journal: None,
            shutdown_grace: SHUTDOWN_GRACE,
        }
    }

    /// Takes free ports instead of the fixed ones; for tests, and for several runtimes side by side.
    #[must_use]
    pub fn on_free_ports(mut self) -> Self {
        self.gateway.set_port(0);
        self.ingress.set_port(0);
        self.console.set_port(0);
        if let Some(record) = &mut self.record {
            record.set_port(0);
        }
        self
    }
}

/// Where a runtime listens, with the ports that were really bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The gateway.
    pub gateway: SocketAddr,
    /// The broker ingress.
    pub ingress: SocketAddr,
    /// The embedded record, if it was asked for.
    pub record: Option<SocketAddr>,
    /// The console, if the manifests have one.
    pub console: Option<SocketAddr>,
}
