//! One module per command.

pub(crate) mod data;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod event;
pub(crate) mod forest;
pub(crate) mod job;
pub(crate) mod model;
pub(crate) mod predict;
pub(crate) mod rebuild;
pub(crate) mod record;
pub(crate) mod shell;
pub(crate) mod sweep;
pub(crate) mod train;
pub(crate) mod up;
