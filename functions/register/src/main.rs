//! The `register` function's process.

use clap::Parser;
use regrove_host::{Emitter, Fatal, HostArgs};
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

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    let args = Args::parse();
    regrove_host::init_telemetry();
    let control = Control::open(&args.store)?;
    let record = Record::new(Client::new(&args.mlflow)?);
    let host = args.host.needing(&control, Some(&record));
    let ports = Ports { control, emitter: Emitter::open(&host)?, record };
    regrove_host::serve(&host, router(ports)).await?;
    Ok(())
}
