//! One metric, point after point.

use maud::{Markup, html};

use super::at;

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 120.0;
const LEFT: f64 = 52.0;
const EDGE: f64 = 10.0;

/// Points (x, y) in order, with the range of both.
pub(crate) fn line(title: &str, points: &[(f64, f64)]) -> Markup {
    let finite: Vec<(f64, f64)> = points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
    let range = |pick: fn(&(f64, f64)) -> f64| {
        let values = finite.iter().map(pick);
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
    };
    let ((left, right), (low, high)) = (range(|point| point.0), range(|point| point.1));
    let share = |value: f64, low: f64, high: f64| if high > low { (value - low) / (high - low) } else { 0.5 };
    let x = |value: f64| LEFT + share(value, left, right) * (WIDTH - LEFT - EDGE);
    let y = |value: f64| EDGE + (1.0 - share(value, low, high)) * (HEIGHT - 2.0 * EDGE);
    let path: Vec<String> = finite.iter().map(|&(px, py)| format!("{},{}", at(x(px)), at(y(py)))).collect();
    let said = format!("{title}: {} points from {low:.4} to {high:.4}", finite.len());
    html! {
        figure .chart.small {
            figcaption { (title) }
            @if finite.is_empty() { p .dim { "no points" } } @else {
                svg .line viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(said) {
                    g .axis {
                        @for value in [low, high] {
                            line x1=(at(LEFT)) x2=(at(WIDTH - EDGE)) y1=(at(y(value))) y2=(at(y(value))) {}
                            text x=(at(LEFT - 6.0)) y=(at(y(value) + 4.0)) text-anchor="end" { (short(value)) }
                        }
                    }
                    polyline points=(path.join(" ")) {}
                    @for &(px, py) in &finite {
                        circle cx=(at(x(px))) cy=(at(y(py))) r="2.5" { title { (format!("step {px:.0}: {py}")) } }
                    }
                }
            }
        }
    }
}

fn short(value: f64) -> String {
    if value.abs() >= 100.0 || (value.fract().abs() < f64::EPSILON) {
        format!("{value:.0}")
    } else {
        format!("{value:.3}")
    }
}
