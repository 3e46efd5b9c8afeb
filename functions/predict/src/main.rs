//! The `predict` function's process.

use std::time::Duration;

use clap::Parser;
use regrove_data::DataArgs;
use regrove_host::{Fatal, Gate, HostArgs, LimitArgs};
use regrove_predict::models::Models;
use regrove_predict::{DataAccess, Ports, PredictionLog, Rate, router};
use regrove_store::{Control, StoreArgs};

/// Answers predictions from the models that the serving pointers name.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Example:\n  PORT=8080 predict &\n  curl localhost:8080/predict --json '{\"features\": [[1, 2, 3]]}'\n  open http://localhost:8080/docs"
)]
struct Args {
    #[command(flatten)]
    host: HostArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    data: DataArgs,
    /// The model that requests without a name mean
    #[arg(long, env = "REGROVE_MODEL_NAME", default_value = "RandomForestClassifierModel", value_name = "NAME")]
    model_name: String,
    /// Bytes of models kept in memory; the least recently used ones are dropped beyond it
    #[arg(long, env = "REGROVE_MODELS_BYTES_MAX", default_value_t = 512 << 20, value_name = "BYTES")]
    models_bytes_max: u64,
    /// Share of rows that are drawn, 0 to 1, and said to `K_SINK` as prediction-logged events
    #[arg(long, env = "REGROVE_PREDICTION_LOG_RATE", default_value = "0", value_name = "SHARE")]
    prediction_log_rate: Rate,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    regrove_host::since_start();
    let args = Args::parse();
    regrove_host::init_telemetry();
    let data =
        DataAccess { policy: args.data.policy()?, limits: args.data.limits(), spool: args.store.home.join("spool") };
    let control = Control::open(&args.store)?;
    let host = args.host.needing(&control, None);
    let log = PredictionLog::open(args.prediction_log_rate, &host)?;
    let ports = Ports {
        models: Models::follow(control, &args.model_name, args.models_bytes_max),
        model_name: args.model_name,
        gate: Gate::new(&args.limits),
        log: log.clone(),
        data,
    };
    let served = regrove_host::serve(&host, router(ports)).await;
    log.end(Duration::from_secs(host.drain_seconds)).await;
    Ok(served?)
}
