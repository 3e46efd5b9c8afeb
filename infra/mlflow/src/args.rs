//! Where MLflow is and how to log in: the section of command line and environment that functions flatten in.

use std::fmt;
use std::str::FromStr;

/// Where the embedded record of the local runtime listens.
pub const DEFAULT_TRACKING_URI: &str = "http://localhost:8989";

/// Seconds that one REST call may take, artifact transfers included.
pub const REQUEST_SECONDS_DEFAULT: u64 = 30;

/// A text that `Debug` and `--help` never show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

/// Connection to MLflow. The names are those that Python's `mlflow` reads.
#[derive(Clone, clap::Args)]
pub struct MlflowArgs {
    /// Base URI of MLflow, http or https; user and password in it are used for Basic authentication.
    #[arg(
        long = "mlflow-tracking-uri",
        env = "MLFLOW_TRACKING_URI",
        default_value = DEFAULT_TRACKING_URI,
        hide_env_values = true
    )]
    pub tracking_uri: String,
    /// User name for Basic authentication.
    #[arg(long = "mlflow-tracking-username", env = "MLFLOW_TRACKING_USERNAME", hide_env_values = true)]
    pub username: Option<String>,
    /// Password for Basic authentication.
    #[arg(long = "mlflow-tracking-password", env = "MLFLOW_TRACKING_PASSWORD", hide_env_values = true)]
    pub password: Option<Secret>,
    /// Bearer token; used when no user name is set.
    #[arg(long = "mlflow-tracking-token", env = "MLFLOW_TRACKING_TOKEN", hide_env_values = true)]
    pub token: Option<Secret>,
    /// Seconds that one call to MLflow may take, transfers of artifacts included.
    #[arg(
        long = "mlflow-timeout-seconds",
        env = "REGROVE_MLFLOW_TIMEOUT_SECONDS",
        default_value_t = REQUEST_SECONDS_DEFAULT,
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    pub timeout_seconds: u64,
}

impl MlflowArgs {
    /// Arguments for `tracking_uri` without credentials and with the default timeout.
    pub fn for_uri(tracking_uri: impl Into<String>) -> Self {
        Self {
            tracking_uri: tracking_uri.into(),
            username: None,
            password: None,
            token: None,
            timeout_seconds: REQUEST_SECONDS_DEFAULT,
        }
    }
}

impl fmt::Debug for MlflowArgs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("MlflowArgs")
            .field("tracking_uri", &without_userinfo(&self.tracking_uri))
            .field("username", &self.username.as_ref().map(|_| "[redacted]"))
            .field("password", &self.password)
            .field("token", &self.token)
            .field("timeout_seconds", &self.timeout_seconds)
            .finish()
    }
}

/// `uri` as it may be logged. A text that is no URI is not shown at all, since it may be a misplaced secret.
fn without_userinfo(uri: &str) -> String {
    match url::Url::parse(uri) {
        Ok(mut parsed) => {
            let cleared = parsed.set_username("").and_then(|()| parsed.set_password(None));
            if cleared.is_ok() || !parsed.has_authority() { parsed.to_string() } else { "[not shown]".to_owned() }
        }
        Err(_) => "[not a URI]".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        mlflow: MlflowArgs,
    }

    #[test]
    fn debug_shows_no_secret() {
        let command = Command::parse_from([
            "x",
            "--mlflow-tracking-uri=http://ann:hush@host:5000/base",
            "--mlflow-tracking-username=bob",
            "--mlflow-tracking-password=hush",
            "--mlflow-tracking-token=hush",
        ]);
        let shown = format!("{command:?}");
        assert!(!shown.contains("hush") && !shown.contains("ann") && !shown.contains("bob"), "{shown}");
        assert!(shown.contains("http://host:5000/base"), "{shown}");
    }

    #[test]
    fn a_text_that_is_no_uri_is_not_shown() {
        let shown = format!("{:?}", MlflowArgs::for_uri("s3cret"));
        assert!(!shown.contains("s3cret"), "{shown}");
    }

    #[test]
    fn a_timeout_of_zero_is_refused() {
        let refused = Command::try_parse_from(["x", "--mlflow-timeout-seconds=0"]);
        assert!(refused.is_err());
    }
}
