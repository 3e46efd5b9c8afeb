//! Durations in Go's notation, as annotations and `ConfigMap`s of Knative Serving have them: `90s`, `1h30m`, `1.5s`.

use std::time::Duration;

/// Units with their length in nanoseconds; the longer of two names that start alike comes first.
const UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 6e10), ("h", 3.6e12)];

/// Longest duration of Go, 2^63 − 1 ns.
const NANOS_MAX: f64 = 9.223_372_036_854_775e18;

/// Reads a Go duration that is not negative; `None` when the text is no such duration.
pub(crate) fn parse_go_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|found: char| !(found.is_ascii_digit() || found == '.'))?;
        let (number, tail) = rest.split_at(end);
        if !number.bytes().any(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let letters = tail.find(|found: char| found.is_ascii_digit() || found == '.').unwrap_or(tail.len());
        let (unit, later) = tail.split_at(letters);
        let (_, length) = UNITS.iter().find(|(name, _)| *name == unit)?;
        nanos += number.parse::<f64>().ok()? * length;
        rest = later;
    }
    (nanos <= NANOS_MAX).then(|| Duration::from_secs_f64(nanos / 1e9))
}

/// Reads a Go duration inside `min..=max`; the error says what is wrong and what would be right.
pub(crate) fn parse_duration_within(text: &str, min: Duration, max: Duration) -> Result<Duration, String> {
    let duration = parse_go_duration(text)
        .ok_or_else(|| format!("invalid value: {text}; must be a Go duration such as 90s or 1m30s"))?;
    if duration < min || duration > max {
        return Err(format!("expected {}s <= {text} <= {}s", min.as_secs(), max.as_secs()));
    }
    Ok(duration)
}

/// Like [`parse_duration_within`], for whole seconds only.
pub(crate) fn parse_whole_seconds(text: &str, min: Duration, max: Duration) -> Result<Duration, String> {
    let duration = parse_duration_within(text, min, max)?;
    if duration.subsec_nanos() != 0 {
        return Err(format!("must be specified with at most second precision, got {text}"));
    }
    Ok(duration)
}
