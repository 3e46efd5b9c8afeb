//! The other programs, in one Python process: `peers/predict.py`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::conversation::Conversation;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/predict.py");

/// What is known of a program before it is measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Peer {
    Ready {
        version: String,
        /// Largest difference from our probabilities.
        difference: f64,
        /// CPU seconds until it could predict: conversion, compilation.
        prepared: f64,
    },
    Failed {
        error: String,
    },
}

pub(crate) struct Peers {
    conversation: Conversation,
    /// In the order asked for.
    names: Vec<String>,
    pub(crate) report: BTreeMap<String, Peer>,
}

impl Peers {
    /// Starts them on a folder of trees; they have their models ready and their answers compared afterwards.
    pub(crate) fn start(python: &Path, folder: &Path, names: &[String]) -> Result<Self> {
        let folder = folder.to_string_lossy();
        let arguments: Vec<&str> = std::iter::once(&*folder).chain(names.iter().map(String::as_str)).collect();
        let mut conversation = Conversation::start(python, SCRIPT, &arguments)?;
        let report: BTreeMap<String, Peer> = conversation.answer()?;
        let is_ready = |name: &&String| matches!(report.get(*name), Some(Peer::Ready { .. }));
        let names = names.iter().filter(is_ready).cloned().collect();
        Ok(Self { conversation, names, report })
    }

    /// Measures each one that works; `each` gets its name and microseconds of CPU time per row.
    pub(crate) fn measure(&mut self, rows_per_call: usize, mut each: impl FnMut(&str, f64)) -> Result<()> {
        for name in &self.names {
            let question = serde_json::json!({"peer": name, "rows": rows_per_call});
            let micros = self.conversation.ask(&question);
            each(name, micros.with_context(|| format!("{name}, {rows_per_call} rows"))?);
        }
        Ok(())
    }
}
