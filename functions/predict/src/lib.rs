//! The predict function.
