//! Where manifests come from: a file, a directory, standard input, or the copy inside this program.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use regrove_knative::manifest::{Application, Source};
use serde::Deserialize;

use crate::output::{Output, Usage};

/// What a kustomization file is called.
const KUSTOMIZATION: &str = "kustomization.yaml";

/// The manifests of this repository, as they were when this program was built.
const EMBEDDED: [(&str, &str); 10] = [
    ("k8s/namespace.yaml", include_str!("../../k8s/namespace.yaml")),
    ("k8s/broker.yaml", include_str!("../../k8s/broker.yaml")),
    ("k8s/functions/aggregate.yaml", include_str!("../../k8s/functions/aggregate.yaml")),
    ("k8s/functions/train-shard.yaml", include_str!("../../k8s/functions/train-shard.yaml")),
    ("k8s/functions/register.yaml", include_str!("../../k8s/functions/register.yaml")),
    ("k8s/functions/load-model.yaml", include_str!("../../k8s/functions/load-model.yaml")),
    ("k8s/functions/predict.yaml", include_str!("../../k8s/functions/predict.yaml")),
    ("k8s/sinkbinding.yaml", include_str!("../../k8s/sinkbinding.yaml")),
    ("k8s/triggers.yaml", include_str!("../../k8s/triggers.yaml")),
    ("k8s/ping.yaml", include_str!("../../k8s/ping.yaml")),
];

/// The part of a kustomization that says which files belong together.
#[derive(Debug, Deserialize)]
struct Kustomization {
    #[serde(default)]
    resources: Vec<PathBuf>,
}

/// Reads manifests and says what was passed over. Without `from`: `./k8s` if it is there, else the embedded copy.
///
/// # Errors
/// [`Usage`] with every fault of every document.
pub(crate) fn read(from: Option<&Path>, output: &Output) -> anyhow::Result<Application> {
    let texts: Vec<(String, String)> = match from {
        Some(path) if path == Path::new("-") => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("standard input")?;
            vec![("-".to_owned(), text)]
        }
        Some(path) => files(path)?,
        None if Path::new("k8s").join(KUSTOMIZATION).is_file() => files(Path::new("k8s"))?,
        None => EMBEDDED.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect(),
    };
    let sources: Vec<Source<'_>> = texts.iter().map(|(name, text)| Source { name, text }).collect();
    let application = Application::parse(&sources).map_err(|problems| Usage(problems.to_string()))?;
    for warning in &application.warnings {
        output.progress(format_args!("warning: {warning}"));
    }
    Ok(application)
}

fn files(path: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    collect(path, &mut found)?;
    if found.is_empty() {
        return Err(Usage(format!("there are no .yaml files in {}", path.display())).into());
    }
    Ok(found)
}

/// A file as it is; a directory by its kustomization's resources, or else by its YAML files in order of their names.
fn collect(path: &Path, found: &mut Vec<(String, String)>) -> anyhow::Result<()> {
    let missing = |error: std::io::Error| Usage(format!("{}: {error}", path.display()));
    if !path.metadata().map_err(missing)?.is_dir() {
        found.push((path.display().to_string(), std::fs::read_to_string(path).map_err(missing)?));
        return Ok(());
    }
    let kustomization = path.join(KUSTOMIZATION);
    if kustomization.is_file() {
        let text = std::fs::read_to_string(&kustomization).map_err(missing)?;
        let listed: Kustomization =
            serde_saphyr::from_str(&text).map_err(|error| Usage(format!("{}: {error}", kustomization.display())))?;
        return listed.resources.iter().try_for_each(|resource| collect(&path.join(resource), found));
    }
    let mut entries = Vec::new();
    for entry in path.read_dir().map_err(missing)? {
        let entry = entry.map_err(missing)?.path();
        let yaml = entry.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if entry.is_dir() || yaml {
            entries.push(entry);
        }
    }
    entries.sort();
    entries.iter().try_for_each(|entry| collect(entry, found))
}
