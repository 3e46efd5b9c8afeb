//! The `register` function's process.

use clap::Parser;
use regrove_host::{Emitter, HostArgs};
use regrove_mlflow::{Client, MlflowArgs, Record};
use regrove_register::{Ports, router};
use regrove_store::{Control, StoreArgs};

/// Keeps MLflow true to the log: runs, metrics, model versions.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Example:\n  PORT=8080 MLFLOW_TRACKING_URI=http://localhost:8989 \\\n    K_SINK=http://localhost:8081/regrove/default register"
)]
struct Args {
    #[command(flatten)]
    host: HostArgs,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    mlflow: MlflowArgs,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    regrove_host::init_telemetry();
    let ports = Ports {
        control: Control::open(&args.store)?,
        emitter: Emitter::new(args.host.sink.clone()),
        record: Record::new(Client::new(&args.mlflow)?),
    };
    regrove_host::serve(&args.host, router(ports)).await?;
    Ok(())
}
