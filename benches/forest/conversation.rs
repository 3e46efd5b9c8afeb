//! A Python process that answers questions, a JSON line each.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

/// One thread, as for us.
const ONE_THREAD: [&str; 3] = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"];

pub(crate) struct Conversation {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Conversation {
    pub(crate) fn start(python: &Path, script: &str, arguments: &[&str]) -> Result<Self> {
        let mut child = Command::new(python)
            .arg(script)
            .args(arguments)
            .envs(ONE_THREAD.map(|name| (name, "1")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", python.display()))?;
        let stdin = child.stdin.take().context("no standard input")?;
        let stdout = BufReader::new(child.stdout.take().context("no standard output")?);
        Ok(Self { child, stdin, stdout })
    }

    pub(crate) fn ask<T: for<'de> Deserialize<'de>>(&mut self, question: &Value) -> Result<T> {
        writeln!(self.stdin, "{question}")?;
        self.answer()
    }

    pub(crate) fn answer<T: for<'de> Deserialize<'de>>(&mut self) -> Result<T> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        serde_json::from_str(&line).context("the Python side gave no answer; see its error above")
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        // It only reads and computes; nobody is left to tell when it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
