//! Log lines on standard error: JSON in a container, plain on a terminal.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Starts logging at `info`, or as `RUST_LOG` says. Does nothing when logging has been started already.
pub fn init() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let outcome = if std::io::stderr().is_terminal() {
        builder.try_init()
    } else {
        builder.json().flatten_event(true).with_span_list(false).try_init()
    };
    // A test may have set a subscriber of its own.
    outcome.unwrap_or_default();
}
