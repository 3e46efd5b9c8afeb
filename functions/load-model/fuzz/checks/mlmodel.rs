//! What has to be true of everything that is read as an `MLmodel`. The fuzz target and the test that reads its kept corpus share it.

use regrove_load_model::foreign::described;

/// Reads the file, and tells whether it names an ONNX form. What it names was in the file.
///
/// # Panics
/// When more came out than was there.
pub(crate) fn is_described(text: &[u8]) -> bool {
    match described(text) {
        Ok(described) => {
            // No escape of YAML's stands for more than half as much again as its own length: `\L` is U+2028.
            let columns: usize = described.columns.iter().flatten().map(String::len).sum();
            assert!(described.file.len().max(columns) <= 2 * text.len(), "longer than the file");
            true
        }
        Err(reason) => {
            assert!(!reason.is_empty(), "a refusal without a reason");
            false
        }
    }
}
