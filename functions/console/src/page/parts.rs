//! Small parts that pages share.

use jiff::Timestamp;
use maud::{Markup, html};
use regrove_events::{JobState, model_name};
use regrove_jobs::Summary;
use serde_json::Value;

use crate::respond::{NOTICE, Wants};

/// Characters of a hash that are shown.
const HASH_CHARS: usize = 12;

/// A time: the day only where it matters little, all of it on hover.
pub(super) fn time(at: Option<Timestamp>) -> Markup {
    html! {
        @match at {
            Some(at) => time datetime=(at) title=(at) { (at.strftime("%b %d %H:%M:%S")) },
            None => span .dim { "–" },
        }
    }
}

/// Seconds as people read them.
pub(super) fn seconds(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "–".to_owned();
    }
    match seconds {
        s if s < 0.001 => format!("{:.0} µs", s * 1e6),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 60.0 => format!("{s:.2} s"),
        s if s < 3600.0 => format!("{:.0} min {:02.0} s", (s / 60.0).floor(), s % 60.0),
        s => format!("{:.0} h {:02.0} min", (s / 3600.0).floor(), (s % 3600.0 / 60.0).floor()),
    }
}

/// Seconds that may not be known.
pub(super) fn maybe_seconds(given: Option<f64>) -> String {
    given.map_or_else(|| "–".to_owned(), seconds)
}

/// A number with thin spaces between thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// A metric's value with as many digits as are worth reading.
pub(super) fn metric(value: f64) -> String {
    if value.fract().abs() < f64::EPSILON && value.abs() < 1e15 { format!("{value:.0}") } else { format!("{value:.4}") }
}

/// A JSON value in one line; texts without their quotes.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "–".to_owned(),
        other => other.to_string(),
    }
}

/// The beginning of a hash, all of it on hover.
pub(super) fn hash(sha256: &str) -> Markup {
    let short: String = sha256.chars().take(HASH_CHARS).collect();
    html! { code title=(sha256) { (short) } }
}

/// A job's state: colour and word.
pub(super) fn state(state: JobState) -> Markup {
    html! { span class=(format!("state state-{state}")) { (state) } }
}

/// How far a job has come.
pub(super) fn progress(job: &Summary) -> Markup {
    html! {
        @if job.trees > 0 {
            span .progress {
                progress max=(job.trees) value=(job.trees_trained) aria-label=(format!("trees of {}", job.id)) {}
                span .num { (job.trees_trained) "/" (job.trees) }
            }
        } @else { span .dim { "–" } }
    }
}

/// The path of a model's page.
pub(super) fn model_href(name: &str) -> String {
    format!("/models/{}", model_name::segment(name))
}

/// Says that a list is empty, and what fills it.
pub(super) fn empty(title: &str, hint: &Markup) -> Markup {
    html! { div .empty { p .empty-title { (title) } p { (hint) } } }
}

/// Says what cannot be shown, and why.
pub(super) fn unavailable(reason: &str) -> Markup {
    html! { p .callout.warn { (reason) } }
}

/// A row of a list of facts.
pub(super) fn fact(name: &str, value: &Markup) -> Markup {
    html! { div .fact { dt { (name) } dd { (value) } } }
}

/// What an order led to, after the browser was sent back.
pub(super) fn notice(wants: &Wants) -> Markup {
    let query = wants.here.split_once('?').map_or("", |(_, query)| query);
    let code = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == NOTICE);
    let text = code.and_then(|(_, code)| {
        Some(match &*code {
            "asked" => "The job is asked for.",
            "known" => "The same job was there before; nothing was asked for again.",
            "stopping" => "The job is asked to stop.",
            "stopped" => "The job was stopped.",
            "retried" => "The job is asked for once more, as this new job.",
            "replayed" => "The job's events were said to the broker again.",
            "redrive" => "Delivered again to the triggers that failed on it.",
            "discard" => "Let go of.",
            "loaded" => "The version is served.",
            "traffic" => "The traffic is split as you said.",
            _ => return None,
        })
    });
    html! { @if let Some(text) = text { p .callout.good role="status" { (text) } } }
}

/// JSON over several lines.
pub(super) fn json(value: &Value) -> Markup {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    html! { pre .json tabindex="0" aria-label="JSON" { code { (text) } } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            [0.000_02, 0.0123, 1.5, 75.0, 7_260.0].map(seconds),
            ["20 µs", "12 ms", "1.50 s", "1 min 15 s", "2 h 01 min"]
        );
        assert_eq!(seconds(f64::NAN), "–");
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1\u{202f}000", "1\u{202f}234\u{202f}567"]);
        assert_eq!([0.912_34, 75.0, -2.5].map(metric), ["0.9123", "75", "-2.5000"]);
    }
}
