//! The predict function.

fn main() {}
