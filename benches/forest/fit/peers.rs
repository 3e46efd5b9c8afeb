//! The other programs, asked by `peers/fit.py`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::conversation::Conversation;
use crate::workload::Workload;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/fit.py");

/// What is known of a program before it is measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Peer {
    Ready {
        version: String,
        /// Trees that it grows; its time is scaled to all.
        trees: u32,
        /// Share of the held-out rows that it predicts right, or R² of numbers, with so many trees.
        score: f64,
    },
    Failed {
        error: String,
    },
}

impl Peer {
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Ready { version, trees, score } => {
                format!(" ({version}; {trees} trees grown, score {score:.4})")
            }
            Self::Failed { .. } => String::new(),
        }
    }
}

pub(crate) struct Peers {
    conversation: Conversation,
    /// In the order asked for.
    names: Vec<String>,
    pub(crate) report: BTreeMap<String, Peer>,
}

impl Peers {
    /// Starts them: each fits once, and says how good that is.
    pub(crate) fn start(python: &Path, workload: Workload, names: &[String], trees_max: u32) -> Result<Self> {
        let params = workload.params();
        let trees = if workload.is_small() { params.n_estimators } else { trees_max.min(params.n_estimators) };
        let wish =
            serde_json::json!({"n_samples": workload.n_rows(), "params": params, "trees": trees, "peers": names});
        let mut conversation = Conversation::start(python, SCRIPT, &[&wish.to_string()])?;
        let report: BTreeMap<String, Peer> = conversation.answer()?;
        let is_ready = |name: &&String| matches!(report.get(*name), Some(Peer::Ready { .. }));
        let names = names.iter().filter(is_ready).cloned().collect();
        Ok(Self { conversation, names, report })
    }

    /// Fits with each one that works; `each` gets its name and its CPU seconds, scaled to all trees.
    pub(crate) fn measure(&mut self, mut each: impl FnMut(&str, f64)) -> Result<()> {
        for name in &self.names {
            let question = serde_json::json!({"peer": name});
            each(name, self.conversation.ask(&question).with_context(|| format!("{name}, a fit"))?);
        }
        Ok(())
    }
}
