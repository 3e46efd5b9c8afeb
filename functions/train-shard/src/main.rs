//! The train-shard function.

fn main() {}
