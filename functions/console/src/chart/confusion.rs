//! Which classes were taken for which.

use maud::{Markup, html};
use serde_json::Value;

/// Shades of a cell.
const SHADES: u64 = 5;

/// A table of the classes, true ones in rows, shaded by the share of the row's class.
pub(crate) fn confusion(of: &str, classes: &[Value], counts: &[Vec<u64>]) -> Markup {
    let name = |class: &Value| class.as_str().map_or_else(|| class.to_string(), str::to_owned);
    html! {
        div .scroll tabindex="0" role="group" aria-label="Confusion matrix" {
            table .list.narrow.confusion {
                caption { "Rows: what is; columns: what was predicted. Measured on " (of) "." }
                thead { tr {
                    th scope="col" { "is \u{2193}, predicted \u{2192}" }
                    @for class in classes { th scope="col" .num { (name(class)) } }
                    th scope="col" .num { "recall" }
                } }
                tbody { @for (at, (class, row)) in classes.iter().zip(counts).enumerate() {
                    @let whole: u64 = row.iter().sum();
                    tr {
                        th scope="row" { (name(class)) }
                        @for (column, count) in row.iter().enumerate() {
                            td class=(format!("num {} shade-{}", if column == at { "right" } else { "wrong" }, shade(*count, whole))) { (count) }
                        }
                        td .num.dim { (share(row.get(at).copied().unwrap_or(0), whole)) }
                    }
                } }
            }
        }
    }
}

/// From 0 for nothing to [`SHADES`] for all of it.
fn shade(count: u64, whole: u64) -> u64 {
    if whole == 0 { 0 } else { (count * SHADES).div_ceil(whole).min(SHADES) }
}

fn share(count: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    let tenths = (count * 1000 + whole / 2) / whole;
    format!("{}.{} %", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cells_are_shaded_by_their_share_of_the_class() {
        assert_eq!(
            [(0, 10), (1, 10), (5, 10), (10, 10), (0, 0)].map(|(count, whole)| shade(count, whole)),
            [0, 1, 3, 5, 0]
        );
        assert_eq!([(1, 3), (3, 3), (0, 0)].map(|(count, whole)| share(count, whole)), ["33.3 %", "100.0 %", "–"]);
        let drawn = confusion("held-out rows", &[json!("<a>"), json!(1)], &[vec![4, 1], vec![0, 5]]).into_string();
        assert!(drawn.contains("&lt;a&gt;") && drawn.contains("num right shade-4\">4<"), "{drawn}");
        assert!(drawn.contains("num wrong shade-1\">1<") && drawn.contains("80.0 %"), "{drawn}");
    }
}
