//! The `aggregate` function's process.

use clap::Parser;
use regrove_aggregate::dataset::DataAccess;
use regrove_aggregate::{Ports, router};
use regrove_data::DataArgs;
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
    #[command(flatten)]
    data: DataArgs,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    let args = Args::parse();
    regrove_host::init_telemetry();
    let data = DataAccess {
        policy: args.data.policy()?,
        limits: args.data.limits(),
        spool: args.store.home.join("spool"),
        frame_bytes_max: args.store.artifact_bytes_max,
    };
    let control = Control::open(&args.store)?;
    let host = args.host.needing(&control, None);
    let ports = Ports { control, emitter: Emitter::open(&host)?, data };
    regrove_host::serve(&host, router(ports)).await?;
    Ok(())
}
