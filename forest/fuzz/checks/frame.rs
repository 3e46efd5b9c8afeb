//! What has to be true of everything that is read as a frame. The fuzz target and the test that reads its kept corpus share it.

use regrove_forest::frame::rows_from_csv;
use regrove_forest::{Frame, FrameLimits};

/// Reads the bytes as a canonical frame, and as CSV with classes, with numbers and without a target; tells how many of these they were.
/// A frame is written and read again as the same.
///
/// # Panics
/// When a frame breaks a promise.
pub(crate) fn frames(bytes: &[u8]) -> usize {
    let limits = FrameLimits { rows_max: 1000, columns_max: 100, bytes_max: 1 << 16 };
    let canonical = Frame::from_bytes(bytes).ok();
    let csv = [Frame::from_csv(bytes, "target", &limits), Frame::from_csv_regression(bytes, "target", &limits)];
    let csv: Vec<Frame> = csv.into_iter().flatten().collect();
    for frame in &csv {
        assert!(frame.n_samples() <= limits.rows_max && frame.n_features() < limits.columns_max);
        assert!(!frame.columns().iter().any(|value| value.is_infinite()));
    }
    csv.iter().chain(&canonical).for_each(written_and_read);
    let rows = rows_from_csv(bytes, &["b".to_owned(), "a".to_owned()], &limits).ok();
    if let Some(rows) = &rows {
        assert!(rows.len() <= 2 * limits.rows_max && rows.len().is_multiple_of(2));
        assert!(!rows.iter().any(|value| value.is_infinite()));
    }
    csv.len() + usize::from(canonical.is_some()) + usize::from(rows.is_some())
}

fn written_and_read(frame: &Frame) {
    let written = frame.to_bytes().expect("what was read can be written");
    let again = Frame::from_bytes(&written).expect("a written frame is read");
    assert_eq!(again.to_bytes().expect("it can be written again"), written);
    assert_eq!(again.sha256().expect("it has an identity"), frame.sha256().expect("it has an identity"));
}
