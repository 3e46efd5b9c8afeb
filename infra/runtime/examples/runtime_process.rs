//! A runtime as a process of its own, for tests that kill it: `runtime_process MANIFEST HOME BIN_DIR [REDIS_URL]`.
//!
//! Prints the gateway's and the ingress's address on one line, then runs until SIGTERM.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use regrove_knative::manifest::{Application, Source};
use regrove_runtime::{Runtime, RuntimeConfig, SHARED_JOURNAL};
use regrove_store::{SharedJournal, StoreArgs};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(manifest), Some(home), Some(bin_dir)) = (args.next(), args.next(), args.next()) else {
        return Err("usage: runtime_process MANIFEST HOME BIN_DIR [REDIS_URL]".into());
    };
    let text = std::fs::read_to_string(&manifest)?;
    let application = Application::parse(&[Source { name: &manifest, text: &text }])?;
    let shared = args.next().map(|url| StoreArgs::redis(url, &home));
    let mut config = RuntimeConfig::new(application, home).on_free_ports();
    config.shared_journal = match shared {
        Some(store) => SharedJournal::open(&store, SHARED_JOURNAL)?.map(Arc::new),
        None => None,
    };
    config.record = None;
    config.bin_dirs = vec![PathBuf::from(bin_dir)];
    let runtime = Runtime::start(config).await?;
    let addresses = runtime.addresses();
    writeln!(std::io::stdout(), "{} {}", addresses.gateway, addresses.ingress)?;
    signal(SignalKind::terminate())?.recv().await;
    runtime.shutdown().await;
    Ok(())
}
