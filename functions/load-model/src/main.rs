//! The load-model function.

fn main() {}
