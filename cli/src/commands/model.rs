//! `regrove model`: registered versions, and which one is served.

use clap::Subcommand;
use http::Method;
use regrove_events::log::{SERVING_PREFIX, serving_stream};
use regrove_events::serving;
use serde_json::{Value, json};

use crate::output::{Output, table};
use crate::reach::Reach;

/// Look at served models, choose the version.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the models that are served
    #[command(after_help = "Example:\n  regrove model list")]
    List,
    /// Show what is served under a name, and what was
    #[command(after_help = "Example:\n  regrove model show RandomForestClassifierModel")]
    Show {
        /// Registered model name
        name: String,
    },
    /// Serve a version: the latest, a number, or an alias; forward or back
    #[command(
        after_help = "Examples:\n  regrove model load breast-cancer --version 3\n  regrove model load breast-cancer --alias champion"
    )]
    Load {
        /// Registered model name
        name: String,
        /// Version number; the latest without it
        #[arg(long, conflicts_with = "alias")]
        version: Option<u64>,
        /// Alias
        #[arg(long)]
        alias: Option<String>,
    },
}

pub(crate) async fn run(command: Command, reach: &Reach, output: &Output) -> anyhow::Result<()> {
    match command {
        Command::List => list(reach, output).await,
        Command::Show { name } => show(&name, reach, output).await,
        Command::Load { name, version, alias } => load(&name, version, alias, reach, output).await,
    }
}

async fn list(reach: &Reach, output: &Output) -> anyhow::Result<()> {
    let control = reach.control()?;
    let mut served = Vec::new();
    for stream in control.log.streams(SERVING_PREFIX).await? {
        served.extend(serving::replay(&control.log.read(&stream, 0).await?).current);
    }
    output.result(&served, || {
        let rows =
            served.iter().map(|model| vec![model.name.clone(), model.version.clone(), model.model.sha256.clone()]);
        table(&["name", "version served", "sha256"], rows)
    })
}

async fn show(name: &str, reach: &Reach, output: &Output) -> anyhow::Result<()> {
    let history = reach.control()?.log.read(&serving_stream(name), 0).await?;
    let serving = serving::replay(&history);
    let switches: Vec<Value> = history
        .iter()
        .map(|event| {
            let data: Value = event.data().and_then(|data| serde_json::from_slice(data).ok()).unwrap_or_default();
            json!({"at": event.time_text(), "version": data["version"], "previous": data["previous"], "by": data["by"]})
        })
        .collect();
    output.result(&json!({"name": name, "current": serving.current, "switches": switches}), || {
        let rows = switches.iter().map(|switch| {
            let text = |name: &str| switch[name].as_str().unwrap_or("–").to_owned();
            vec![text("at"), text("version"), text("previous"), text("by")]
        });
        let current = serving.current.as_ref().map_or("nothing is served", |model| model.uri.as_str());
        format!("{name}  {current}\n{}", table(&["at", "version", "previous", "by"], rows))
    })
}

async fn load(
    name: &str,
    version: Option<u64>,
    alias: Option<String>,
    reach: &Reach,
    output: &Output,
) -> anyhow::Result<()> {
    let mut body = json!({"name": name});
    if let Some(version) = version {
        body["version"] = version.into();
    }
    if let Some(alias) = alias {
        body["alias"] = alias.into();
    }
    let answer = reach.call("load-model", Method::POST, "/model/load", Some(&body)).await?;
    output.result(&answer, || {
        format!("{name} version {} is served", answer["model_info"]["version"].as_str().unwrap_or_default())
    })
}
