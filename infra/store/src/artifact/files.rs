//! Artifacts as files, `sha256/ab/<hash>`: written beside and renamed, so that a file is never half there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use regrove_events::Artifact;
use regrove_hash::sha256_of_file;
use uuid::Uuid;

use super::Error;

/// A directory of artifacts, shared by the processes of a machine.
#[derive(Debug, Clone)]
pub(super) struct Files {
    directory: PathBuf,
}

impl Files {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    pub(super) fn path(&self, sha256: &str) -> PathBuf {
        let folder = sha256.get(..2).unwrap_or_default();
        self.directory.join("sha256").join(folder).join(sha256)
    }

    /// Stores the bytes unless they are there and undamaged.
    pub(super) fn put(&self, artifact: &Artifact, bytes: &[u8]) -> Result<(), Error> {
        if self.open(artifact).is_ok() {
            return Ok(());
        }
        let path = self.path(&artifact.sha256);
        let folder = path.parent().unwrap_or(&self.directory);
        let wrong = |path: &Path, source| Error::File { path: path.to_owned(), source };
        fs::create_dir_all(folder).map_err(|source| wrong(folder, source))?;
        let draft = folder.join(format!(".{}", Uuid::new_v4()));
        let written = fs::write(&draft, bytes).and_then(|()| fs::rename(&draft, &path));
        written.map_err(|source| {
            // What is left of it, if anything: the first error is the one to tell.
            drop(fs::remove_file(&draft));
            wrong(&path, source)
        })
    }

    /// Makes a file the artifact: moves it, or copies it from another file system.
    pub(super) fn adopt(&self, artifact: &Artifact, from: &Path) -> Result<(), Error> {
        if self.open(artifact).is_ok() {
            return Ok(());
        }
        let path = self.path(&artifact.sha256);
        let folder = path.parent().unwrap_or(&self.directory);
        let wrong = |path: &Path, source| Error::File { path: path.to_owned(), source };
        fs::create_dir_all(folder).map_err(|source| wrong(folder, source))?;
        match fs::rename(from, &path) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                let draft = folder.join(format!(".{}", Uuid::new_v4()));
                let copied = fs::copy(from, &draft).and_then(|_| fs::rename(&draft, &path));
                copied.map_err(|source| {
                    drop(fs::remove_file(&draft));
                    wrong(&path, source)
                })
            }
            moved => moved.map_err(|source| wrong(&path, source)),
        }
    }

    /// The bytes, of which only the length has been compared.
    pub(super) fn read(&self, artifact: &Artifact) -> Result<Bytes, Error> {
        let path = self.path(&artifact.sha256);
        self.check_length(artifact, &path)?;
        fs::read(&path).map(Bytes::from).map_err(|source| self.unreadable(artifact, &path, source))
    }

    /// The file's path, after its bytes have been compared with its name.
    pub(super) fn open(&self, artifact: &Artifact) -> Result<PathBuf, Error> {
        let path = self.path(&artifact.sha256);
        self.check_length(artifact, &path)?;
        let found = sha256_of_file(&path, |_| ()).map_err(|source| self.unreadable(artifact, &path, source))?;
        if found != artifact.sha256 {
            return Err(self.corrupt(artifact, format!("its SHA-256 is {found}")));
        }
        Ok(path)
    }

    pub(super) fn contains(&self, artifact: &Artifact) -> Result<bool, Error> {
        match self.check_length(artifact, &self.path(&artifact.sha256)) {
            Ok(()) => Ok(true),
            Err(Error::Missing { .. } | Error::Corrupt { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Cheaper than a hash, and enough for a file that a loss of power cut short; also keeps reads within the limit.
    fn check_length(&self, artifact: &Artifact, path: &Path) -> Result<(), Error> {
        let length = fs::metadata(path).map_err(|source| self.unreadable(artifact, path, source))?.len();
        if length != artifact.bytes {
            return Err(self.corrupt(artifact, format!("it has {length} bytes, not {}", artifact.bytes)));
        }
        Ok(())
    }

    fn corrupt(&self, artifact: &Artifact, reason: String) -> Error {
        Error::Corrupt { sha256: artifact.sha256.clone(), place: self.place(), reason }
    }

    fn unreadable(&self, artifact: &Artifact, path: &Path, source: io::Error) -> Error {
        if source.kind() == io::ErrorKind::NotFound {
            return Error::Missing { sha256: artifact.sha256.clone(), place: self.place() };
        }
        Error::File { path: path.to_owned(), source }
    }

    pub(super) fn place(&self) -> String {
        self.directory.display().to_string()
    }
}
