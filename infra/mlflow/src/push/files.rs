//! Files below an artifact root.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Push;
use crate::error::Error;
use crate::model_dir::{Content, MLMODEL_FILE};

/// Largest description of a model that is rewritten, in bytes; MLflow's are a few kilobytes.
const MLMODEL_BYTES_MAX: u64 = 4 << 20;

/// A file of this process in the system's folder for them; gone when this is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("regrove-push-{}-{number}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // One that was never made is no loss.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Push<'_> {
    /// Copies every file below `root` to `pushed_root`. In descriptions of models each text of `renamed` is replaced by
    /// what stands beside it: they name the run, the model and the place that they lie in.
    pub(super) async fn files(&mut self, root: &str, pushed_root: &str, renamed: &[(&str, &str)]) -> Result<(), Error> {
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            for entry in self.from.artifacts(root, &folder).await? {
                let name = below(&folder, &entry.path);
                if entry.is_dir {
                    folders.push(name);
                } else {
                    self.file(root, pushed_root, &name, entry.file_size.unwrap_or(u64::MAX), renamed).await?;
                }
            }
        }
        Ok(())
    }

    async fn file(
        &mut self,
        root: &str,
        pushed_root: &str,
        name: &str,
        bytes: u64,
        renamed: &[(&str, &str)],
    ) -> Result<(), Error> {
        let is_description = name.rsplit('/').next() == Some(MLMODEL_FILE) && bytes <= MLMODEL_BYTES_MAX;
        let written = if is_description {
            let text = self.from.artifact(root, name).await?;
            let text = String::from_utf8_lossy(&text).into_owned();
            let text = renamed.iter().fold(text, |text, (old, new)| text.replace(old, new));
            let written = text.len() as u64;
            self.to.put_artifact(pushed_root, name, &Content::Bytes(text.into())).await?;
            written
        } else {
            let scratch = Scratch::new();
            let written = self.from.artifact_to_file(root, name, &scratch.0).await?;
            self.to.put_artifact(pushed_root, name, &Content::Path(scratch.0.clone())).await?;
            written
        };
        self.done.files += 1;
        self.done.bytes += written;
        Ok(())
    }
}

/// A path below the root: servers name what a folder holds by its last part, older ones from the root on.
fn below(folder: &str, path: &str) -> String {
    if folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')) {
        path.to_owned()
    } else {
        format!("{folder}/{path}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read_from_the_root_on() {
        for (folder, path, expected) in
            [("", "a", "a"), ("a", "b", "a/b"), ("a", "a/b", "a/b"), ("a", "ab", "a/ab"), ("a/b", "a/b/c", "a/b/c")]
        {
            assert_eq!(below(folder, path), expected);
        }
    }

    #[test]
    fn what_is_fetched_is_gone_afterwards() {
        let scratch = Scratch::new();
        let path = scratch.0.clone();
        std::fs::write(&path, b"x").unwrap();
        drop(scratch);
        assert!(!path.exists());
    }
}
