//! Charts as inline SVG: no script, no style attributes, colours from the style sheet, words for screen readers.

mod bars;
mod confusion;
mod gantt;
mod graph;
mod line;
mod steps;

pub(crate) use bars::{columns, rows};
pub(crate) use confusion::confusion;
pub(crate) use gantt::gantt;
pub(crate) use graph::{event_href, graph};
pub(crate) use line::line;
pub(crate) use steps::{heat, replicas};

/// A place on a drawing, with as many digits as a screen can show.
fn at(value: f64) -> String {
    if value.is_finite() { format!("{value:.1}") } else { "0".to_owned() }
}

/// A round step so that about `wanted` of them fill `span`.
fn step(span: f64, wanted: f64) -> f64 {
    let raw = span / wanted;
    if !(raw.is_finite() && raw > 0.0) {
        return 1.0;
    }
    let magnitude = 10f64.powf(raw.log10().floor());
    let factor = raw / magnitude;
    let round = if factor <= 1.0 {
        1.0
    } else if factor <= 2.0 {
        2.0
    } else if factor <= 5.0 {
        5.0
    } else {
        10.0
    };
    round * magnitude
}

/// Places for marks from 0 to `span`.
fn ticks(span: f64, wanted: f64) -> Vec<f64> {
    let step = step(span, wanted);
    (0..64).map(|n| f64::from(n) * step).take_while(|&value| value <= span * (1.0 + 1e-9)).collect()
}

/// A mark's label: as many digits as its step needs.
fn label(value: f64, step: f64) -> String {
    if step >= 1.0 {
        format!("{value:.0}")
    } else if step >= 0.1 {
        format!("{value:.1}")
    } else if step >= 0.01 {
        format!("{value:.2}")
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_stay_inside() {
        assert_eq!(ticks(1.0, 5.0), [0.0, 0.2, 0.4, 0.600_000_000_000_000_1, 0.8, 1.0]);
        assert_eq!(ticks(73.0, 4.0), [0.0, 20.0, 40.0, 60.0]);
        assert_eq!(ticks(0.0, 4.0), [0.0]);
        assert_eq!(label(0.05, 0.05), "0.05");
        assert_eq!(label(20.0, 20.0), "20");
    }
}
