//! infra/record of Regrove.
