//! Server processes that say when they listen.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};

/// Where a server says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    Output,
    Error,
}

/// A server process that listens; killed when dropped.
#[derive(Debug)]
pub(crate) struct Listening {
    name: &'static str,
    child: Child,
    /// What stood behind the words that it was waited for with.
    pub(crate) told: String,
}

impl Listening {
    /// Starts a process and waits for a line with these words; what it said instead when it ended before.
    ///
    /// # Errors
    /// When there is no such program; `cargo xtask test` installs it.
    pub(crate) fn start(
        name: &'static str,
        command: &mut Command,
        says: Says,
        words: &str,
    ) -> Result<Result<Self, String>> {
        command.stdin(Stdio::null());
        match says {
            Says::Output => command.stdout(Stdio::piped()).stderr(Stdio::inherit()),
            Says::Error => command.stdout(Stdio::null()).stderr(Stdio::piped()),
        };
        let missing = || format!("{name} cannot be started; `cargo xtask test` installs it");
        let mut child = command.spawn().with_context(missing)?;
        let output: Option<Box<dyn Read + Send>> = match says {
            Says::Output => child.stdout.take().map(|output| Box::new(output) as _),
            Says::Error => child.stderr.take().map(|output| Box::new(output) as _),
        };
        let mut lines = BufReader::new(output.with_context(|| format!("no output of {name}"))?).lines();
        let mut said = Vec::new();
        for line in lines.by_ref().map_while(Result::ok) {
            if let Some((_, told)) = line.split_once(words) {
                let told = told.trim().to_owned();
                // A full pipe would stop the server.
                std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
                return Ok(Ok(Self { name, child, told }));
            }
            said.push(line);
        }
        child.wait()?;
        Ok(Err(said.join("\n")))
    }
}

impl Drop for Listening {
    #[expect(clippy::print_stderr, reason = "nobody can be told otherwise, and the server may outlive the test")]
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("{} may still be running: {error}", self.name);
        }
    }
}
