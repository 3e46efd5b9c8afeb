//! Replicas over time, a band for each function; and latency as colour.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::at;
use crate::runtime::Sample;

const WIDTH: f64 = 860.0;
const NAME: f64 = 110.0;
const BAND: f64 = 34.0;
const CELL: f64 = 20.0;
/// Columns of the heat map.
const SLOTS: u32 = 60;
/// Upper bounds of the colours, in milliseconds; slower answers have the last one.
const HEAT: [f64; 5] = [2.0, 10.0, 50.0, 250.0, 1000.0];

struct Time {
    from: i64,
    scale: f64,
}

impl Time {
    fn new(now_ms: i64, seconds: u32) -> Self {
        let span = i64::from(seconds) * 1000;
        Self { from: now_ms - span, scale: (WIDTH - NAME) / to_f64(span) }
    }

    fn x(&self, at_ms: i64) -> f64 {
        NAME + to_f64((at_ms - self.from).max(0)) * self.scale
    }
}

/// Milliseconds and counts are far below 2^52.
#[expect(clippy::cast_precision_loss, reason = "as said above")]
fn to_f64(number: i64) -> f64 {
    number as f64
}

fn count(number: u64) -> f64 {
    to_f64(i64::try_from(number).unwrap_or(i64::MAX))
}

fn short(service: &str) -> &str {
    service.rsplit('/').next().unwrap_or(service)
}

/// The functions that samples speak of, in order of their names.
fn services(samples: &[Sample]) -> Vec<&str> {
    let mut names: Vec<&str> =
        samples.iter().flat_map(|sample| &sample.services).map(|one| one.service.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// How many replicas each function had.
pub(crate) fn replicas(samples: &[Sample], now_ms: i64, seconds: u32) -> Markup {
    let names = services(samples);
    let time = Time::new(now_ms, seconds);
    let height = f64::from(u32::try_from(names.len()).unwrap_or(u32::MAX)) * BAND + 18.0;
    html! {
        figure .chart {
            svg .replicas viewBox=(format!("0 0 {WIDTH} {}", at(height))) role="img" aria-label=(said(samples, &names)) {
                @for (number, name) in (0u32..).zip(&names) {
                    @let base = f64::from(number + 1) * BAND - 6.0;
                    @let points = points(samples, name, now_ms);
                    @let most = points.iter().map(|point| point.1).max().unwrap_or(0);
                    text .name x=(at(NAME - 10.0)) y=(at(base - 6.0)) text-anchor="end" { (short(name)) }
                    line .base x1=(at(NAME)) x2=(at(WIDTH)) y1=(at(base)) y2=(at(base)) {}
                    @for pair in points.windows(2) {
                        @if let [(from, ready), (to, _)] = pair {
                            @if *ready > 0 {
                                @let high = count(*ready) / count(most.max(1)) * (BAND - 14.0);
                                rect .bar.trained x=(at(time.x(*from))) width=(at((time.x(*to) - time.x(*from)).max(1.0)))
                                    y=(at(base - high)) height=(at(high)) { title { (short(name)) ": " (ready) } }
                            }
                        }
                    }
                    @if most > 0 { text .note x=(at(NAME + 3.0)) y=(at(base - BAND + 16.0)) { "max " (most) } }
                }
                text x=(at(NAME)) y=(at(height - 2.0)) { (seconds / 60) " min ago" }
                text x=(at(WIDTH)) y=(at(height - 2.0)) text-anchor="end" { "now" }
            }
        }
    }
}

/// (time, replicas) of one function, up to now.
fn points(samples: &[Sample], name: &str, now_ms: i64) -> Vec<(i64, u64)> {
    let ready = |sample: &Sample| sample.services.iter().find(|one| one.service == name).map_or(0, |one| one.ready);
    let mut points: Vec<(i64, u64)> = samples.iter().map(|sample| (sample.at_ms, ready(sample))).collect();
    points.dedup_by_key(|point| point.1);
    if let Some(&(_, last)) = points.last() {
        points.push((now_ms, last));
    }
    points
}

fn said(samples: &[Sample], names: &[&str]) -> String {
    let now = |name: &str| {
        samples
            .last()
            .and_then(|sample| sample.services.iter().find(|one| one.service == name))
            .map_or(0, |one| one.ready)
    };
    let parts: Vec<String> = names.iter().map(|name| format!("{} {}", short(name), now(name))).collect();
    format!("Replicas over time; now: {}", parts.join(", "))
}

/// The slowest 99th percentile of each function in each slot of time, as colour.
pub(crate) fn heat(samples: &[Sample], now_ms: i64, seconds: u32) -> Markup {
    let names = services(samples);
    let slot_ms = i64::from(seconds) * 1000 / i64::from(SLOTS);
    let from = now_ms - i64::from(seconds) * 1000;
    let mut cells: BTreeMap<(&str, i64), f64> = BTreeMap::new();
    let mut before: BTreeMap<&str, u64> = BTreeMap::new();
    for sample in samples {
        for one in &sample.services {
            // A percentile stands until the next answer: only slots with answers have a colour.
            let answered = before.insert(one.service.as_str(), one.requests).is_some_and(|known| one.requests > known);
            if let Some(p99) = one.p99_ms.filter(|_| answered && sample.at_ms >= from) {
                let slot = ((sample.at_ms - from) / slot_ms).clamp(0, i64::from(SLOTS) - 1);
                let cell = cells.entry((one.service.as_str(), slot)).or_insert(p99);
                *cell = cell.max(p99);
            }
        }
    }
    let width = (WIDTH - NAME) / f64::from(SLOTS);
    let height = f64::from(u32::try_from(names.len()).unwrap_or(u32::MAX)) * CELL + 18.0;
    html! {
        figure .chart {
            svg .heat viewBox=(format!("0 0 {WIDTH} {}", at(height))) role="img" aria-label="Time to the first byte, 99th percentile, over time" {
                @for (number, name) in (0u32..).zip(&names) {
                    @let y = f64::from(number) * CELL;
                    text .name x=(at(NAME - 10.0)) y=(at(y + 14.0)) text-anchor="end" { (short(name)) }
                    rect .cold x=(at(NAME)) y=(at(y + 2.0)) width=(at(WIDTH - NAME)) height=(at(CELL - 4.0)) {}
                    @for ((_, slot), p99) in cells.range((*name, 0)..=(*name, i64::from(SLOTS))) {
                        rect class=(format!("heat-{}", colour(*p99))) x=(at(NAME + to_f64(*slot) * width)) y=(at(y + 2.0))
                            width=(at(width)) height=(at(CELL - 4.0)) { title { (short(name)) ": " (format!("{p99:.1} ms")) } }
                    }
                }
                text x=(at(NAME)) y=(at(height - 2.0)) { (seconds / 60) " min ago" }
                text x=(at(WIDTH)) y=(at(height - 2.0)) text-anchor="end" { "now" }
            }
            figcaption .legend {
                @for (number, bound) in HEAT.iter().enumerate() { span class=(format!("key key-heat-{number}")) { "≤ " (format!("{bound:.0} ms")) } }
                span class="key key-heat-5" { "slower" }
            }
        }
    }
}

fn colour(p99_ms: f64) -> usize {
    HEAT.iter().position(|bound| p99_ms <= *bound).unwrap_or(HEAT.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::ServiceSample;

    fn sample(at_ms: i64, ready: u64, requests: u64, p99_ms: Option<f64>) -> Sample {
        let one = ServiceSample { service: "regrove/predict".to_owned(), ready, requests, p99_ms };
        Sample { at_ms, services: vec![one] }
    }

    #[test]
    fn what_does_not_change_lasts_until_now() {
        let samples = [sample(1_000, 0, 0, None), sample(2_000, 2, 0, None)];
        assert_eq!(points(&samples, "regrove/predict", 9_000), [(1_000, 0), (2_000, 2), (9_000, 2)]);
        let drawn = replicas(&samples, 9_000, 8).into_string();
        assert!(drawn.contains("now: predict 2") && drawn.contains("max 2"), "{drawn}");
    }

    #[test]
    fn a_slot_is_coloured_by_its_slowest_answers_only() {
        let samples = [
            sample(0, 1, 5, Some(900.0)),
            sample(10_000, 1, 6, Some(1.0)),
            sample(10_100, 1, 7, Some(40.0)),
            sample(50_000, 1, 7, Some(2_000.0)),
        ];
        let drawn = heat(&samples, 60_000, 60).into_string();
        assert_eq!(drawn.matches("<rect class=\"heat-").count(), 1, "{drawn}");
        assert!(drawn.contains("heat-2") && drawn.contains("40.0 ms"), "{drawn}");
    }
}
