//! Ping sources: events on a schedule.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use regrove_events::{CloudEvent, Invalid};
use regrove_knative::manifest::{PING_EVENT_TYPE, PingData, PingSource};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::attempt::{Parcel, Sender};
use super::ingress::Broker;
use super::target::Target;
use crate::clock::now;

/// Longest sleep, so that a clock that was set anew is noticed.
const SLEEP_MAX: Duration = Duration::from_mins(1);

/// Sends events at the source's times until `stop`. Times that passed while no runtime ran are not made up for.
pub(crate) async fn run(
    source: PingSource,
    target: Target,
    broker: Arc<Broker>,
    sender: Arc<Sender>,
    stop: CancellationToken,
) {
    let mut last = now();
    while let Some(at) = source.schedule.next_after(last) {
        while now() < at {
            let wait = Duration::try_from(at.duration_since(now())).unwrap_or_default().min(SLEEP_MAX);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.cancelled() => return,
            }
        }
        last = at.max(now());
        match event(&source) {
            Ok(event) => send(&source, &target, &broker, &sender, event).await,
            Err(error) => tracing::error!(source = source.metadata.name, %error, "ping not sent"),
        }
    }
}

fn event(source: &PingSource) -> Result<CloudEvent, Invalid> {
    let mut builder =
        CloudEvent::builder(Uuid::new_v4().to_string(), source.event_source(), PING_EVENT_TYPE).time(now());
    for (name, value) in extensions(&source.extensions) {
        builder = builder.extension(name, value);
    }
    let content_type = source.content_type.clone().unwrap_or_else(|| "application/json".to_owned());
    builder = match &source.data {
        PingData::None => builder,
        PingData::Text(text) => builder.data(content_type, text.clone()),
        PingData::Binary(bytes) => builder.data(content_type, bytes.clone()),
    };
    builder.build()
}

fn extensions(extensions: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
    extensions.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

async fn send(source: &PingSource, target: &Target, broker: &Arc<Broker>, sender: &Sender, event: CloudEvent) {
    let name = &source.metadata.name;
    if let Target::Broker { namespace, name: to } = target {
        if let Err(error) = broker.take(namespace, to, event, &HeaderMap::new(), None).await {
            tracing::error!(source = name, %error, "ping not taken");
        }
        return;
    }
    let parcel = Parcel {
        event: &event,
        headers: &[],
        namespace: &source.metadata.namespace,
        wants_reply: false,
        format: None,
        timeout: None,
    };
    match sender.send(broker, target, &parcel).await.result {
        Ok(reply) if reply.status.is_success() => {}
        Ok(reply) => tracing::warn!(source = name, status = %reply.status, "ping not taken"),
        Err(error) => tracing::warn!(source = name, error, "ping not sent"),
    }
}

#[cfg(test)]
mod tests {
    use regrove_knative::manifest::{Application, Source};

    use super::*;

    #[test]
    fn a_ping_is_an_event_of_its_source() {
        let text = "apiVersion: sources.knative.dev/v1\nkind: PingSource\nmetadata: {name: tick, namespace: here}\nspec:\n  \
                    schedule: '*/5 * * * *'\n  contentType: application/json\n  data: '{\"a\":1}'\n  ceOverrides: \
                    {extensions: {purpose: test}}\n  sink: {uri: 'http://127.0.0.1:1'}\n";
        let application = Application::parse(&[Source { name: "ping.yaml", text }]).unwrap();
        let event = event(&application.ping_sources[0]).unwrap();
        assert_eq!(event.ty(), "dev.knative.sources.ping");
        assert_eq!(event.source(), "/apis/v1/namespaces/here/pingsources/tick");
        assert_eq!(event.data_content_type(), Some("application/json"));
        assert_eq!(event.data().map(|data| &data[..]), Some(&b"{\"a\":1}"[..]));
        assert_eq!(event.attribute("purpose").as_deref(), Some("test"));
    }
}
