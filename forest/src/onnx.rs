//! ONNX, the interchange form: [`export`] writes it, [`import`](import()) reads it.

mod export;
mod import;
mod message;

pub use export::{export, export_model};
pub use import::{ImportError, Limits, import};

#[cfg(test)]
mod tests;
