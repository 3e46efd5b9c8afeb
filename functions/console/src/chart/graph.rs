//! Which event caused which: a column for each step away from the first, a line from cause to effect.

use std::collections::BTreeMap;

use maud::{Markup, html};
use regrove_events::log::job_stream;
use regrove_jobs::Moment;

use super::at;
use super::bars::clipped;

const COLUMN: f64 = 172.0;
const ROW: f64 = 30.0;
const BOX: f64 = 138.0;
const EDGE: f64 = 8.0;
/// Events that are drawn; the timeline has all of them.
const EVENTS_MAX: usize = 80;

/// The page of a job's event.
pub(crate) fn event_href(job: &str, moment: &Moment) -> String {
    format!("/events/{}/{}", job_stream(job), moment.version)
}

/// The graph of a job's events.
pub(crate) fn graph(job: &str, timeline: &[Moment]) -> Markup {
    let shown: Vec<&Moment> = timeline.iter().take(EVENTS_MAX).collect();
    let places = places(&shown);
    let columns = places.values().map(|place| place.0).max().map_or(1, |last| last + 1);
    let rows = places.values().map(|place| place.1).max().map_or(1, |last| last + 1);
    let (width, height) = (f64::from(columns) * COLUMN - (COLUMN - BOX) + 2.0 * EDGE, f64::from(rows) * ROW + EDGE);
    let corner = |place: (u32, u32)| (EDGE + f64::from(place.0) * COLUMN, EDGE + f64::from(place.1) * ROW);
    html! {
        figure .chart {
            div .scroll tabindex="0" role="group" aria-label="Causes and effects" {
                svg .graph viewBox=(format!("0 0 {} {}", at(width), at(height))) width=(at(width)) height=(at(height)) {
                    title { "Which event caused which" }
                    @for moment in &shown {
                        @if let (Some(from), Some(to)) = (moment.caused_by.as_ref().and_then(|id| places.get(id.as_str())), places.get(moment.id.as_str())) {
                            @let ((x1, y1), (x2, y2)) = (corner(*from), corner(*to));
                            @let (x1, y1, y2) = (x1 + BOX, y1 + 11.0, y2 + 11.0);
                            path .edge d=(format!("M{} {}C{} {} {} {} {} {}", at(x1), at(y1), at(x1 + 18.0), at(y1), at(x2 - 18.0), at(y2), at(x2), at(y2))) {}
                        }
                    }
                    @for moment in &shown {
                        @if let Some(place) = places.get(moment.id.as_str()) {
                            @let (x, y) = corner(*place);
                            a href=(event_href(job, moment)) {
                                rect class=(format!("node {}", kind(&moment.name))) x=(at(x)) y=(at(y)) width=(at(BOX)) height="22" rx="5" {}
                                text x=(at(x + 8.0)) y=(at(y + 15.0)) { (clipped(&name(moment), 21)) }
                                title { (moment.text) }
                            }
                        }
                    }
                }
            }
            @if timeline.len() > shown.len() { figcaption .dim { "the first " (shown.len()) " of " (timeline.len()) " events" } }
        }
    }
}

/// Column and row of each event, by its id: one column right of its cause, on the next free row there.
fn places<'a>(shown: &[&'a Moment]) -> BTreeMap<&'a str, (u32, u32)> {
    let mut places: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    let mut used: BTreeMap<u32, u32> = BTreeMap::new();
    for moment in shown {
        let cause = moment.caused_by.as_ref().and_then(|id| places.get(id.as_str())).copied();
        let column = cause.map_or(0, |(column, _)| column + 1);
        let free = used.entry(column).or_default();
        // Beside its cause, if nothing is there yet.
        let row = cause.map_or(*free, |(_, row)| row.max(*free));
        *free = row + 1;
        places.entry(moment.id.as_str()).or_insert((column, row));
    }
    places
}

fn name(moment: &Moment) -> String {
    let number = moment.text.strip_prefix("shard ").and_then(|rest| rest.split(',').next());
    match number {
        Some(number) => format!("{} {number}", moment.name),
        None => moment.name.clone(),
    }
}

fn kind(name: &str) -> &'static str {
    if name == "job-failed" {
        "bad"
    } else if name.ends_with("cancelled") {
        "off"
    } else if name.ends_with("requested") {
        "wish"
    } else {
        "fact"
    }
}
