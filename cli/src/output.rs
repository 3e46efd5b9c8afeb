//! What a command prints: JSON for programs, text for people; results on standard output, progress on standard error.

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use serde::Serialize;
use std::fmt::Display;

/// The arguments or files that the user gave are wrong: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// Where results and progress go.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// A result: the value as JSON, or the text.
    pub(crate) fn result(&self, value: &impl Serialize, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        let text = if self.json { serde_json::to_string(value)? } else { text() };
        line(std::io::stdout(), &text)
    }

    /// A line of progress, on standard error, so that results can be piped.
    ///
    /// With `--json` too: whoever reads standard output is not disturbed.
    #[expect(clippy::unused_self, reason = "whoever prints has been handed the output")]
    pub(crate) fn progress(&self, text: impl Display) {
        // A closed pipe is no reason to stop working.
        line(std::io::stderr(), &text.to_string()).unwrap_or_default();
    }

    /// Why the command failed.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        if self.json {
            let value = serde_json::json!({"error": format!("{error:#}")});
            line(std::io::stderr(), &value.to_string()).unwrap_or_default();
        } else {
            self.progress(format_args!("error: {error:#}"));
        }
    }
}

fn line(mut to: impl std::io::Write, text: &str) -> anyhow::Result<()> {
    match writeln!(to, "{text}") {
        // The reader has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// A table without lines, as kubectl prints them.
pub(crate) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head.iter().map(|name| name.to_uppercase()));
    for row in rows {
        table.add_row(row);
    }
    table.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>().join("\n")
}
