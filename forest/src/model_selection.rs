//! Splitting a data set.

use crate::Error;
use crate::frame::Frame;

/// Splits into training and test rows with the classes' proportions kept: the rows of scikit-learn's
/// `train_test_split(stratify=y, test_size=…, random_state=…)`, in its order. Returns `(train, test)`.
///
/// # Errors
///
/// `test_size` outside (0, 1), a class with fewer than two rows, fewer rows than classes in a part.
pub fn train_test_split_stratified(frame: &Frame, test_size: f64, random_state: u32) -> Result<(Frame, Frame), Error> {
    let _ = (frame, test_size, random_state);
    Err(Error::Unsupported("not split yet".into()))
}
