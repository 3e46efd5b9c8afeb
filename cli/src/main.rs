//! The `regrove` command.

fn main() {}
