//! tests of Regrove.
