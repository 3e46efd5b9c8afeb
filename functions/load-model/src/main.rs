//! The `load-model` function's process.

use clap::Parser;
use regrove_host::{Emitter, Fatal, HostArgs};
use regrove_load_model::{Ports, router};
use regrove_mlflow::{Client, MlflowArgs, Record};
use regrove_store::{Control, StoreArgs};

/// Verifies model versions and moves the serving pointer.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Example:\n  PORT=8080 MLFLOW_TRACKING_URI=http://localhost:8989 \\\n    K_SINK=http://localhost:8081/regrove/default load-model"
)]
struct Args {
    #[command(flatten)]
    host: HostArgs,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    mlflow: MlflowArgs,
    /// The model that a request without a name means
    #[arg(long, env = "REGROVE_MODEL_NAME", default_value = "RandomForestClassifierModel", value_name = "NAME")]
    model_name: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    let args = Args::parse();
    regrove_host::init_telemetry();
    let control = Control::open(&args.store)?;
    let record = Record::new(Client::new(&args.mlflow)?);
    let host = args.host.needing(&control, Some(&record));
    let ports = Ports { control, emitter: Emitter::open(&host)?, record, model_name: args.model_name };
    regrove_host::serve(&host, router(ports)).await?;
    Ok(())
}
