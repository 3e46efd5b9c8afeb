//! The `train-shard` function's process.

use clap::Parser;
use regrove_host::{Emitter, Fatal, HostArgs};
use regrove_store::{Control, StoreArgs};
use regrove_train_shard::{Ports, router};

/// Grows a range of a forest's trees.
#[derive(Debug, Parser)]
#[command(version, after_help = "Example:\n  PORT=8080 K_SINK=http://localhost:8081/regrove/default train-shard")]
struct Args {
    #[command(flatten)]
    host: HostArgs,
    #[command(flatten)]
    store: StoreArgs,
    /// Name of this replica in the events that it says; Kubernetes and the local runtime set it
    #[arg(long, env = "HOSTNAME", value_name = "NAME")]
    worker: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    let args = Args::parse();
    regrove_host::init_telemetry();
    let control = Control::open(&args.store)?;
    let host = args.host.needing(&control, None);
    let ports = Ports { control, emitter: Emitter::open(&host)?, worker: args.worker };
    regrove_host::serve(&host, router(ports)).await?;
    Ok(())
}
