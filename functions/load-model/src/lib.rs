//! The load-model function.
