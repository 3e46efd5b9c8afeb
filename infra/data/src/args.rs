//! What decides which data sets are read, and how much of them.

use std::path::PathBuf;

use crate::{Limits, Policy};

/// Bytes of a data set, before and after decompression and as a frame, unless `--data-bytes-max` says otherwise: 64 GiB.
pub const DATA_BYTES_MAX: u64 = 64 << 30;
/// Rows of a data set unless `--data-rows-max` says otherwise.
pub const ROWS_MAX: u64 = 1_000_000_000;

/// Where data sets may come from. A function flattens this into its own arguments.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Data sets")]
pub struct DataArgs {
    /// Where data sets may come from: schemes (`https:`), hosts (`http://data.internal:9000`, `https://*.example.com`),
    /// buckets (`s3://training`), separated by commas. Without it https:, s3:, gs: and az: with public addresses only.
    /// A host that is named may be a private one.
    #[arg(long, env = "REGROVE_DATA_ALLOW", value_name = "LIST", value_parser = list)]
    pub data_allow: Option<String>,

    /// The only folder that `file:` data sets may be read from; naming it allows `file:`
    #[arg(long, env = "REGROVE_DATA_ROOT", value_name = "DIR")]
    pub data_root: Option<PathBuf>,

    /// Largest data set in bytes, before and after decompression and as float32 columns
    #[arg(long, env = "REGROVE_DATA_BYTES_MAX", value_name = "BYTES")]
    pub data_bytes_max: Option<u64>,

    /// Most rows of a data set
    #[arg(long, env = "REGROVE_DATA_ROWS_MAX", value_name = "ROWS")]
    pub data_rows_max: Option<u64>,
}

/// Refuses a list that cannot be read before anything else happens.
fn list(text: &str) -> Result<String, crate::Error> {
    Policy::for_events(Some(text), None).map(|_| text.to_owned())
}

impl DataArgs {
    /// What may be read.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] for a list that cannot be read.
    pub fn policy(&self) -> Result<Policy, crate::Error> {
        Policy::for_events(self.data_allow.as_deref(), self.data_root.as_deref())
    }

    /// How much may be read.
    pub fn limits(&self) -> Limits {
        let usual = Limits::default();
        Limits {
            bytes_max: self.data_bytes_max.unwrap_or(usual.bytes_max),
            rows_max: self.data_rows_max.unwrap_or(usual.rows_max),
            ..usual
        }
    }
}
