//! What has to be true of everything that is read as MLflow's. The fuzz target and the test that reads its kept corpus share it.

use regrove_mlflow::{Experiment, Metric, ModelVersion, RegisteredModel, Run, filter};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Reads the text as each kind of record, and tells how many it was; as the name in a filter, too.
///
/// # Panics
/// When a record is written as another one, or a name ends its literal.
pub(crate) fn replies(text: &[u8]) -> usize {
    if let Some(literal) = std::str::from_utf8(text).ok().and_then(|name| filter::literal("name", name).ok()) {
        let quote = literal.chars().next().expect("a literal has quotes");
        assert!(literal.len() > 1 && literal.ends_with(quote) && literal.matches(quote).count() == 2, "{literal}");
    }
    let read: [fn(&[u8]) -> bool; 5] =
        [is_same::<Run>, is_same::<Metric>, is_same::<Experiment>, is_same::<RegisteredModel>, is_same::<ModelVersion>];
    read.into_iter().filter(|is_same| is_same(text)).count()
}

/// Whether the text is such a record. NaN is not equal to itself, its text is.
fn is_same<T: Serialize + DeserializeOwned>(text: &[u8]) -> bool {
    let Ok(record) = serde_json::from_slice::<T>(text) else { return false };
    let written = serde_json::to_string(&record).expect("what was read can be written");
    let again: T = serde_json::from_str(&written).expect("what we write is read");
    assert_eq!(serde_json::to_string(&again).expect("it can be written again"), written);
    true
}
