//! events of Regrove.
