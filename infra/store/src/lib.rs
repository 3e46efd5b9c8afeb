//! infra/store of Regrove.
