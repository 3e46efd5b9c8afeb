//! Where events are sent.

use std::sync::Arc;

use http::Uri;
use http::uri::Scheme;
use regrove_knative::manifest::{Destination, Reference};
use url::Url;

use super::flows::{parallel_channel, sequence_channel};
use crate::serving::route::Route;

/// Host of brokers in Knative's own URLs.
const BROKER_HOST: &str = "broker-ingress.knative-eventing.svc.cluster.local";

/// What the host of a channel ends with, before its namespace.
const CHANNEL_SUFFIX: &str = "-kn-channel";

/// A destination as the manifests name it, checked for its form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TargetSpec {
    /// A Knative Service, and the path and query to call.
    Service { namespace: String, name: String, path: String },
    /// A Broker of the same runtime.
    Broker { namespace: String, name: String },
    /// Any HTTP server.
    Http(Uri),
}

impl TargetSpec {
    /// Understands a destination in an object of `namespace`; `domain` is that of public host names.
    pub(crate) fn of(destination: &Destination, namespace: &str, domain: &str) -> Result<Self, String> {
        match (&destination.reference, &destination.uri) {
            (Some(reference), uri) => Self::of_reference(reference, uri.as_deref(), namespace, domain),
            (None, Some(uri)) => Self::of_uri(uri, domain),
            (None, None) => Err("a destination needs `ref` or `uri`".to_owned()),
        }
    }

    fn of_reference(reference: &Reference, uri: Option<&str>, namespace: &str, domain: &str) -> Result<Self, String> {
        let namespace = reference.namespace.clone().unwrap_or_else(|| namespace.to_owned());
        let name = reference.name.clone();
        let group = reference.api_version.split_once('/').map_or("", |(group, _)| group);
        let target = match (group, reference.kind.as_str()) {
            // A plain Kubernetes Service of that name is not run here, but a Knative one answers to the same host.
            ("serving.knative.dev" | "", "Service") => Self::Service { namespace, name, path: "/".to_owned() },
            ("eventing.knative.dev", "Broker") => Self::Broker { namespace, name },
            ("flows.knative.dev", "Sequence") => Self::Broker { namespace, name: sequence_channel(&name) },
            ("flows.knative.dev", "Parallel") => Self::Broker { namespace, name: parallel_channel(&name) },
            _ => {
                return Err(format!(
                    "`ref` to {} {} is not supported here: use a Service, a Broker, a Sequence, a Parallel or a `uri`",
                    reference.api_version, reference.kind
                ));
            }
        };
        uri.map_or(Ok(target.clone()), |uri| target.join(uri, domain))
    }

    /// A `uri` beside a `ref` is resolved against the address of what `ref` names (RFC 3986, section 5.2).
    fn join(&self, uri: &str, domain: &str) -> Result<Self, String> {
        let base = match self {
            Self::Service { namespace, name, path } => format!("http://{name}.{namespace}.svc.cluster.local{path}"),
            Self::Broker { namespace, name } => broker_url(namespace, name),
            Self::Http(uri) => uri.to_string(),
        };
        let joined = Url::parse(&base).and_then(|base| base.join(uri));
        let joined = joined.map_err(|error| format!("`{uri}` is not a URI: {error}"))?;
        Self::of_uri(joined.as_str(), domain)
    }

    fn of_uri(text: &str, domain: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|error| format!("`{text}` is not a URI: {error}"))?;
        if uri.scheme() != Some(&Scheme::HTTP) {
            return Err(format!("`{text}`: only http destinations are supported here"));
        }
        let host = uri.host().unwrap_or_default();
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        if host == BROKER_HOST {
            if let Some((namespace, name)) = path.trim_matches('/').split_once('/') {
                return Ok(Self::Broker { namespace: namespace.to_owned(), name: name.to_owned() });
            }
        } else if let Some((name, namespace)) = service_of(host, domain) {
            if let Some(channel) = name.strip_suffix(CHANNEL_SUFFIX) {
                return Ok(Self::Broker { namespace: namespace.to_owned(), name: channel.to_owned() });
            }
            return Ok(Self::Service { namespace: namespace.to_owned(), name: name.to_owned(), path });
        }
        Ok(Self::Http(uri))
    }
}

/// The service and namespace that a host name inside the cluster or under the public domain means. Such names need no
/// resolver here.
fn service_of<'a>(host: &'a str, domain: &str) -> Option<(&'a str, &'a str)> {
    let public = host.strip_suffix(domain).and_then(|rest| rest.strip_suffix('.'));
    let labels = public.or(host.strip_suffix(".svc.cluster.local")).or(host.strip_suffix(".svc"))?;
    labels.split_once('.').filter(|(_, namespace)| !namespace.contains('.'))
}

/// A destination that can be sent to.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Service { route: Arc<Route>, path: String },
    Broker { namespace: String, name: String },
    Http(Uri),
}

impl Target {
    /// URL for records and dead letters.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Service { route, path } => {
                let host = Self::host(route);
                if path == "/" { format!("http://{host}") } else { format!("http://{host}{path}") }
            }
            Self::Broker { namespace, name } => broker_url(namespace, name),
            Self::Http(uri) => uri.to_string(),
        }
    }

    /// Name of a service inside the cluster.
    pub(crate) fn host(route: &Route) -> String {
        format!("{}.{}.svc.cluster.local", route.name, route.namespace)
    }
}

/// URL of a broker as Knative writes it.
pub(crate) fn broker_url(namespace: &str, name: &str) -> String {
    format!("http://{BROKER_HOST}/{namespace}/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(api_version: &str, kind: &str, uri: Option<&str>) -> Result<TargetSpec, String> {
        let reference = Reference {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            name: "thing".to_owned(),
            namespace: None,
        };
        TargetSpec::of(&Destination { reference: Some(reference), uri: uri.map(str::to_owned) }, "here", "localhost")
    }

    fn uri(text: &str) -> Result<TargetSpec, String> {
        TargetSpec::of(&Destination { reference: None, uri: Some(text.to_owned()) }, "here", "localhost")
    }

    fn service(path: &str) -> TargetSpec {
        TargetSpec::Service { namespace: "here".to_owned(), name: "thing".to_owned(), path: path.to_owned() }
    }

    #[test]
    fn references_and_uris_are_understood() {
        let broker = TargetSpec::Broker { namespace: "here".to_owned(), name: "thing".to_owned() };
        assert_eq!(reference("serving.knative.dev/v1", "Service", None), Ok(service("/")));
        assert_eq!(reference("serving.knative.dev/v1", "Service", Some("/dead-letters")), Ok(service("/dead-letters")));
        assert_eq!(reference("serving.knative.dev/v1", "Service", Some("dead?x=1")), Ok(service("/dead?x=1")));
        assert_eq!(reference("eventing.knative.dev/v1", "Broker", None), Ok(broker.clone()));
        assert_eq!(uri("http://thing.here.svc.cluster.local/p?q"), Ok(service("/p?q")));
        assert_eq!(uri("http://thing.here.localhost:8000/"), Ok(service("/")));
        assert_eq!(uri("http://broker-ingress.knative-eventing.svc.cluster.local/here/thing"), Ok(broker));
        assert_eq!(uri("http://127.0.0.1:9/x"), Ok(TargetSpec::Http(Uri::from_static("http://127.0.0.1:9/x"))));
    }

    #[test]
    fn a_uri_beside_a_reference_is_resolved_against_it() {
        let broker = |name: &str| TargetSpec::Broker { namespace: "here".to_owned(), name: name.to_owned() };
        assert_eq!(reference("eventing.knative.dev/v1", "Broker", Some("other")), Ok(broker("other")));
        assert_eq!(reference("eventing.knative.dev/v1", "Broker", Some("/here/other")), Ok(broker("other")));
        assert_eq!(reference("serving.knative.dev/v1", "Service", Some("./a/../b")), Ok(service("/b")));
        let elsewhere = reference("serving.knative.dev/v1", "Service", Some("http://127.0.0.1:9/x"));
        assert_eq!(elsewhere, Ok(TargetSpec::Http(Uri::from_static("http://127.0.0.1:9/x"))));
    }

    #[test]
    fn flows_are_reached_at_their_first_channel() {
        let broker = |name: &str| TargetSpec::Broker { namespace: "here".to_owned(), name: name.to_owned() };
        assert_eq!(reference("flows.knative.dev/v1", "Sequence", None), Ok(broker("thing-kn-sequence-0")));
        assert_eq!(reference("flows.knative.dev/v1", "Parallel", None), Ok(broker("thing-kn-parallel")));
        let channel = uri("http://thing-kn-sequence-0-kn-channel.here.svc.cluster.local");
        assert_eq!(channel, Ok(broker("thing-kn-sequence-0")));
    }

    #[test]
    fn what_cannot_be_sent_to_is_named() {
        assert!(reference("v1", "Pod", None).unwrap_err().contains("Pod"));
        assert!(reference("eventing.knative.dev/v1", "Broker", Some("http://[")).unwrap_err().contains("not a URI"));
        assert!(uri("https://example.com").unwrap_err().contains("only http"));
    }
}
