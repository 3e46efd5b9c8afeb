//! The register function.

fn main() {}
