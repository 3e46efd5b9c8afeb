//! The program that asks a cluster.

use std::ffi::OsString;

use tokio::process::Command;

/// Which cluster, and what asks it; for commands with a flag `--cluster`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct KubectlArgs {
    /// kubeconfig's context; the current one without it
    #[arg(long, requires = "cluster", value_name = "NAME")]
    context: Option<String>,
    /// The program that asks the cluster
    #[arg(long, requires = "cluster", default_value = "kubectl", value_name = "PROGRAM")]
    kubectl: OsString,
}

impl KubectlArgs {
    /// The program with its context; what it is asked has to be added.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.kubectl);
        if let Some(context) = &self.context {
            command.args(["--context", context]);
        }
        command
    }
}
