//! The work of a job as a tree of spans, from its events alone: no collector is needed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use regrove_events::{CloudEvent, Event, Job, JobState, job};
use serde::{Deserialize, Serialize};

/// How a span ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpanStatus {
    /// Well.
    Ok,
    /// Not well, or not at all.
    Error,
    /// It has not ended.
    Running,
}

/// A piece of work and the pieces that it is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// What is done, such as `shard 3, attempt 2`.
    pub name: String,
    /// The function that does it; `regrove` for the job as a whole.
    pub function: String,
    /// When it began.
    pub start: Option<Timestamp>,
    /// When it ended; `None` while it runs.
    pub end: Option<Timestamp>,
    /// Seconds from start to end, or to now.
    pub seconds: Option<f64>,
    /// How it ended.
    pub status: SpanStatus,
    /// Id of the event that began it.
    pub event: Option<String>,
    /// The W3C trace that the event belongs to.
    pub trace_id: Option<String>,
    /// What else is known, by name.
    pub attributes: BTreeMap<String, String>,
    /// The parts, in order of their starts.
    pub children: Vec<Span>,
}

/// What all spans of a trace need.
struct Clock {
    now: Timestamp,
    job_end: Option<Timestamp>,
}

impl Clock {
    /// A span that the events `from` and `to` bound.
    fn span(&self, name: String, function: &str, from: Option<&CloudEvent>, to: Option<Timestamp>) -> Span {
        let start = from.and_then(job::said_at);
        // What the job's end cut off ended then, and not well.
        let cut = to.is_none().then_some(self.job_end).flatten();
        let status = match (to, cut) {
            (Some(_), _) => SpanStatus::Ok,
            (None, Some(_)) => SpanStatus::Error,
            (None, None) => SpanStatus::Running,
        };
        let end = to.or(cut);
        Span {
            name,
            function: function.to_owned(),
            start,
            end,
            seconds: start.map(|start| end.unwrap_or(self.now).duration_since(start).as_secs_f64()),
            status,
            event: from.map(|event| event.id().to_owned()),
            trace_id: from.and_then(trace_id),
            attributes: BTreeMap::new(),
            children: Vec::new(),
        }
    }
}

/// The trace that an event belongs to: the second part of W3C's `traceparent`.
pub fn trace_id(event: &CloudEvent) -> Option<String> {
    let parent = event.attribute("traceparent")?;
    let id = parent.split('-').nth(1)?;
    (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
}

/// The spans of a job. `serving` holds the events of the model name that its version belongs to.
pub fn trace(id: &str, history: &[CloudEvent], serving: &[CloudEvent], now: Timestamp) -> Span {
    let job = job::replay(history);
    let clock = Clock { now, job_end: job.ended_at };
    let loaded = job.registered.as_ref().and_then(|registered| {
        serving.iter().find(|event| {
            matches!(Event::read(event), Ok(Event::ModelLoaded(loaded)) if loaded.version == registered.version)
        })
    });
    let first = history.first();
    let end = loaded.and_then(job::said_at).or(job.ended_at);
    let mut root = clock.span(format!("job {id}"), "regrove", first, end);
    if matches!(job.state, JobState::Failed | JobState::Cancelled) {
        root.status = SpanStatus::Error;
    }
    root.attributes.insert("state".to_owned(), job.state.to_string());
    root.children.extend(opening(&clock, &job, history));
    root.children.extend(shards(&clock, history));
    root.children.extend(after_shards(&clock, &job, history));
    if let Some(event) = history.iter().find(|event| matches!(Event::read(event), Ok(Event::ModelRegistered(_)))) {
        let at = loaded.and_then(job::said_at);
        let mut span = clock.span("load".to_owned(), "load-model", Some(event), at);
        if at.is_none() {
            // The job has ended, its model not yet loaded; nothing cut this off.
            (span.end, span.status) = (None, SpanStatus::Running);
        }
        root.children.push(span);
    }
    root
}

/// From the request to the first shard request, or to the refusal.
fn opening(clock: &Clock, job: &Job, history: &[CloudEvent]) -> Option<Span> {
    let request = history.iter().find(|event| matches!(Event::read(event), Ok(Event::TrainRequested(_))))?;
    let planned = history.iter().find(|event| matches!(Event::read(event), Ok(Event::ShardRequested(_))));
    let mut span =
        clock.span("read data, plan shards".to_owned(), "aggregate", Some(request), planned.and_then(job::said_at));
    if let Some(dataset) = &job.dataset {
        span.attributes.insert("dataset".to_owned(), dataset.name.clone());
        span.attributes.insert("n_samples".to_owned(), dataset.n_samples.to_string());
    }
    Some(span)
}

/// A span per attempt at each shard. An attempt ends when the shard is in or when the next attempt begins.
fn shards(clock: &Clock, history: &[CloudEvent]) -> Vec<Span> {
    let mut requests: BTreeMap<u32, Vec<&CloudEvent>> = BTreeMap::new();
    let mut trained = BTreeMap::new();
    for event in history {
        match Event::read(event) {
            Ok(Event::ShardRequested(request)) => requests.entry(request.shard).or_default().push(event),
            Ok(Event::ShardTrained(fact)) => {
                trained.entry(fact.shard).or_insert((event, fact));
            }
            _ => {}
        }
    }
    let mut spans = Vec::new();
    for (shard, attempts) in requests {
        let mut link: Option<&str> = None;
        for (index, &request) in attempts.iter().enumerate() {
            let next = attempts.get(index + 1).copied();
            let fact = trained.get(&shard).filter(|_| next.is_none());
            let end = fact.map(|(event, _)| *event).or(next).and_then(job::said_at);
            let mut span =
                clock.span(format!("shard {shard}, attempt {}", index + 1), "train-shard", Some(request), end);
            if next.is_some() {
                span.status = SpanStatus::Error;
            }
            if let Some(link) = link {
                span.attributes.insert("retries".to_owned(), link.to_owned());
            }
            if let Some((_, fact)) = fact {
                span.attributes.insert("grow_seconds".to_owned(), format!("{:.3}", fact.seconds));
                span.attributes.insert("trees".to_owned(), format!("{}..{}", fact.trees.from, fact.trees.to));
                span.attributes.extend(fact.worker.clone().map(|worker| ("worker".to_owned(), worker)));
            }
            link = Some(request.id());
            spans.push(span);
        }
    }
    spans.sort_by_key(|span| span.start);
    spans
}

/// Merging and registering.
fn after_shards(clock: &Clock, job: &Job, history: &[CloudEvent]) -> Vec<Span> {
    let last = |is: fn(&Event) -> bool| history.iter().rev().find(|event| Event::read(event).is_ok_and(|it| is(&it)));
    let mut spans = Vec::new();
    let all_in = !job.shards.is_empty() && job.shards_trained() == job.shards.len();
    if all_in && let Some(event) = last(|it| matches!(it, Event::ShardTrained(_))) {
        spans.push(clock.span("merge and evaluate".to_owned(), "aggregate", Some(event), job.aggregated_at));
    }
    if let Some(event) = last(|it| matches!(it, Event::ModelAggregated(_))) {
        let mut span = clock.span("register".to_owned(), "register", Some(event), job.registered_at);
        if let Some(registered) = &job.registered {
            span.attributes.insert("model".to_owned(), registered.uri.clone());
        }
        spans.push(span);
    }
    spans
}
