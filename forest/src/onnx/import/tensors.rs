//! Constants of the graph.

use super::error::{ImportError, graph};
use super::proto::Elements;
use crate::frame::Label;

impl Elements {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.len(),
            Self::Ints(numbers) => numbers.len(),
            Self::Texts(texts) => texts.len(),
        }
    }

    /// Whole numbers that are places along an axis of this length; negative ones count from the end.
    pub(super) fn places(&self, len: usize) -> Result<Vec<usize>, ImportError> {
        let Self::Ints(numbers) = self else { return graph("places along an axis must be whole numbers") };
        let place = |number: &i64| {
            let from_end = i64::try_from(len).ok()?.checked_add(*number)?;
            usize::try_from(if *number < 0 { from_end } else { *number }).ok().filter(|place| *place < len)
        };
        match numbers.iter().map(place).collect() {
            Some(places) => Ok(places),
            None => graph(format_args!("a place along an axis lies outside of its length {len}")),
        }
    }

    /// Numbers to calculate with.
    pub(super) fn numbers(&self) -> Result<Vec<f64>, ImportError> {
        match self {
            Self::Numbers(numbers) if numbers.iter().all(|number| number.is_finite()) => Ok(numbers.clone()),
            _ => graph("a constant in a calculation must be finite float32 or float64 numbers"),
        }
    }

    /// Class labels.
    pub(super) fn labels(&self) -> Result<Vec<Label>, ImportError> {
        match self {
            Self::Ints(numbers) => Ok(numbers.iter().map(|number| Label::Int(*number)).collect()),
            Self::Texts(texts) => Ok(texts.iter().map(|text| Label::Str(text.clone())).collect()),
            Self::Numbers(_) => graph("class labels must be whole numbers or strings"),
        }
    }

    /// Whole numbers.
    pub(super) fn ints(&self) -> Result<&[i64], ImportError> {
        match self {
            Self::Ints(numbers) => Ok(numbers),
            _ => graph("a shape, an axis or a position must be whole numbers"),
        }
    }
}
