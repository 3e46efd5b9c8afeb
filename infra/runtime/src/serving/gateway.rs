//! The gateway: one port for all services, told apart by host name.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use http::{Request, Response, StatusCode, header};

use super::answer::plain;
use super::body::Body;
use super::route::Route;
use crate::http_server::Answer;
use crate::metrics::Metrics;

/// Domain of names inside a cluster, beside the short forms `.svc` and none.
const CLUSTER_DOMAIN: &str = ".svc.cluster.local";

/// Finds the service that a host name means.
#[derive(Debug)]
pub(crate) struct Gateway {
    domain: String,
    /// By namespace and service. None is ever taken out: triggers hold on to theirs, and it may come back.
    routes: RwLock<BTreeMap<(String, String), Arc<Route>>>,
    /// Host names that were found, as clients write them.
    known: RwLock<HashMap<String, Found>>,
    /// Counts how often services have changed: what was found before a change is not kept after it.
    changes: AtomicU64,
    metrics: Arc<Metrics>,
}

/// Where a host name leads: the service, and the tag if the name has one.
pub(crate) type Found = (Arc<Route>, Option<Arc<str>>);

/// Host names kept; clients do not use more, and whoever makes them up gains nothing.
const HOSTS_KNOWN_MAX: usize = 1_000;

impl Gateway {
    pub(crate) fn new(domain: &str, metrics: Arc<Metrics>) -> Self {
        let domain = format!(".{}", domain.trim_matches('.').to_ascii_lowercase());
        Self { domain, routes: RwLock::default(), known: RwLock::default(), changes: AtomicU64::new(0), metrics }
    }

    /// The service for a `Host` header, its port aside, and the tag if the host names one. Names inside the cluster
    /// reach every service, public ones only those that are not cluster-local.
    fn find(&self, host: &str) -> Option<Found> {
        let name = host
            .rsplit_once(':')
            .map_or(host, |(name, port)| if port.bytes().all(|byte| byte.is_ascii_digit()) { name } else { host });
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let (labels, public) = match name.strip_suffix(&self.domain) {
            Some(labels) => (labels, true),
            None => (name.strip_suffix(CLUSTER_DOMAIN).or(name.strip_suffix(".svc")).unwrap_or(&name), false),
        };
        let (first, namespace) = labels.split_once('.')?;
        let visible = |route: &Arc<Route>| !public || !route.is_cluster_local();
        if let Some(route) = self.route(namespace, first) {
            return visible(&route).then_some((route, None));
        }
        // `<tag>-<service>`, both of which may have dashes of their own.
        let tagged = first.match_indices('-').find_map(|(at, _)| {
            let (tag, service) = (first.get(..at)?, first.get(at + 1..)?);
            let route = self.route(namespace, service).filter(|route| route.has_tag(tag))?;
            Some((route, Some(Arc::from(tag))))
        });
        tagged.filter(|(route, _)| visible(route))
    }

    /// The same, remembering the answer.
    pub(crate) fn lookup(&self, host: &str) -> Option<Found> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(host) {
            return Some(found.clone());
        }
        let changes = self.changes();
        drop(known);
        let found = self.find(host)?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if self.changes() == changes && known.len() < HOSTS_KNOWN_MAX {
            known.insert(host.to_owned(), found.clone());
        }
        Some(found)
    }

    /// A number that is another one once services or their tags have changed.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// What to tell who asks for a host that there is not.
    pub(crate) fn unknown_host(&self, host: &str) -> String {
        let example = self.routes().iter().find(|route| !route.is_cluster_local()).map_or_else(
            || format!("<service>.<namespace>{}", self.domain),
            |route| format!("{}.{}{}", route.name, route.namespace, self.domain),
        );
        format!("no service answers to host `{host}`; hosts look like {example}")
    }

    /// Services or their tags have changed.
    pub(crate) fn changed(&self) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        self.changes.fetch_add(1, Ordering::AcqRel);
        known.clear();
    }

    fn all(&self) -> Vec<Arc<Route>> {
        self.routes.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The services in the manifests, by namespace and name.
    pub(crate) fn routes(&self) -> Vec<Arc<Route>> {
        self.all().into_iter().filter(|route| route.exists()).collect()
    }

    pub(crate) fn route(&self, namespace: &str, service: &str) -> Option<Arc<Route>> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        routes.get(&(namespace.to_owned(), service.to_owned())).filter(|route| route.exists()).cloned()
    }

    /// The service of that name, made if it never existed.
    pub(crate) fn route_or_new(&self, namespace: &str, service: &str) -> Arc<Route> {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        let key = (namespace.to_owned(), service.to_owned());
        Arc::clone(routes.entry(key).or_insert_with(|| Arc::new(Route::new(namespace, service, &self.metrics))))
    }
}

impl Answer for Gateway {
    async fn answer(self: Arc<Self>, request: Request<Body>) -> Response<Body> {
        let host = match request.headers().get(header::HOST) {
            Some(host) => host.to_str().unwrap_or_default(),
            None => request.uri().authority().map_or("", http::uri::Authority::as_str),
        };
        let Some((route, tag)) = self.lookup(host) else {
            return plain(StatusCode::NOT_FOUND, self.unknown_host(host));
        };
        route.serve(tag.as_deref(), request).await
    }
}
