//! Ping sources: events on a schedule.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use jiff::Timestamp;
use regrove_events::{CloudEvent, Invalid};
use regrove_knative::cron::Schedule;
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
    let mut beat = Beat::new(&source.schedule, now());
    loop {
        let at = match beat.at(now()) {
            Step::Wait(wait) => {
                tokio::select! {
                    () = tokio::time::sleep(wait) => continue,
                    () = stop.cancelled() => return,
                }
            }
            Step::Fire(at) => at,
            Step::Never => return,
        };
        match event(&source, at) {
            Ok(event) => send(&source, &target, &broker, &sender, event).await,
            Err(error) => tracing::error!(source = source.metadata.name, %error, "ping not sent"),
        }
    }
}

/// What a source does at a moment.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Nothing for this long.
    Wait(Duration),
    /// Sends an event; the moment is the present one.
    Fire(Timestamp),
    /// Nothing any more: the schedule has no further moment.
    Never,
}

/// Where a source is in its schedule.
#[derive(Debug)]
struct Beat<'a> {
    schedule: &'a Schedule,
    next: Option<Timestamp>,
}

impl<'a> Beat<'a> {
    fn new(schedule: &'a Schedule, now: Timestamp) -> Self {
        Self { schedule, next: schedule.next_after(now) }
    }

    fn at(&mut self, now: Timestamp) -> Step {
        match self.next {
            None => Step::Never,
            Some(next) if now < next => {
                Step::Wait(Duration::try_from(next.duration_since(now)).unwrap_or_default().min(SLEEP_MAX))
            }
            Some(_) => {
                // Moments that were slept through are one event, not many.
                self.next = self.schedule.next_after(now);
                Step::Fire(now)
            }
        }
    }
}

fn event(source: &PingSource, at: Timestamp) -> Result<CloudEvent, Invalid> {
    let mut builder = CloudEvent::builder(Uuid::new_v4().to_string(), source.event_source(), PING_EVENT_TYPE).time(at);
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
        prefers_reply: false,
        time_to_live: None,
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
        let event = event(&application.ping_sources[0], "2026-03-29T01:00:00Z".parse().unwrap()).unwrap();
        assert_eq!(event.time_text(), Some("2026-03-29T01:00:00Z"));
        assert_eq!(event.ty(), "dev.knative.sources.ping");
        assert_eq!(event.source(), "/apis/v1/namespaces/here/pingsources/tick");
        assert_eq!(event.data_content_type(), Some("application/json"));
        assert_eq!(event.data().map(|data| &data[..]), Some(&b"{\"a\":1}"[..]));
        assert_eq!(event.attribute("purpose").as_deref(), Some("test"));
    }

    /// Drives a source from one moment to another as the runtime would, and returns the moments at which it sends.
    fn fired(schedule: &Schedule, from: &str, until: &str, nap: Option<(&str, &str)>) -> Vec<String> {
        let (mut now, until): (Timestamp, Timestamp) = (from.parse().unwrap(), until.parse().unwrap());
        let nap = nap.map(|(from, to)| (from.parse::<Timestamp>().unwrap(), to.parse::<Timestamp>().unwrap()));
        let mut beat = Beat::new(schedule, now);
        let mut fired = Vec::new();
        while now < until {
            match beat.at(now) {
                Step::Wait(wait) => {
                    assert!(wait > Duration::ZERO && wait <= SLEEP_MAX, "{wait:?}");
                    now += wait;
                }
                Step::Fire(at) => fired.push(at.to_string()),
                Step::Never => break,
            }
            if let Some((asleep, awake)) = nap
                && now >= asleep
                && now < awake
            {
                now = awake;
            }
        }
        fired
    }

    #[test]
    fn it_fires_at_the_moments_of_its_schedule_and_at_no_others() {
        let schedule = Schedule::parse("*/20 9-10 * * *", None).unwrap();
        assert_eq!(
            fired(&schedule, "2026-03-01T09:20:00Z", "2026-03-02T09:30:00Z", None),
            [
                "2026-03-01T09:40:00Z",
                "2026-03-01T10:00:00Z",
                "2026-03-01T10:20:00Z",
                "2026-03-01T10:40:00Z",
                "2026-03-02T09:00:00Z",
                "2026-03-02T09:20:00Z",
            ]
        );
    }

    #[test]
    fn it_follows_the_clocks_of_its_time_zone() {
        let schedule = Schedule::parse("30 6 * * *", Some("Europe/Berlin")).unwrap();
        let days = fired(&schedule, "2026-03-27T12:00:00Z", "2026-03-30T12:00:00Z", None);
        assert_eq!(days, ["2026-03-28T05:30:00Z", "2026-03-29T04:30:00Z", "2026-03-30T04:30:00Z"]);
    }

    #[test]
    fn moments_slept_through_are_one_event() {
        let schedule = Schedule::parse("* * * * *", None).unwrap();
        let nap = ("2026-03-01T00:01:30Z", "2026-03-01T00:07:10Z");
        let minutes = fired(&schedule, "2026-03-01T00:00:00Z", "2026-03-01T00:09:01Z", Some(nap));
        assert_eq!(
            minutes,
            ["2026-03-01T00:01:00Z", "2026-03-01T00:07:10Z", "2026-03-01T00:08:00Z", "2026-03-01T00:09:00Z"]
        );
    }

    #[test]
    fn a_schedule_without_moments_ends() {
        let schedule = Schedule::parse("0 0 30 2 *", None).unwrap();
        assert_eq!(fired(&schedule, "2026-03-01T00:00:00Z", "2027-03-01T00:00:00Z", None), Vec::<String>::new());
    }
}
