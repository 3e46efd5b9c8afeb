//! The `aggregate` function's process.

use std::path::PathBuf;

use clap::Parser;
use regrove_aggregate::{Ports, router};
use regrove_host::{Emitter, Fatal, HostArgs};
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
async fn main() -> Result<(), Fatal> {
    let args = Args::parse();
    regrove_host::init_telemetry();
    let control = Control::open(&args.store)?;
    let host = args.host.needing(&control, None);
    let ports = Ports { control, emitter: Emitter::open(&host)?, data_root: args.data_root };
    regrove_host::serve(&host, router(ports)).await?;
    Ok(())
}
