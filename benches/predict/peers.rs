//! The other programs, in one Python process: `peers/predict.py`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/predict.py");
/// One thread, as for us.
const ONE_THREAD: [&str; 3] = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"];

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
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    /// In the order asked for.
    names: Vec<String>,
    pub(crate) report: BTreeMap<String, Peer>,
}

impl Peers {
    /// Starts them on a folder of trees; they have their models ready and their answers compared afterwards.
    pub(crate) fn start(python: &Path, folder: &Path, names: &[String]) -> Result<Self> {
        let mut child = Command::new(python)
            .arg(SCRIPT)
            .arg(folder)
            .args(names)
            .envs(ONE_THREAD.map(|name| (name, "1")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", python.display()))?;
        let stdin = child.stdin.take().context("no standard input")?;
        let mut stdout = BufReader::new(child.stdout.take().context("no standard output")?);
        let report: BTreeMap<String, Peer> = answer(&mut stdout)?;
        let is_ready = |name: &&String| matches!(report.get(*name), Some(Peer::Ready { .. }));
        let names = names.iter().filter(is_ready).cloned().collect();
        Ok(Self { child, stdin, stdout, names, report })
    }

    /// Measures each one that works; `each` gets its name and microseconds of CPU time per row.
    pub(crate) fn measure(&mut self, rows_per_call: usize, mut each: impl FnMut(&str, f64)) -> Result<()> {
        for name in &self.names {
            let question = serde_json::json!({"peer": name, "rows": rows_per_call});
            writeln!(self.stdin, "{question}")?;
            each(name, answer(&mut self.stdout).with_context(|| format!("{name}, {rows_per_call} rows"))?);
        }
        Ok(())
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        // It only reads and computes; nobody is left to tell when it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn answer<T: for<'de> Deserialize<'de>>(stdout: &mut BufReader<ChildStdout>) -> Result<T> {
    let mut line = String::new();
    stdout.read_line(&mut line)?;
    serde_json::from_str(&line).context("peers/predict.py gave no answer; see its error above")
}
