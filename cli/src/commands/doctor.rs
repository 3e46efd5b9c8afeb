//! `regrove doctor`: what is configured, reachable, and wrong.

use anyhow::bail;
use jiff::Timestamp;
use regrove_mlflow::MlflowArgs;

use crate::doctor::cluster::Cluster;
use crate::doctor::{Finding, Verdict, here};
use crate::kubectl::KubectlArgs;
use crate::output::Output;
use crate::reach::Reach;

/// Look at what is configured, what answers, and what is wrong
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  regrove doctor\n  regrove doctor --cluster --context minikube\n  regrove doctor --json\n\n\
                  Nothing is changed. The exit code is 1 when something is wrong, and 0 with mere doubts."
)]
pub(crate) struct Args {
    /// Look at the cluster too, with kubectl
    #[arg(long)]
    cluster: bool,
    #[command(flatten)]
    kubectl: KubectlArgs,
    #[command(flatten)]
    mlflow: MlflowArgs,
}

#[expect(clippy::disallowed_methods, reason = "a command is where the outside, and its clock, begins")]
pub(crate) async fn run(args: Args, reach: &Reach, output: &Output) -> anyhow::Result<()> {
    let mut findings = here::examine(reach, &args.mlflow, Timestamp::now).await;
    if args.cluster {
        let (namespace, domain) = (reach.namespace.clone(), reach.domain.clone());
        let cluster = Cluster { kubectl: args.kubectl, namespace, domain };
        findings.extend(cluster.examine(Timestamp::now).await);
    }
    output.result(&findings, || findings.iter().map(line).collect::<Vec<_>>().join("\n"))?;
    let wrong = findings.iter().filter(|finding| finding.verdict == Verdict::Wrong).count();
    if wrong > 0 {
        bail!("{wrong} of {} things are wrong", findings.len());
    }
    Ok(())
}

fn line(finding: &Finding) -> String {
    let mark = match finding.verdict {
        Verdict::Well => "well ",
        Verdict::Doubt => "doubt",
        Verdict::Wrong => "WRONG",
    };
    let mut text = format!("{mark}  {}: {}", finding.what, finding.detail);
    if let Some(mend) = &finding.mend {
        text.push_str("\n       → ");
        text.push_str(mend);
    }
    text
}
