//! The console's own port: whatever host name a request gives, it goes to one service.

use std::sync::Arc;

use http::{Request, Response, StatusCode};
use regrove_knative::manifest::{Application, Metadata, Service};

use super::answer::plain;
use super::body::Body;
use super::gateway::Gateway;
use crate::http_server::Answer;

/// Annotation of the template of the service that answers at the console's port.
const CONSOLE: &str = "regrove.io/console";

/// The first service that is annotated as the console.
pub(crate) fn console(application: &Application) -> Option<&Metadata> {
    let annotated = |service: &&Service| service.template.annotations.get(CONSOLE).is_some_and(|value| value == "true");
    application.services.iter().find(annotated).map(|service| &service.metadata)
}

/// Answers for one service.
#[derive(Debug)]
pub(crate) struct Front {
    gateway: Arc<Gateway>,
    namespace: String,
    service: String,
}

impl Front {
    pub(crate) fn new(gateway: Arc<Gateway>, service: &Metadata) -> Self {
        Self { gateway, namespace: service.namespace.clone(), service: service.name.clone() }
    }
}

impl Answer for Front {
    async fn answer(self: Arc<Self>, request: Request<Body>) -> Response<Body> {
        if let Some(route) = self.gateway.route(&self.namespace, &self.service) {
            return route.serve(None, request).await;
        }
        let text = format!("the service {}/{} is no longer in the manifests", self.namespace, self.service);
        plain(StatusCode::NOT_FOUND, text)
    }
}
