//! The container of a revision: what is started, with which environment, and on which port it listens.

use super::fields::{Cursor, Fields};
use super::probe::Probe;

/// Port of a container that declares none.
pub const DEFAULT_PORT: u16 = 8080;

/// Ports of Knative's own sidecar.
pub const RESERVED_PORTS: [u16; 6] = [8008, 8012, 8013, 8022, 9090, 9091];

/// Variables that Knative sets itself.
pub const RESERVED_VARIABLES: [&str; 4] = ["PORT", "K_SERVICE", "K_CONFIGURATION", "K_REVISION"];

/// Protocol between the proxy and the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortProtocol {
    /// HTTP/1.1; the port's name is empty or `http1`.
    Http1,
    /// HTTP/2 with prior knowledge; the port's name is `h2c`.
    H2c,
}

/// Where the value of a variable comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvSource {
    /// Literal text, in which `$(NAME)` refers to a variable defined earlier.
    Value(String),
    /// One key of a `ConfigMap`.
    ConfigMapKey(KeyReference),
    /// One key of a `Secret`.
    SecretKey(KeyReference),
}

/// One key of a `ConfigMap` or `Secret` in the namespace of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyReference {
    /// Name of the object.
    pub name: String,
    /// Key in it.
    pub key: String,
    /// Whether the variable is left out when object or key is missing.
    pub optional: bool,
}

/// One entry of `env`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvVar {
    /// Name of the variable.
    pub name: String,
    /// Its value's source.
    pub source: EnvSource,
    /// Path of the entry in its document, for messages.
    pub path: String,
}

/// Kind of the object that an `envFrom` entry takes all keys of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnvFromKind {
    /// `configMapRef`.
    ConfigMap,
    /// `secretRef`.
    Secret,
}

/// One entry of `envFrom`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvFrom {
    /// Kind of the object.
    pub kind: EnvFromKind,
    /// Name of the object.
    pub name: String,
    /// Put before every key.
    pub prefix: String,
    /// Whether a missing object is no fault.
    pub optional: bool,
    /// Path of the entry in its document, for messages.
    pub path: String,
}

/// The one container of a revision that serves requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Name; empty when the manifest gives none.
    pub name: String,
    /// Image reference, which the runtime maps to a command.
    pub image: String,
    /// Entry point; empty for the image's own.
    pub command: Vec<String>,
    /// Arguments.
    pub args: Vec<String>,
    /// Directory to start in.
    pub working_dir: Option<String>,
    /// Variables.
    pub env: Vec<EnvVar>,
    /// Objects whose keys all become variables; `env` wins over these.
    pub env_from: Vec<EnvFrom>,
    /// Port that the process listens on, the value of `PORT`.
    pub port: u16,
    /// Protocol on that port.
    pub protocol: PortProtocol,
    /// When the container is ready to serve.
    pub readiness: Probe,
    /// When the container has to be started anew.
    pub liveness: Option<Probe>,
    /// What has to succeed before the other probes begin.
    pub startup: Option<Probe>,
}

impl Container {
    /// Reads the serving container of `spec.containers`, the only one or the one with a port.
    pub(crate) fn read_serving(spec: &mut Fields<'_>) -> Option<Self> {
        let list = spec.required("containers")?;
        let items = list.items();
        if items.is_empty() {
            list.error("missing field: exactly one container is needed");
            return None;
        }
        let has_port = |item: &&Cursor<'_>| {
            item.value.get("ports").and_then(|ports| ports.as_array()).is_some_and(|ports| !ports.is_empty())
        };
        let serving: Vec<&Cursor<'_>> =
            if items.len() == 1 { items.iter().collect() } else { items.iter().filter(has_port).collect() };
        let [chosen] = serving.as_slice() else {
            list.error("exactly one of several containers must have `ports`: the one that serves requests");
            return None;
        };
        for sidecar in items.iter().filter(|item| item.path != chosen.path) {
            sidecar.warning("a sidecar container: it is not run here");
        }
        Self::read(chosen)
    }

    fn read(node: &Cursor<'_>) -> Option<Self> {
        let mut fields = node.fields()?;
        let image = fields.required_string("image");
        let name = fields.string("name").unwrap_or_default();
        let (port, protocol) = read_port(&mut fields);
        let probe =
            |fields: &mut Fields<'_>, name: &'static str| fields.get(name).and_then(|probe| Probe::read(&probe, port));
        let readiness = probe(&mut fields, "readinessProbe").unwrap_or_else(|| Probe::default_on(port));
        let container = Self {
            name,
            image: image.clone().unwrap_or_default(),
            command: fields.strings("command"),
            args: fields.strings("args"),
            working_dir: fields.string("workingDir").filter(|path| !path.is_empty()),
            env: read_env(&mut fields),
            env_from: fields.items("envFrom").iter().filter_map(read_env_from).collect(),
            port,
            protocol,
            readiness,
            liveness: probe(&mut fields, "livenessProbe"),
            startup: probe(&mut fields, "startupProbe"),
        };
        fields.accept(&[
            "imagePullPolicy",
            "resources",
            "securityContext",
            "terminationMessagePath",
            "terminationMessagePolicy",
        ]);
        if let Some(mounts) = fields.get("volumeMounts") {
            mounts.warning("volumes are not mounted here: the process sees this machine's files");
        }
        fields.refuse(&["lifecycle", "stdin", "stdinOnce", "tty", "volumeDevices"], "Knative has no such setting");
        fields.finish();
        image.map(|_| container)
    }
}

fn read_port(fields: &mut Fields<'_>) -> (u16, PortProtocol) {
    let ports = fields.items("ports");
    if ports.len() > 1 {
        fields.error("ports", "more than one container port is set; only one is allowed");
    }
    let Some(mut port) = ports.first().and_then(Cursor::fields) else {
        return (DEFAULT_PORT, PortProtocol::Http1);
    };
    let number = match port.get("containerPort") {
        None => DEFAULT_PORT,
        Some(node) => {
            let number = node.bounded(1..=65535).and_then(|value| u16::try_from(value).ok());
            if number.is_some_and(|number| RESERVED_PORTS.contains(&number)) {
                let reserved = RESERVED_PORTS.map(|number| number.to_string()).join(", ");
                node.error(format!("invalid value: {}; {reserved} are reserved", node.value));
            }
            number.unwrap_or(DEFAULT_PORT)
        }
    };
    let protocol = match port.string("name").as_deref() {
        None | Some("" | "http1") => PortProtocol::Http1,
        Some("h2c") => PortProtocol::H2c,
        Some(other) => {
            port.error("name", format!("invalid value: {other}; must be empty, `http1` or `h2c`"));
            PortProtocol::Http1
        }
    };
    if let Some(transport) = port.string("protocol").filter(|transport| transport != "TCP") {
        port.error("protocol", format!("invalid value: {transport}; must be TCP"));
    }
    port.refuse(&["hostIP", "hostPort"], "the host's ports are not the container's to choose");
    port.finish();
    (number, protocol)
}

fn read_env(fields: &mut Fields<'_>) -> Vec<EnvVar> {
    fields.items("env").iter().filter_map(read_variable).collect()
}

fn read_variable(node: &Cursor<'_>) -> Option<EnvVar> {
    let mut fields = node.fields()?;
    let name = fields.required_string("name");
    if let Some(name) = &name {
        if RESERVED_VARIABLES.contains(&name.as_str()) {
            fields.error("name", format!("\"{name}\" is a reserved environment variable"));
        }
        if name.contains(['=', '\0']) {
            fields.error("name", "must not contain '=' or a zero byte");
        }
    }
    let value = fields.string("value");
    let from = fields.get("valueFrom");
    if let (Some(_), Some(from)) = (value.as_ref().filter(|text| !text.is_empty()), &from) {
        from.error("must not be set together with `value`");
    }
    let source = match from {
        None => Some(EnvSource::Value(value.unwrap_or_default())),
        Some(from) => read_value_from(&from),
    };
    fields.finish();
    Some(EnvVar { name: name?, source: source?, path: node.path.clone() })
}

fn read_value_from(node: &Cursor<'_>) -> Option<EnvSource> {
    let mut fields = node.fields()?;
    let config_map = fields.get("configMapKeyRef");
    let secret = fields.get("secretKeyRef");
    fields.refuse(&["fieldRef", "resourceFieldRef"], "only configMapKeyRef and secretKeyRef are allowed");
    fields.finish();
    match (config_map, secret) {
        (Some(from), None) => read_key_reference(&from).map(EnvSource::ConfigMapKey),
        (None, Some(from)) => read_key_reference(&from).map(EnvSource::SecretKey),
        (None, None) => {
            node.error("expected exactly one, got none: configMapKeyRef, secretKeyRef");
            None
        }
        (Some(_), Some(_)) => {
            node.error("expected exactly one, got both: configMapKeyRef, secretKeyRef");
            None
        }
    }
}

fn read_key_reference(node: &Cursor<'_>) -> Option<KeyReference> {
    let mut fields = node.fields()?;
    let name = fields.required_string("name");
    let key = fields.required_string("key");
    let optional = fields.get("optional").and_then(|flag| flag.boolean()).unwrap_or(false);
    fields.finish();
    Some(KeyReference { name: name?, key: key?, optional })
}

fn read_env_from(node: &Cursor<'_>) -> Option<EnvFrom> {
    let mut fields = node.fields()?;
    let prefix = fields.string("prefix").unwrap_or_default();
    let config_map = fields.get("configMapRef");
    let secret = fields.get("secretRef");
    fields.finish();
    let (kind, reference) = match (config_map, secret) {
        (Some(reference), None) => (EnvFromKind::ConfigMap, reference),
        (None, Some(reference)) => (EnvFromKind::Secret, reference),
        (None, None) => {
            node.error("expected exactly one, got none: configMapRef, secretRef");
            return None;
        }
        (Some(_), Some(_)) => {
            node.error("expected exactly one, got both: configMapRef, secretRef");
            return None;
        }
    };
    let mut reference = reference.fields()?;
    let name = reference.required_string("name");
    let optional = reference.get("optional").and_then(|flag| flag.boolean()).unwrap_or(false);
    reference.finish();
    Some(EnvFrom { kind, name: name?, prefix, optional, path: node.path.clone() })
}
