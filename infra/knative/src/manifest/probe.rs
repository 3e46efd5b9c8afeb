//! Probes: how to find out whether a container is ready, alive, or started.

use std::time::Duration;

use serde_json::Value;

use super::fields::{Cursor, Fields};

/// Attempts in a row that must fail before a probe with a period counts as failed.
const FAILURE_THRESHOLD_DEFAULT: u32 = 3;

/// What one attempt of a probe does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeAction {
    /// GET; success is a status from 200 to 399.
    Http {
        /// Path with its leading slash.
        path: String,
        /// Port.
        port: u16,
        /// Additional headers, in order.
        headers: Vec<(String, String)>,
    },
    /// A connection that opens.
    Tcp {
        /// Port.
        port: u16,
    },
    /// The gRPC health protocol.
    Grpc {
        /// Port.
        port: u16,
        /// Service to ask for; empty for the server as a whole.
        service: String,
    },
    /// A command that ends with status 0.
    Exec {
        /// Program and arguments.
        command: Vec<String>,
    },
}

/// One probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What is tried.
    pub action: ProbeAction,
    /// Wait before the first attempt.
    pub initial_delay: Duration,
    /// Time between attempts; zero selects Knative's aggressive probing (every 50 ms).
    pub period: Duration,
    /// Bound of one attempt; zero only together with a zero period, where 100 ms apply.
    pub timeout: Duration,
    /// Successes in a row that are needed.
    pub success_threshold: u32,
    /// Failures in a row that are tolerated less one; zero only together with a zero period.
    pub failure_threshold: u32,
}

impl Probe {
    /// The probe of a container that declares none: a TCP connection, probed aggressively.
    pub fn default_on(port: u16) -> Self {
        Self {
            action: ProbeAction::Tcp { port },
            initial_delay: Duration::ZERO,
            period: Duration::ZERO,
            timeout: Duration::ZERO,
            success_threshold: 1,
            failure_threshold: 0,
        }
    }

    /// Whether this probe is tried every 50 ms rather than with a period.
    pub fn is_aggressive(&self) -> bool {
        self.period.is_zero()
    }

    pub(crate) fn read(node: &Cursor<'_>, default_port: u16) -> Option<Self> {
        let mut fields = node.fields()?;
        let action = read_action(node, &mut fields, default_port);
        let initial_delay = read_count(&mut fields, "initialDelaySeconds", 0).unwrap_or(0);
        let period = read_count(&mut fields, "periodSeconds", 0).unwrap_or(0);
        let timeout = read_count(&mut fields, "timeoutSeconds", 1);
        let failure_threshold = read_count(&mut fields, "failureThreshold", 1);
        let success_threshold = read_count(&mut fields, "successThreshold", 1).unwrap_or(1);
        fields.accept(&["terminationGracePeriodSeconds"]);
        if period == 0 {
            for (name, given) in [("timeoutSeconds", timeout), ("failureThreshold", failure_threshold)] {
                if given.is_some() {
                    fields.error(name, "must not be set while periodSeconds is 0 or absent; set periodSeconds as well");
                }
            }
        }
        fields.finish();
        let (timeout, failure_threshold) = if period == 0 {
            (0, 0)
        } else {
            (timeout.unwrap_or(1), failure_threshold.unwrap_or(FAILURE_THRESHOLD_DEFAULT))
        };
        Some(Self {
            action: action?,
            initial_delay: Duration::from_secs(u64::from(initial_delay)),
            period: Duration::from_secs(u64::from(period)),
            timeout: Duration::from_secs(u64::from(timeout)),
            success_threshold,
            failure_threshold,
        })
    }
}

fn read_count(fields: &mut Fields<'_>, name: &'static str, min: i64) -> Option<u32> {
    fields.get(name)?.bounded(min..=i64::from(i32::MAX)).and_then(|value| u32::try_from(value).ok())
}

fn read_action(node: &Cursor<'_>, fields: &mut Fields<'_>, default_port: u16) -> Option<ProbeAction> {
    let actions = ["httpGet", "tcpSocket", "grpc", "exec"].map(|name| fields.get(name));
    if actions.iter().flatten().count() > 1 {
        node.error("expected exactly one, got several: exec, grpc, httpGet, tcpSocket");
        return None;
    }
    match actions {
        [Some(http), _, _, _] => read_http(&http, default_port),
        [_, Some(tcp), _, _] => {
            let mut members = tcp.fields()?;
            let port = read_port(&mut members, default_port);
            members.accept(&["host"]);
            members.finish();
            Some(ProbeAction::Tcp { port: port? })
        }
        [_, _, Some(grpc), _] => {
            let mut members = grpc.fields()?;
            let port = read_port(&mut members, default_port);
            let service = members.string("service").unwrap_or_default();
            members.finish();
            Some(ProbeAction::Grpc { port: port?, service })
        }
        [_, _, _, Some(exec)] => {
            let mut members = exec.fields()?;
            let command = members.strings("command");
            if command.is_empty() {
                members.error("command", "missing field");
            }
            members.finish();
            Some(ProbeAction::Exec { command })
        }
        // Knative's defaulting turns a probe without an action into a TCP probe.
        [None, None, None, None] => Some(ProbeAction::Tcp { port: default_port }),
    }
}

fn read_http(node: &Cursor<'_>, default_port: u16) -> Option<ProbeAction> {
    let mut fields = node.fields()?;
    let path = fields.string("path").filter(|path| !path.is_empty()).unwrap_or_else(|| "/".to_owned());
    let path = if path.starts_with('/') { path } else { format!("/{path}") };
    let port = read_port(&mut fields, default_port);
    if let Some(scheme) = fields.string("scheme").filter(|scheme| !["", "HTTP"].contains(&scheme.as_str())) {
        fields.error("scheme", format!("invalid value: {scheme}; containers are reached over HTTP here"));
    }
    fields.accept(&["host"]);
    let headers = fields
        .items("httpHeaders")
        .iter()
        .filter_map(|header| {
            let mut members = header.fields()?;
            let pair = (members.required_string("name")?, members.string("value").unwrap_or_default());
            members.finish();
            Some(pair)
        })
        .collect();
    fields.finish();
    Some(ProbeAction::Http { path, port: port?, headers })
}

/// The probe's port: absent, 0, or the name of the only port means the container's.
fn read_port(fields: &mut Fields<'_>, default_port: u16) -> Option<u16> {
    let Some(node) = fields.get("port") else {
        return Some(default_port);
    };
    if let Value::String(name) = node.value {
        if name.is_empty() || name == "http1" || name == "h2c" {
            return Some(default_port);
        }
        node.error(format!("invalid value: {name}; must be a number, or the name of the container's port"));
        return None;
    }
    match node.bounded(0..=65535)? {
        0 => Some(default_port),
        port => u16::try_from(port).ok(),
    }
}
