//! What fuzzing began with and what it found worth keeping, read again by tests.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

/// The files of a target's folder, by name.
fn inputs(fuzz: &Path, folder: &str, target: &str) -> anyhow::Result<Vec<(PathBuf, Vec<u8>)>> {
    let folder = fuzz.join(folder).join(target);
    let mut inputs = Vec::new();
    for entry in folder.read_dir().with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        inputs.push((path.clone(), std::fs::read(&path)?));
    }
    inputs.sort();
    Ok(inputs)
}

/// Reads the seeds and the corpus of a fuzz target, which lie in `seeds/` and `corpus/` of `fuzz`. Every seed is taken; of what
/// was kept, some is and some is refused.
///
/// # Errors
/// A seed that is not taken, a corpus that is taken as a whole or not at all, and what cannot be read.
pub fn check_corpus(fuzz: &Path, target: &str, is_taken: impl Fn(&[u8]) -> bool) -> anyhow::Result<()> {
    for (path, seed) in inputs(fuzz, "seeds", target)? {
        ensure!(is_taken(&seed), "{} is refused", path.display());
    }
    let kept = inputs(fuzz, "corpus", target)?;
    let taken = kept.iter().filter(|(_, input)| is_taken(input)).count();
    ensure!(taken > 0 && taken < kept.len(), "{taken} of {} kept inputs of {target}", kept.len());
    Ok(())
}
