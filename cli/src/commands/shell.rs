//! `regrove completions` and `regrove man`: what a shell and a reader of manuals need.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Command;
use clap_complete::Shell;
use serde_json::json;

use crate::output::Output;

/// Print a script that completes this command's words.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  regrove completions bash > /etc/bash_completion.d/regrove\n  \
    regrove completions zsh > ~/.zfunc/_regrove")]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

/// Write the manual: a page for each command.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  regrove man /usr/local/share/man/man1 && man regrove-train")]
pub(crate) struct Man {
    /// Folder for the pages
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(crate) fn completions(args: &Completions, mut command: Command, output: &Output) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "regrove", &mut script);
    let script = String::from_utf8(script)?;
    output.result(&json!({"shell": args.shell.to_string(), "script": script}), || script.trim_end().to_owned())
}

pub(crate) fn man(args: &Man, command: Command, output: &Output) -> anyhow::Result<()> {
    let wrong = || args.folder.display().to_string();
    std::fs::create_dir_all(&args.folder).with_context(wrong)?;
    clap_mangen::generate_to(command, &args.folder).with_context(wrong)?;
    let mut pages: Vec<String> = std::fs::read_dir(&args.folder)
        .with_context(wrong)?
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .filter(|name| name.ends_with(".1"))
        .collect();
    pages.sort();
    output.result(&json!({"folder": args.folder, "pages": pages}), || format!("{} pages in {}", pages.len(), wrong()))
}
