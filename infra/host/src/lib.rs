//! infra/host of Regrove.
