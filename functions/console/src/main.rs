//! The `console` function's process.

use clap::Parser;
use regrove_console::{AccessArgs, Ports, ReachArgs, router};
use regrove_host::{Fatal, HostArgs};
use regrove_mlflow::MlflowArgs;
use regrove_store::StoreArgs;

/// Shows jobs, events, functions and models, and takes orders about them: a web page and a job API.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Example:\n  PORT=8265 K_SINK=http://localhost:8081/regrove/default console &\n  \
                  curl localhost:8265/api/jobs\n\nThe API is described at /openapi.json."
)]
struct Args {
    #[command(flatten)]
    host: HostArgs,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    mlflow: MlflowArgs,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    reach: ReachArgs,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    let args = Args::parse();
    regrove_host::init_telemetry();
    // Orders are events.
    let sink = args.host.sink.clone().ok_or(regrove_host::Error::NoSink)?;
    let ports = Ports::open(&args.store, &args.mlflow, &args.access, &args.reach, Some(sink))?;
    // Without MLflow pages say so: that is when people look at them.
    let host = args.host.needing(ports.control(), None);
    regrove_host::serve(&host, router(ports)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Args;

    #[test]
    fn the_arguments_of_all_sections_fit_together() {
        Args::command().debug_assert();
    }
}
