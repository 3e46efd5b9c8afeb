//! What runs here, redrawn in place once a second.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use regrove_runtime::{EventTotals, RuntimeEvent, ServiceStatus, Status, StopReason};

use crate::output::table;

/// Time between two drawings.
pub(crate) const REDRAW_INTERVAL: Duration = Duration::from_secs(1);
/// Errors that stay in sight.
const ERRORS_SHOWN: usize = 5;

/// What is drawn, without the terminal.
#[derive(Debug, Default)]
struct Picture {
    /// Requests of each service at the last drawing.
    requests: BTreeMap<String, u64>,
    /// Events at the last drawing.
    events: EventTotals,
    errors: VecDeque<String>,
}

/// The view.
#[derive(Debug)]
pub(crate) struct LiveView {
    bar: ProgressBar,
    picture: Picture,
    drawn: Instant,
}

impl LiveView {
    /// Starts a view at the lower end of the terminal that standard error is.
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        Self { bar, picture: Picture::default(), drawn: Instant::now() }
    }

    /// Takes note of an event; lines of functions are printed above the view.
    pub(crate) fn note(&mut self, event: &RuntimeEvent) {
        if let RuntimeEvent::Log(line) = event {
            self.print(&format!("{}: {}", line.replica, line.text));
        }
        self.picture.note(event);
    }

    /// Prints a line above the view.
    pub(crate) fn print(&self, line: &str) {
        self.bar.println(line);
    }

    /// Keeps a line among the last errors.
    pub(crate) fn error(&mut self, line: String) {
        self.picture.error(line);
    }

    /// Draws what is.
    pub(crate) fn draw(&mut self, status: &Status) {
        let elapsed = self.drawn.elapsed();
        self.drawn = Instant::now();
        self.bar.set_message(self.picture.text(status, elapsed));
        self.bar.tick();
    }

    /// Takes the view away.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl Picture {
    fn note(&mut self, event: &RuntimeEvent) {
        match event {
            RuntimeEvent::EventRetried { trigger, ty, id, error, .. } => {
                self.error(format!("{trigger}: {ty} {id} failed ({error})"));
            }
            RuntimeEvent::EventDead { trigger, ty, id, error, .. } => {
                self.error(format!("{trigger}: {ty} {id} is a dead letter ({error})"));
            }
            RuntimeEvent::ReplicaCrashed { replica, status, .. } => {
                self.error(format!("{replica}: ended with {status}"));
            }
            RuntimeEvent::ReplicaStopped { replica, reason: StopReason::NeverReady, .. } => {
                self.error(format!("{replica}: did not get ready in time"));
            }
            _ => {}
        }
    }

    fn error(&mut self, line: String) {
        // The same again and again would push the others out.
        if self.errors.back() != Some(&line) {
            self.errors.push_back(line);
        }
        while self.errors.len() > ERRORS_SHOWN {
            self.errors.pop_front();
        }
    }

    /// The picture; rates are over the time since the last one.
    fn text(&mut self, status: &Status, elapsed: Duration) -> String {
        let seconds = elapsed.as_secs_f64().max(f64::EPSILON);
        let head = [
            "service",
            "revision",
            "replicas",
            "in flight",
            "waiting",
            "req/s",
            "p50 ms",
            "p99 ms",
            "cold starts",
            "5xx",
        ];
        let rows: Vec<Vec<String>> = status.services.iter().map(|service| self.row(service, seconds)).collect();
        let mut lines = vec![table(&head, rows)];
        let starts = status.services.iter().filter_map(|service| service.last_cold_start.as_ref());
        lines.extend(starts.max_by_key(|start| start.at_ms).map(|start| {
            let split = &start.split;
            format!(
                "last cold start  {}: queue {:.1} + spawn {:.1} + ready {:.1} + first byte {:.1} ms",
                start.replica, split.queue_ms, split.spawn_ms, split.ready_ms, split.first_byte_ms
            )
        }));
        let before = std::mem::replace(&mut self.events, status.events);
        #[expect(clippy::cast_precision_loss, reason = "events of one second")]
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        lines.push(format!(
            "events/s  {:.1} accepted, {:.1} delivered, {:.1} failed, {:.1} dead",
            rate(status.events.accepted, before.accepted),
            rate(status.events.delivered, before.delivered),
            rate(status.events.failed, before.failed),
            rate(status.events.dead, before.dead)
        ));
        lines.extend(self.errors.iter().map(|error| format!("! {}", error.lines().next().unwrap_or_default())));
        lines.join("\n")
    }

    fn row(&mut self, service: &ServiceStatus, seconds: f64) -> Vec<String> {
        let ServiceStatus { now, .. } = service;
        let before = self.requests.insert(now.service.clone(), now.requests).unwrap_or(0);
        #[expect(clippy::cast_precision_loss, reason = "requests of one second")]
        let rate = now.requests.saturating_sub(before) as f64 / seconds;
        let ms = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
        let revision = if service.revisions.iter().filter(|revision| revision.percent > 0.0).count() > 1 {
            let share = service.revisions.iter().find(|revision| revision.revision == service.revision);
            format!("{} {:.0}%", service.revision, share.map_or(100.0, |share| share.percent))
        } else {
            service.revision.clone()
        };
        vec![
            now.service.clone(),
            revision,
            match now.starting {
                0 => now.ready.to_string(),
                starting => format!("{}+{starting}", now.ready),
            },
            now.in_flight.to_string(),
            now.waiting.to_string(),
            format!("{rate:.1}"),
            ms(now.p50_ms),
            ms(now.p99_ms),
            service.cold_starts.to_string(),
            now.failures.to_string(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use regrove_runtime::{ColdStart, ColdStartRecord, RevisionStatus, ServiceSample};

    use super::*;

    fn service(requests: u64, percents: &[f64]) -> ServiceStatus {
        let revision = |(index, percent): (usize, &f64)| RevisionStatus {
            revision: format!("hello-0000{}", index + 1),
            percent: *percent,
            proven: true,
            ready: 1,
            starting: 0,
            draining: 0,
        };
        ServiceStatus {
            now: ServiceSample {
                service: "default/hello".to_owned(),
                ready: 2,
                starting: 1,
                draining: 0,
                in_flight: 3,
                waiting: 4,
                requests,
                failures: 5,
                p50_ms: Some(1.25),
                p99_ms: None,
            },
            revision: "hello-00001".to_owned(),
            url: None,
            cold_starts: 6,
            last_cold_start: Some(ColdStartRecord {
                at_ms: 1,
                service: "default/hello".to_owned(),
                revision: "hello-00001".to_owned(),
                replica: "hello-00001-1".to_owned(),
                split: ColdStart { queue_ms: 0.1, spawn_ms: 1.25, ready_ms: 20.0, first_byte_ms: 3.0 },
            }),
            revisions: percents.iter().enumerate().map(revision).collect(),
            tags: BTreeMap::new(),
        }
    }

    #[test]
    fn services_and_rates_are_shown() {
        let mut picture = Picture::default();
        let half = Duration::from_millis(500);
        let status = |services, accepted| Status {
            services,
            events: EventTotals { accepted, ..EventTotals::default() },
            ..Status::default()
        };
        picture.text(&status(vec![service(10, &[100.0])], 4), half);
        let text = picture.text(&status(vec![service(30, &[70.0, 30.0])], 7), half);
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1], ["default/hello", "hello-00001", "70%", "2+1", "3", "4", "40.0", "1.2", "-", "6", "5"]);
        let start = "last cold start  hello-00001-1: queue 0.1 + spawn 1.2 + ready 20.0 + first byte 3.0 ms";
        assert_eq!(text.lines().nth(2), Some(start));
        assert_eq!(rows[3][..3], ["events/s", "6.0", "accepted,"]);
        let text = picture.text(&status(Vec::new(), 7), half);
        assert!(text.contains("0.0 accepted"), "{text}");
    }

    #[test]
    fn the_last_errors_stay() {
        let mut picture = Picture::default();
        for number in 0..8 {
            for _ in 0..2 {
                picture.note(&RuntimeEvent::ReplicaCrashed {
                    service: "default/hello".to_owned(),
                    replica: format!("hello-{number}"),
                    status: "exit status: 1".to_owned(),
                    backoff_ms: 100,
                });
            }
        }
        let text = picture.text(&Status::default(), Duration::from_secs(1));
        let errors: Vec<&str> = text.lines().filter(|line| line.starts_with('!')).collect();
        assert_eq!(errors.len(), ERRORS_SHOWN);
        assert_eq!(errors[0], "! hello-3: ended with exit status: 1");
    }
}
