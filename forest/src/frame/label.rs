//! Class labels.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A class label: a whole number or a text. Numbers sort before texts, each in their own order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Label {
    /// A whole number; predictions come back as numbers.
    Int(i64),
    /// A text.
    Str(String),
}

impl Label {
    /// Labels of text cells: whole numbers if all cells are whole numbers (`1`, `-3`, `2.0`), else texts.
    pub fn from_cells(cells: &[String]) -> Vec<Self> {
        let numbers: Option<Vec<i64>> = cells.iter().map(|cell| whole_number(cell)).collect();
        match numbers {
            Some(numbers) => numbers.into_iter().map(Self::Int).collect(),
            None => cells.iter().cloned().map(Self::Str).collect(),
        }
    }
}

fn whole_number(cell: &str) -> Option<i64> {
    let digits = match cell.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() && fraction.bytes().all(|byte| byte == b'0') => whole,
        Some(_) => return None,
        None => cell,
    };
    digits.parse().ok()
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => number.fmt(f),
            Self::Str(text) => text.fmt(f),
        }
    }
}
