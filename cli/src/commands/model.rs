//! `regrove model`: registered versions, and which one is served.

mod version;

use clap::{Args, Subcommand};
use http::Method;
use regrove_events::log::{SERVING_PREFIX, serving_stream};
use regrove_events::{CloudEvent, Event, serving};
use serde_json::{Value, json};

use crate::output::{Output, table};
use crate::reach::Reach;

/// Who moves a pointer, and why.
#[derive(Debug, Args)]
pub(crate) struct Who {
    /// Who asks, for whoever looks at the history; your login name without it
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Why, for whoever looks at the history; without it, what was asked for
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

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
    /// Copy a version's model from MLflow into a file, checked against its hash
    #[command(
        after_help = "Examples:\n  regrove model export breast-cancer -o model.onnx\n  regrove model export breast-cancer --alias champion -o model.rgf"
    )]
    Export(version::Export),
    /// Grow a version's forest anew from the log's data and parameters, and compare it bit for bit
    #[command(
        after_help = "Example:\n  regrove model verify breast-cancer --version 3\n\nExit code 1 when the forest is another one."
    )]
    Verify(version::Verify),
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
        /// Alias; when it moves in MLflow the served version moves with it, until a version is loaded or rolled back
        #[arg(long)]
        alias: Option<String>,
        #[command(flatten)]
        who: Who,
    },
    /// Serve the version that was served before; canary and shadow end
    #[command(after_help = "Example:\n  regrove model rollback breast-cancer --reason 'scores are down'")]
    Rollback {
        /// Registered model name
        name: String,
        #[command(flatten)]
        who: Who,
    },
    /// Say what stands beside the served version: a canary that answers a share of the requests, a shadow whose answers
    /// are only compared. What is not said ends
    #[command(
        after_help = "Examples:\n  regrove model traffic breast-cancer --canary 4 --percent 10\n  regrove model traffic breast-cancer --shadow 5\n  regrove model traffic breast-cancer    # the served version alone"
    )]
    Traffic {
        /// Registered model name
        name: String,
        /// Version that answers a share of the requests
        #[arg(long, value_name = "VERSION", requires = "percent")]
        canary: Option<u64>,
        /// Share of the canary in percent
        #[arg(long, value_name = "1..100", value_parser = clap::value_parser!(u8).range(1..=100), requires = "canary")]
        percent: Option<u8>,
        /// Version whose answers are only compared
        #[arg(long, value_name = "VERSION")]
        shadow: Option<u64>,
        #[command(flatten)]
        who: Who,
    },
}

pub(crate) async fn run(command: Command, reach: &Reach, output: &Output) -> anyhow::Result<()> {
    match command {
        Command::List => list(reach, output).await,
        Command::Show { name } => show(&name, reach, output).await,
        Command::Export(export) => version::export(export, output).await,
        Command::Verify(verify) => version::verify(verify, reach, output).await,
        Command::Load { name, version, alias, who } => {
            let body = json!({"name": name, "version": version, "alias": alias});
            load("/model/load", body, who, reach, output).await
        }
        Command::Rollback { name, who } => load("/model/rollback", json!({"name": name}), who, reach, output).await,
        Command::Traffic { name, canary, percent, shadow, who } => {
            let mut body = json!({"name": name});
            if let (Some(version), Some(percent)) = (canary, percent) {
                body["canary"] = json!({"version": version, "percent": percent});
            }
            if let Some(version) = shadow {
                body["shadow"] = json!({"version": version});
            }
            traffic(body, who, reach, output).await
        }
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
    let switches: Vec<Value> = history.iter().map(change).collect();
    let beside = json!({"canary": serving.canary, "shadow": serving.shadow});
    let all = json!({"name": name, "current": serving.current, "beside": beside, "switches": switches});
    output.result(&all, || {
        let rows = switches.iter().map(|switch| {
            let text = |name: &str| switch[name].as_str().unwrap_or("–").to_owned();
            ["at", "version", "previous", "by", "actor", "reason"].map(text).to_vec()
        });
        let current = serving.current.as_ref().map_or("nothing is served", |model| model.uri.as_str());
        let canary = serving.canary.as_ref().map_or_else(String::new, |canary| {
            format!("canary  {} answers {} %\n", canary.version.uri, canary.percent)
        });
        let shadow = serving.shadow.as_ref().map_or_else(String::new, |shadow| format!("shadow  {}\n", shadow.uri));
        let follows = serving.alias().map_or_else(String::new, |alias| format!("  follows @{alias}"));
        format!(
            "{name}  {current}{follows}\n{canary}{shadow}{}",
            table(&["at", "version", "previous", "by", "actor", "reason"], rows)
        )
    })
}

/// One line of a model's history.
fn change(event: &CloudEvent) -> Value {
    let who = |actor: &Option<String>, reason: &Option<String>| (json!(actor), json!(reason));
    let mut line = match Event::read(event) {
        Ok(Event::ModelLoaded(loaded)) => {
            let (actor, reason) = who(&loaded.actor, &loaded.reason);
            json!({"version": loaded.version, "previous": loaded.previous, "by": loaded.by, "actor": actor, "reason": reason})
        }
        Ok(Event::TrafficChanged(change)) => {
            let (actor, reason) = who(&change.actor, &change.reason);
            let canary = change.canary.map(|canary| format!("canary {} {} %", canary.version.version, canary.percent));
            let shadow = change.shadow.map(|shadow| format!("shadow {}", shadow.version));
            let beside: Vec<String> = canary.into_iter().chain(shadow).collect();
            let by = if beside.is_empty() { "nothing beside".to_owned() } else { beside.join(", ") };
            json!({"version": null, "previous": null, "by": by, "actor": actor, "reason": reason})
        }
        _ => json!({}),
    };
    line["at"] = json!(event.time_text());
    line
}

impl Who {
    /// A request that says who asks, and why.
    fn sign(self, mut body: Value) -> Value {
        body["actor"] = self.actor.unwrap_or_else(login).into();
        body["reason"] = self.reason.into();
        body
    }
}

/// Who is at the keyboard, as the shell has it, else as the system counts users.
fn login() -> String {
    #[expect(clippy::disallowed_methods, reason = "the user is no setting of ours")]
    let named =
        ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    named.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}

async fn load(path: &str, body: Value, who: Who, reach: &Reach, output: &Output) -> anyhow::Result<()> {
    let answer = reach.call("load-model", Method::POST, path, Some(&who.sign(body))).await?;
    output.result(&answer, || {
        let text = |name: &str| answer["model_info"][name].as_str().unwrap_or_default().to_owned();
        format!("{} version {} is served", text("name"), text("version"))
    })
}

async fn traffic(body: Value, who: Who, reach: &Reach, output: &Output) -> anyhow::Result<()> {
    let answer = reach.call("load-model", Method::POST, "/model/traffic", Some(&who.sign(body))).await?;
    output.result(&answer, || {
        let name = answer["name"].as_str().unwrap_or_default();
        let canary = &answer["canary"];
        let canary = canary.is_object().then(|| {
            let version = canary["version"].as_str().unwrap_or_default();
            format!("{name} version {version} answers {} % of the requests", canary["percent"])
        });
        let shadow =
            answer["shadow"]["version"].as_str().map(|version| format!("{name} version {version} is asked too"));
        let lines: Vec<String> = canary.into_iter().chain(shadow).collect();
        if lines.is_empty() { format!("{name}: the served version answers alone") } else { lines.join("\n") }
    })
}
