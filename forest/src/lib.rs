//! forest of Regrove.
