//! The tree of a job's spans, for people.

use std::fmt::Write as _;

use regrove_jobs::{Span, SpanStatus};

/// Characters of a whole job's length.
const BAR: usize = 40;

pub(super) fn describe(root: &Span) -> String {
    let mut lines = Vec::new();
    if let Some(trace) = &root.trace_id {
        lines.push(format!("trace {trace}"));
    }
    let width = widest(root, 0);
    draw(root, root, "", "", width, &mut lines);
    lines.join("\n")
}

/// The longest label of the tree with what stands before it.
fn widest(span: &Span, depth: usize) -> usize {
    let own = depth * 3 + label(span).chars().count();
    span.children.iter().map(|child| widest(child, depth + 1)).max().unwrap_or(0).max(own)
}

fn label(span: &Span) -> String {
    format!("{} [{}]", span.name, span.function)
}

fn draw(root: &Span, span: &Span, lead: &str, below: &str, width: usize, lines: &mut Vec<String>) {
    let status = match span.status {
        SpanStatus::Ok => "ok",
        SpanStatus::Error => "error",
        SpanStatus::Running => "running",
    };
    let name = format!("{lead}{}", label(span));
    let pad = " ".repeat(width.saturating_sub(name.chars().count()));
    let seconds = span.seconds.map_or_else(|| "–".to_owned(), |seconds| format!("{seconds:.3} s"));
    let mut line = format!("{name}{pad}  {seconds:>10}  {}  {status}", bar(root, span));
    for (key, value) in &span.attributes {
        // Writing to a String cannot fail.
        write!(line, "  {key}={value}").unwrap_or_default();
    }
    lines.push(line.trim_end().to_owned());
    let count = span.children.len();
    for (at, child) in span.children.iter().enumerate() {
        let (turn, rest) = if at + 1 == count { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        draw(root, child, &format!("{below}{turn}"), &format!("{below}{rest}"), width, lines);
    }
}

/// When the span was at work, within the whole job.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "places of a bar, within 0..=BAR"
)]
fn bar(root: &Span, span: &Span) -> String {
    let (Some(begin), Some(start), Some(total)) = (root.start, span.start, root.seconds) else {
        return " ".repeat(BAR);
    };
    let total = total.max(f64::EPSILON);
    let place = |seconds: f64| ((seconds / total * BAR as f64).round().clamp(0.0, BAR as f64)) as usize;
    let from = place(start.duration_since(begin).as_secs_f64()).min(BAR - 1);
    let to = place(start.duration_since(begin).as_secs_f64() + span.seconds.unwrap_or(0.0)).clamp(from + 1, BAR);
    format!("{}{}{}", "·".repeat(from), "█".repeat(to - from), "·".repeat(BAR - to))
}
