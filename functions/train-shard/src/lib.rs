//! The train-shard function.
