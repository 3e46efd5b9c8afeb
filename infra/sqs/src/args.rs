//! What decides which queues are used.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use url::Url;

use crate::{OpenError, Queues, Routes};

/// Largest message in bytes unless `--sqs-claim-bytes` says otherwise: 256 KiB, what every SQS queue takes. Larger ones
/// go by way of S3.
pub const CLAIM_BYTES: usize = 256 * 1024;

/// Queues instead of a broker. A function flattens this into its own arguments.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Amazon SQS")]
pub struct SqsArgs {
    /// What the queues' URLs begin with, such as `https://sqs.eu-central-1.amazonaws.com/123456789012/regrove-`: in
    /// place of a broker
    #[arg(long = "sqs-queues", global = true, env = "REGROVE_SQS_QUEUES", value_name = "URL")]
    pub queues: Option<Url>,
    /// Triggers and ping sources that say what goes into which queue: a manifest, or a folder of them
    #[arg(
        long = "sqs-manifests",
        global = true,
        env = "REGROVE_SQS_MANIFESTS",
        default_value = "k8s/eventing",
        value_name = "PATH"
    )]
    pub manifests: PathBuf,
    /// S3 bucket for what is too large for a message
    #[arg(long = "sqs-claim-bucket", global = true, env = "REGROVE_SQS_CLAIM_BUCKET", value_name = "NAME")]
    pub claim_bucket: Option<String>,
    /// Largest message in bytes; data of larger events go into the bucket
    #[arg(long = "sqs-claim-bytes", global = true, env = "REGROVE_SQS_CLAIM_BYTES", default_value_t = CLAIM_BYTES, value_name = "BYTES")]
    pub claim_bytes: usize,
    /// Another S3, such as a test's
    #[arg(long = "s3-endpoint", global = true, env = "AWS_ENDPOINT_URL_S3", value_name = "URL")]
    pub s3_endpoint: Option<Url>,
    /// Whoever sends and whoever receives use the same queues.
    #[arg(skip)]
    opened: Arc<OnceLock<Arc<Queues>>>,
}

/// Where manifests are when nothing is said.
const MANIFESTS: &str = "k8s/eventing";

impl Default for SqsArgs {
    /// No queues.
    fn default() -> Self {
        Self {
            queues: None,
            manifests: MANIFESTS.into(),
            claim_bucket: None,
            claim_bytes: CLAIM_BYTES,
            s3_endpoint: None,
            opened: Arc::default(),
        }
    }
}

impl SqsArgs {
    /// The queues, if there are any. Reads the manifests at the first call; contacts nothing.
    ///
    /// # Errors
    /// [`OpenError`] when the arguments or the manifests cannot be used.
    pub fn open(&self) -> Result<Option<Arc<Queues>>, OpenError> {
        let Some(prefix) = &self.queues else { return Ok(None) };
        if let Some(opened) = self.opened.get() {
            return Ok(Some(Arc::clone(opened)));
        }
        let queues = Arc::new(Queues::new(Routes::read(&self.manifests)?, prefix, self)?);
        Ok(Some(Arc::clone(self.opened.get_or_init(|| queues))))
    }
}
