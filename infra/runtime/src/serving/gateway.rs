//! The gateway: one port for all services, told apart by host name.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{Request, Response, StatusCode, header};

use super::answer::plain;
use super::body::Body;
use super::revision::Revision;
use crate::http_server::Answer;

/// Domain of names inside a cluster, beside the short forms `.svc` and none.
const CLUSTER_DOMAIN: &str = ".svc.cluster.local";

/// Finds the revision that a host name means.
#[derive(Debug)]
pub(crate) struct Gateway {
    domain: String,
    /// By namespace and service.
    revisions: BTreeMap<(String, String), Arc<Revision>>,
}

impl Gateway {
    pub(crate) fn new(domain: &str, revisions: BTreeMap<(String, String), Arc<Revision>>) -> Self {
        Self { domain: format!(".{}", domain.trim_matches('.').to_ascii_lowercase()), revisions }
    }

    /// The revision for a `Host` header, its port aside. Names inside the cluster reach every service, public ones only
    /// those that are not cluster-local.
    pub(crate) fn route(&self, host: &str) -> Option<&Arc<Revision>> {
        let name = host
            .rsplit_once(':')
            .map_or(host, |(name, port)| if port.bytes().all(|byte| byte.is_ascii_digit()) { name } else { host });
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let (labels, public) = match name.strip_suffix(&self.domain) {
            Some(labels) => (labels, true),
            None => (name.strip_suffix(CLUSTER_DOMAIN).or(name.strip_suffix(".svc")).unwrap_or(&name), false),
        };
        let (service, namespace) = labels.split_once('.')?;
        let revision = self.revisions.get(&(namespace.to_owned(), service.to_owned()))?;
        (!public || !revision.spec.cluster_local).then_some(revision)
    }

    pub(crate) fn revisions(&self) -> impl Iterator<Item = &Arc<Revision>> {
        self.revisions.values()
    }

    pub(crate) fn revision(&self, namespace: &str, service: &str) -> Option<&Arc<Revision>> {
        self.revisions.get(&(namespace.to_owned(), service.to_owned()))
    }
}

impl Answer for Gateway {
    async fn answer(self: Arc<Self>, request: Request<Body>) -> Response<Body> {
        let host = match request.headers().get(header::HOST) {
            Some(host) => host.to_str().unwrap_or_default(),
            None => request.uri().authority().map_or("", http::uri::Authority::as_str),
        };
        let Some(revision) = self.route(host).cloned() else {
            let example = self.revisions.values().find(|revision| !revision.spec.cluster_local).map_or_else(
                || format!("<service>.<namespace>{}", self.domain),
                |revision| format!("{}.{}{}", revision.spec.name, revision.spec.namespace, self.domain),
            );
            let text = format!("no service answers to host `{host}`; hosts look like {example}");
            return plain(StatusCode::NOT_FOUND, text);
        };
        revision.serve(request).await
    }
}
