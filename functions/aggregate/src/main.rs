//! The aggregate function.

fn main() {}
