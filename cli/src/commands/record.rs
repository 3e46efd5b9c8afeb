//! `regrove record`: the record of runs and models as a whole.

use clap::Subcommand;
use regrove_mlflow::push::{Pushed, push};
use regrove_mlflow::{Client, DEFAULT_TRACKING_URI, Error, MlflowArgs, Secret};

use crate::output::{Output, Usage, table};

/// Copy the record of runs and models.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Copy every experiment, run, model, version and alias into another MLflow. Safe to repeat: what is there already is
    /// left alone, what is new follows
    #[command(after_help = "Examples:\n  regrove record push --to https://mlflow.example.com\n  \
        regrove record push --from http://localhost:8989 --to http://localhost:5000 --json\n\n\
        Run ids are the target's own, and version numbers are if versions were deleted; --json says which became which. \
        Aliases move forward only. Deleted runs stay behind.")]
    Push(Push),
}

/// From where to where.
#[derive(Debug, clap::Args)]
pub(crate) struct Push {
    /// MLflow to copy from; the embedded record is there while `regrove up` runs
    #[arg(long, value_name = "URL", default_value = DEFAULT_TRACKING_URI)]
    from: String,
    /// MLflow to copy to
    #[arg(long, value_name = "URL")]
    to: String,
    /// User name at the MLflow that is copied to
    #[arg(long, env = "MLFLOW_TRACKING_USERNAME", hide_env_values = true, value_name = "NAME")]
    username: Option<String>,
    /// Password there
    #[arg(long, env = "MLFLOW_TRACKING_PASSWORD", hide_env_values = true, value_name = "PASSWORD")]
    password: Option<Secret>,
    /// Bearer token there, used when no user name is given
    #[arg(long, env = "MLFLOW_TRACKING_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<Secret>,
}

pub(crate) async fn run(command: Command, output: &Output) -> anyhow::Result<()> {
    let Command::Push(args) = command;
    let client = |name: &str, args: &MlflowArgs| Client::new(args).map_err(|error| Usage(format!("--{name}: {error}")));
    let from = client("from", &MlflowArgs::for_uri(args.from))?;
    let login = MlflowArgs {
        username: args.username,
        password: args.password,
        token: args.token,
        ..MlflowArgs::for_uri(args.to)
    };
    let to = client("to", &login)?;
    let pushed = push(&from, &to, &|what| output.progress(what)).await.map_err(|error| match error {
        Error::Configuration { .. } => anyhow::Error::new(Usage(error.to_string())),
        other => other.into(),
    })?;
    output.result(&pushed, || describe(&pushed))
}

fn describe(pushed: &Pushed) -> String {
    let head = format!(
        "{} runs, {} of them new; {} models, {} of them new; {} files, {} bytes copied",
        pushed.runs, pushed.runs_new, pushed.models, pushed.models_new, pushed.files, pushed.bytes
    );
    if pushed.versions.is_empty() {
        return head;
    }
    let rows = pushed.versions.iter().map(|one| {
        let word = if one.new { "new" } else { "known" };
        vec![one.name.clone(), one.version.to_string(), one.pushed_version.to_string(), word.to_owned()]
    });
    format!("{head}\n{}", table(&["model", "version", "there", ""], rows))
}
