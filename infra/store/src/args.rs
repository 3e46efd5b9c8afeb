//! What decides where state is kept.

use std::fmt;
use std::path::PathBuf;

use crate::artifact::{ARTIFACT_BYTES_MAX, ARTIFACT_DAYS};
use crate::redis_link::redacted;

/// The directory that state lives in when nothing else is said.
pub const DEFAULT_HOME: &str = ".regrove";

/// Where the event log, leases and artifacts are kept. A function flattens this into its own arguments; in a command with
/// subcommands they may stand behind any of these.
#[derive(Clone, clap::Args)]
#[command(next_help_heading = "State")]
pub struct StoreArgs {
    /// Redis that keeps the event log, leases and artifacts: redis://HOST:PORT/DB, or rediss:// for TLS.
    /// Without it they are kept in files under --home.
    #[arg(long, global = true, env = "REDIS_URL", hide_env_values = true, value_name = "URL")]
    pub redis_url: Option<String>,

    /// Redis ACL user; takes the place of the one in the URL.
    #[arg(long, global = true, env = "REDIS_USERNAME", value_name = "NAME")]
    pub redis_username: Option<String>,

    /// Password of the Redis user; takes the place of the one in the URL.
    #[arg(long, global = true, env = "REDIS_PASSWORD", hide_env_values = true, value_name = "PASSWORD")]
    pub redis_password: Option<String>,

    /// PEM file with the certificate authorities to trust for rediss://, instead of the system's.
    #[arg(long, global = true, env = "REGROVE_REDIS_CA", value_name = "FILE")]
    pub redis_ca: Option<PathBuf>,

    /// Directory of this machine's state.
    #[arg(long, global = true, env = "REGROVE_HOME", default_value = DEFAULT_HOME, value_name = "DIR")]
    pub home: PathBuf,

    /// Largest artifact in bytes.
    #[arg(long, global = true, env = "REGROVE_ARTIFACT_BYTES_MAX", default_value_t = ARTIFACT_BYTES_MAX,
          value_name = "BYTES")]
    pub artifact_bytes_max: u64,

    /// Days that Redis keeps an artifact after it was last stored. Files are kept until somebody removes them.
    #[arg(long, global = true, env = "REGROVE_ARTIFACT_DAYS", default_value_t = ARTIFACT_DAYS,
          value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub artifact_days: u32,
}

impl StoreArgs {
    /// State in files under `home`, whatever the environment says.
    pub fn embedded(home: impl Into<PathBuf>) -> Self {
        Self {
            redis_url: None,
            redis_username: None,
            redis_password: None,
            redis_ca: None,
            home: home.into(),
            artifact_bytes_max: ARTIFACT_BYTES_MAX,
            artifact_days: ARTIFACT_DAYS,
        }
    }

    /// State in the Redis at `url`, whatever the environment says. `home` is for files that are to be mapped.
    pub fn redis(url: impl Into<String>, home: impl Into<PathBuf>) -> Self {
        Self { redis_url: Some(url.into()), ..Self::embedded(home) }
    }
}

impl Default for StoreArgs {
    fn default() -> Self {
        Self::embedded(DEFAULT_HOME)
    }
}

impl fmt::Debug for StoreArgs {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("StoreArgs")
            .field("redis_url", &self.redis_url.as_deref().map(redacted))
            .field("redis_username", &self.redis_username)
            .field("redis_password", &self.redis_password.as_ref().map(|_| "***"))
            .field("redis_ca", &self.redis_ca)
            .field("home", &self.home)
            .field("artifact_bytes_max", &self.artifact_bytes_max)
            .field("artifact_days", &self.artifact_days)
            .finish()
    }
}
