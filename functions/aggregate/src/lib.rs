//! The aggregate function.
