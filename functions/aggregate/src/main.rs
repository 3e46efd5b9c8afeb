//! The `aggregate` function's process.

use std::path::PathBuf;

use clap::Parser;
use regrove_aggregate::{Ports, router};
use regrove_host::{Emitter, HostArgs};
use regrove_store::{Control, StoreArgs};

/// Opens jobs, plans shards, puts forests together.
#[derive(Debug, Parser)]
#[command(version, after_help = "Example:\n  PORT=8080 K_SINK=http://localhost:8081/regrove/default aggregate")]
struct Args {
    #[command(flatten)]
    host: HostArgs,
    #[command(flatten)]
    store: StoreArgs,
    /// The only folder that `file:` data sets may be read from
    #[arg(long, env = "REGROVE_DATA_ROOT", value_name = "DIR")]
    data_root: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    regrove_host::init_telemetry();
    let ports = Ports {
        control: Control::open(&args.store)?,
        emitter: Emitter::new(args.host.sink.clone()),
        data_root: args.data_root,
    };
    regrove_host::serve(&args.host, router(ports)).await?;
    Ok(())
}
