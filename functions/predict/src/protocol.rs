//! The protocols that clients speak. All of them read into the same rows and write from the same answer.

pub mod events;
pub mod oip;
pub mod reference;
pub mod scoring;
mod tensor;
mod write;
