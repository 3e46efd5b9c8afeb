//! `regrove`: trains, registers and serves tree-ensemble models, here or in a cluster.

mod binaries;
mod commands;
mod doctor;
mod env_file;
mod kubectl;
mod live_view;
mod manifest_watch;
mod manifests;
mod mlflow_server;
mod output;
mod reach;
mod regrow;
mod rows;
mod source;
mod watch;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::commands::{
    data, demo, doctor as doctor_command, event, forest, job, model, predict, rebuild, record, shell, train, up,
};
use crate::output::Output;
use crate::reach::Reach;

/// Tree-ensemble models as event-sourced serverless functions.
#[derive(Debug, Parser)]
#[command(
    name = "regrove",
    version,
    after_help = "Examples:\n  regrove demo\n  regrove up &\n  regrove train --data iris.csv --target species --wait\n  \
                  regrove job list\n\nExit codes: 0 done, 1 failed, 2 wrong arguments or manifests, 3 the job that was waited for was cancelled."
)]
struct Cli {
    /// Print one JSON value (or one per line, for streams) instead of text
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the whole loop on this machine, from an event to a prediction
    Demo(demo::Args),
    /// Run Knative manifests on this machine, without containers
    Up(up::Args),
    /// Ask for a model
    Train(Box<train::Args>),
    /// Look at jobs, stop them, try them again
    #[command(subcommand)]
    Job(job::Command),
    /// Emit events, follow them, deal with dead letters
    #[command(subcommand)]
    Event(event::Command),
    /// Look at registered models, choose which one is served
    #[command(subcommand)]
    Model(model::Command),
    /// Ask the served model for predictions
    Predict(predict::Args),
    /// Copy the record of runs and models into another MLflow
    #[command(subcommand)]
    Record(record::Command),
    /// Make again what is derived from the log: forests, runs, versions
    Rebuild(Box<rebuild::Args>),
    /// Look at what is configured, what answers, and what is wrong
    Doctor(doctor_command::Args),
    /// Look at data sets
    #[command(subcommand)]
    Data(data::Command),
    /// Fit and apply forests on files, without events
    #[command(subcommand)]
    Forest(forest::Command),
    /// Print a script that completes this command's words
    Completions(shell::Completions),
    /// Write the manual
    Man(shell::Man),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    let output = Output::new(cli.json);
    match run(cli, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            let wrong_arguments = error.chain().any(<dyn std::error::Error>::is::<output::Usage>);
            let cancelled = error.chain().any(<dyn std::error::Error>::is::<train::Cancelled>);
            ExitCode::from(match (wrong_arguments, cancelled) {
                (true, _) => 2,
                (false, true) => 3,
                (false, false) => 1,
            })
        }
    }
}

fn run(cli: Cli, output: &Output) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        let reach = &cli.reach;
        match cli.command {
            Command::Demo(args) => demo::run(args, reach, output).await,
            Command::Up(args) => up::run(args, reach, output).await,
            Command::Train(args) => train::run(*args, reach, output).await,
            Command::Job(command) => job::run(command, reach, output).await,
            Command::Event(command) => event::run(command, reach, output).await,
            Command::Model(command) => model::run(command, reach, output).await,
            Command::Predict(args) => predict::run(args, reach, output).await,
            Command::Rebuild(args) => rebuild::run(*args, reach, output).await,
            Command::Record(command) => record::run(command, output).await,
            Command::Doctor(args) => doctor_command::run(args, reach, output).await,
            Command::Data(command) => data::run(command, reach, output).await,
            Command::Forest(command) => forest::run(command, output),
            Command::Completions(args) => shell::completions(&args, Cli::command(), output),
            Command::Man(args) => shell::man(&args, Cli::command(), output),
        }
    });
    // A blocked thread (standard input, a name look-up) must not keep the process alive.
    runtime.shutdown_background();
    outcome
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    /// Every command that does something, by its words.
    fn leaves(command: &clap::Command, words: &str, found: &mut Vec<(String, clap::Command)>) {
        let words = format!("{words} {}", command.get_name());
        if !command.has_subcommands() {
            found.push((words.trim().to_owned(), command.clone()));
        }
        for child in command.get_subcommands() {
            leaves(child, &words, found);
        }
    }

    #[test]
    fn every_command_has_an_example_that_is_one() {
        Cli::command().debug_assert();
        let mut commands = Vec::new();
        leaves(&Cli::command(), "", &mut commands);
        assert!(commands.len() > 25, "{}", commands.len());
        for (words, command) in commands {
            assert!(command.get_about().is_some(), "{words} says what it does");
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example") && help.contains(&words), "{words}: {help}");
        }
    }

    #[test]
    fn every_command_describes_itself_and_prints_json() {
        let mut whole = Cli::command();
        whole.build();
        let mut commands = Vec::new();
        leaves(&whole, "", &mut commands);
        // clap's own `help` is no command of ours.
        commands.retain(|(words, _)| !words.split(' ').any(|word| word == "help"));
        assert!(commands.len() > 25, "{}", commands.len());
        for (words, mut command) in commands {
            let help = command.render_long_help().to_string();
            assert!(help.contains("--json") && help.contains("Usage: "), "{words}: {help}");
            let nameless =
                command.get_arguments().find(|argument| argument.get_help().is_none() && !argument.is_hide_set());
            assert!(nameless.is_none(), "{words}: `{nameless:?}` is not described");
        }
    }

    #[test]
    fn words_are_completed_in_every_shell_and_have_manual_pages() {
        for shell in clap_complete::Shell::value_variants() {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "regrove", &mut script);
            assert!(String::from_utf8(script).unwrap().contains("completions"), "{shell}");
        }
        let folder = tempfile::tempdir().unwrap();
        clap_mangen::generate_to(Cli::command(), folder.path()).unwrap();
        let page = std::fs::read_to_string(folder.path().join("regrove-job-compare.1")).unwrap();
        assert!(page.contains("regrove job compare my") || page.contains("Example"), "{page}");
    }
}
