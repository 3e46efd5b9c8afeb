//! The `predict` function's process.

use clap::Parser;
use regrove_host::{Fatal, HostArgs};
use regrove_predict::models::Models;
use regrove_predict::{Ports, router};
use regrove_store::{Control, StoreArgs};

/// Answers predictions from the model that the serving pointer names.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Example:\n  PORT=8080 predict &\n  curl localhost:8080/predict --json '{\"features\": [[1, 2, 3]]}'"
)]
struct Args {
    #[command(flatten)]
    host: HostArgs,
    #[command(flatten)]
    store: StoreArgs,
    /// The model that /predict means
    #[arg(long, env = "REGROVE_MODEL_NAME", default_value = "RandomForestClassifierModel", value_name = "NAME")]
    model_name: String,
}

#[tokio::main]
async fn main() -> Result<(), Fatal> {
    let args = Args::parse();
    regrove_host::init_telemetry();
    let control = Control::open(&args.store)?;
    let host = args.host.needing(&control, None);
    let ports = Ports { models: Models::follow(control), model_name: args.model_name };
    regrove_host::serve(&host, router(ports)).await?;
    Ok(())
}
