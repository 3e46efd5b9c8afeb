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
    ("k8s/eventing/broker.yaml", include_str!("../../k8s/eventing/broker.yaml")),
    ("k8s/functions/aggregate.yaml", include_str!("../../k8s/functions/aggregate.yaml")),
    ("k8s/functions/train-shard.yaml", include_str!("../../k8s/functions/train-shard.yaml")),
    ("k8s/functions/register.yaml", include_str!("../../k8s/functions/register.yaml")),
    ("k8s/functions/load-model.yaml", include_str!("../../k8s/functions/load-model.yaml")),
    ("k8s/functions/predict.yaml", include_str!("../../k8s/functions/predict.yaml")),
    ("k8s/functions/console.yaml", include_str!("../../k8s/functions/console.yaml")),
    ("k8s/eventing/sinkbinding.yaml", include_str!("../../k8s/eventing/sinkbinding.yaml")),
    ("k8s/eventing/triggers.yaml", include_str!("../../k8s/eventing/triggers.yaml")),
    ("k8s/eventing/ping.yaml", include_str!("../../k8s/eventing/ping.yaml")),
];

/// The part of a kustomization that says which files belong together.
#[derive(Debug, Deserialize)]
struct Kustomization {
    #[serde(default)]
    resources: Vec<PathBuf>,
}

/// Manifests as they are written, each with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Texts(Vec<(String, String)>);

impl Texts {
    /// Reads them. Without `from`: `./k8s` if it is there, else the embedded copy.
    ///
    /// # Errors
    /// [`Usage`] when there are none, or one cannot be read.
    pub(crate) fn read(from: Option<&Path>) -> anyhow::Result<Self> {
        Ok(Self(match from {
            Some(path) if is_stdin(path) => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).context("standard input")?;
                vec![("-".to_owned(), text)]
            }
            Some(path) => files(path)?,
            None => match default_folder() {
                Some(folder) => files(folder)?,
                None => EMBEDDED.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect(),
            },
        }))
    }

    /// What they ask for.
    ///
    /// # Errors
    /// [`Usage`] with every fault of every document.
    pub(crate) fn parse(&self) -> Result<Application, Usage> {
        let sources: Vec<Source<'_>> = self.0.iter().map(|(name, text)| Source { name, text }).collect();
        Application::parse(&sources).map_err(|problems| Usage(problems.to_string()))
    }
}

/// Reads manifests and says what was passed over. Without `from`: `./k8s` if it is there, else the embedded copy.
///
/// # Errors
/// [`Usage`] with every fault of every document.
pub(crate) fn read(from: Option<&Path>, output: &Output) -> anyhow::Result<Application> {
    let application = Texts::read(from)?.parse()?;
    for warning in &application.warnings {
        output.progress(format_args!("warning: {warning}"));
    }
    Ok(application)
}

/// Whether the manifests are files, which may change.
pub(crate) fn are_files(from: Option<&Path>) -> bool {
    from.map_or_else(|| default_folder().is_some(), |path| !is_stdin(path))
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

fn default_folder() -> Option<&'static Path> {
    let folder = Path::new("k8s");
    folder.join(KUSTOMIZATION).is_file().then_some(folder)
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
