//! infra/runtime of Regrove.
