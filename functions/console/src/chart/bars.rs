//! Bars: lying ones with names, and standing ones over time.

use maud::{Markup, html};

use super::at;

const WIDTH: f64 = 860.0;
const NAME: f64 = 220.0;
const VALUE: f64 = 64.0;
const ROW: f64 = 20.0;

/// Named values, the largest first; at most `most` of them.
pub(crate) fn rows(title: &str, values: &[(String, f64)], most: usize) -> Markup {
    let mut sorted: Vec<&(String, f64)> = values.iter().collect();
    sorted.sort_by(|one, other| other.1.total_cmp(&one.1));
    let largest = sorted.first().map_or(1.0, |(_, value)| value.max(f64::MIN_POSITIVE));
    let shown: Vec<_> = sorted.iter().take(most).collect();
    let rows = f64::from(u32::try_from(shown.len()).unwrap_or(u32::MAX));
    let scale = (WIDTH - NAME - VALUE) / largest;
    html! {
        figure .chart {
            svg .bars viewBox=(format!("0 0 {WIDTH} {}", at(rows * ROW + 4.0))) role="img" aria-label=(title) {
                @for (number, (name, value)) in (0u32..).zip(&shown) {
                    @let y = f64::from(number) * ROW;
                    text .name x=(at(NAME - 10.0)) y=(at(y + 14.0)) text-anchor="end" { (clipped(name, 30)) title { (name) } }
                    rect .bar.trained x=(at(NAME)) y=(at(y + 3.0)) width=(at((value * scale).max(1.0))) height="14" rx="2" {}
                    text .note x=(at(NAME + value * scale + 6.0)) y=(at(y + 14.0)) { (format!("{value:.4}")) }
                }
            }
            @if sorted.len() > shown.len() { figcaption .dim { "the " (shown.len()) " largest of " (sorted.len()) } }
        }
    }
}

/// Text cut to so many characters.
pub(super) fn clipped(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    text.chars().take(chars.saturating_sub(1)).chain(['…']).collect()
}

/// Counts over time, the latest at the right.
pub(crate) fn columns(title: &str, values: &[f64], from: &str, to: &str) -> Markup {
    const HEIGHT: f64 = 84.0;
    let largest = values.iter().copied().fold(1.0, f64::max);
    let count = f64::from(u32::try_from(values.len().max(1)).unwrap_or(u32::MAX));
    let width = WIDTH / count;
    html! {
        figure .chart {
            svg .columns viewBox=(format!("0 0 {WIDTH} {}", at(HEIGHT + 18.0))) role="img" aria-label=(format!("{title}; at most {largest:.0}")) {
                line .base x1="0" x2=(at(WIDTH)) y1=(at(HEIGHT)) y2=(at(HEIGHT)) {}
                @for (number, value) in (0u32..).zip(values) {
                    @let height = value / largest * (HEIGHT - 4.0);
                    @if *value > 0.0 {
                        rect .bar.trained x=(at(f64::from(number) * width + 1.0)) y=(at(HEIGHT - height.max(2.0)))
                            width=(at((width - 2.0).max(1.0))) height=(at(height.max(2.0))) rx="1.5" {
                            title { (format!("{value:.0}")) }
                        }
                    }
                }
                text x="0" y=(at(HEIGHT + 14.0)) { (from) }
                text x=(at(WIDTH)) y=(at(HEIGHT + 14.0)) text-anchor="end" { (to) }
                text .note x="0" y="10" { "max " (format!("{largest:.0}")) }
            }
        }
    }
}
