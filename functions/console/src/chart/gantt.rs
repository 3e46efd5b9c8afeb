//! Shards over time: a bar for each attempt, from when it was asked for until the shard was in or asked for again.

use jiff::Timestamp;
use maud::{Markup, html};
use regrove_jobs::JobView;

use super::{at, label, step, ticks};

const WIDTH: f64 = 860.0;
const LEFT: f64 = 88.0;
const RIGHT: f64 = 64.0;
const TOP: f64 = 22.0;
const ROW: f64 = 22.0;
const BAR: f64 = 12.0;
/// Rows that are drawn; the table below the chart has all of them.
pub(crate) const ROWS_MAX: usize = 64;

struct Bar {
    from: f64,
    to: f64,
    kind: &'static str,
    title: String,
}

struct Row {
    name: String,
    bars: Vec<Bar>,
    note: String,
}

/// The chart of a job; `now` is where the bars of what is at work end. `None` before shards were planned.
pub(crate) fn gantt(job: &JobView, now: Timestamp) -> Option<Markup> {
    let start = job.summary.requested_at?;
    if job.shard_list.is_empty() {
        return None;
    }
    let since = |at: Timestamp| at.duration_since(start).as_secs_f64().max(0.0);
    let end = job.summary.ended_at.map_or_else(|| since(now), since).max(1e-3);
    let rows = rows(job, &since, end);
    let span = rows.iter().flat_map(|row| &row.bars).map(|bar| bar.to).fold(end, f64::max);
    let scale = (WIDTH - LEFT - RIGHT) / span;
    let x = |seconds: f64| LEFT + seconds * scale;
    let shown = rows.len().min(ROWS_MAX);
    let height = TOP + ROW * to_f64(shown) + 8.0;
    let every = step(span, 6.0);
    Some(html! {
        figure .chart {
            svg .gantt viewBox=(format!("0 0 {WIDTH} {}", at(height))) role="img" aria-labelledby="gantt-title" {
                title #gantt-title { "Shards of " (job.summary.id) " over " (crate::page::words(span)) }
                g .axis {
                    @for tick in ticks(span, 6.0) {
                        line x1=(at(x(tick))) x2=(at(x(tick))) y1=(at(TOP - 4.0)) y2=(at(height - 4.0)) {}
                        text x=(at(x(tick))) y="12" text-anchor="middle" { (label(tick, every)) " s" }
                    }
                }
                @for (number, row) in rows.iter().take(ROWS_MAX).enumerate() {
                    @let y = TOP + ROW * to_f64(number);
                    text .name x=(at(LEFT - 10.0)) y=(at(y + 14.0)) text-anchor="end" { (row.name) }
                    @for bar in &row.bars {
                        rect class=(format!("bar {}", bar.kind)) x=(at(x(bar.from))) y=(at(y + 4.0))
                            width=(at(((bar.to - bar.from) * scale).max(2.0))) height=(at(BAR)) rx="3" {
                            title { (bar.title) }
                        }
                    }
                    @let last = row.bars.iter().map(|bar| bar.to).fold(0.0, f64::max);
                    text .note x=(at(x(last) + 6.0)) y=(at(y + 14.0)) { (row.note) }
                }
            }
            figcaption .legend {
                span .key.waiting { "waiting for a replica" }
                span .key.trained { "growing trees" }
                span .key.retried { "asked for again" }
                span .key.open { "at work" }
                span .key.step { "aggregate, register" }
                @if rows.len() > ROWS_MAX { span .dim { (rows.len() - ROWS_MAX) " more rows in the table" } }
            }
        }
    })
}

fn rows(job: &JobView, since: &dyn Fn(Timestamp) -> f64, end: f64) -> Vec<Row> {
    let mut rows = Vec::new();
    for shard in &job.shard_list {
        let mut bars = Vec::new();
        let starts: Vec<f64> = shard.attempts.iter().filter_map(|attempt| attempt.requested_at).map(since).collect();
        for (index, &from) in starts.iter().enumerate() {
            let number = index + 1;
            if let Some(&next) = starts.get(index + 1) {
                let title = format!("attempt {number}: nothing came back for {}", crate::page::words(next - from));
                bars.push(Bar { from, to: next, kind: "retried", title });
                continue;
            }
            match shard.trained_at.map(since) {
                Some(done) => {
                    let grew = (done - shard.seconds.unwrap_or(0.0)).max(from);
                    let title = format!("attempt {number}: waited {}", crate::page::words(grew - from));
                    bars.push(Bar { from, to: grew, kind: "waiting", title });
                    let title = format!(
                        "attempt {number}: grew trees {} to {} in {}",
                        shard.trees.from,
                        shard.trees.to,
                        crate::page::words(done - grew)
                    );
                    bars.push(Bar { from: grew, to: done.max(grew), kind: "trained", title });
                }
                None => bars.push(Bar {
                    from,
                    to: end.max(from),
                    kind: "open",
                    title: format!("attempt {number}: not in yet"),
                }),
            }
        }
        let note = if starts.len() > 1 { format!("×{}", starts.len()) } else { String::new() };
        rows.push(Row { name: format!("shard {}", shard.shard), bars, note });
    }
    rows.extend(after_training(job, since));
    rows
}

/// What follows the shards: putting the forest together and telling MLflow.
fn after_training(job: &JobView, since: &dyn Fn(Timestamp) -> f64) -> Vec<Row> {
    let when =
        |name: &str| job.timeline.iter().find(|moment| moment.name == name).and_then(|moment| moment.at).map(since);
    let trained = job.shard_list.iter().filter_map(|shard| shard.trained_at).max().map(since);
    let whole = when("model-aggregated");
    [("aggregate", trained, whole), ("register", whole, when("model-registered"))]
        .into_iter()
        .filter_map(|(name, from, to)| {
            let (from, to) = (from?, to?);
            let title = format!("{name}: {}", crate::page::words(to - from));
            Some(Row { name: name.to_owned(), bars: vec![Bar { from, to, kind: "step", title }], note: String::new() })
        })
        .collect()
}

fn to_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
