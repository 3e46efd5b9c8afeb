//! The folder of a runtime and the lock that makes it the only one there.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::Error;

/// Name of the lock file inside the folder.
const LOCK_FILE: &str = "runtime.lock";

/// Holds the lock; the system lets it go with the process, however that ends.
#[derive(Debug)]
pub(crate) struct HomeLock {
    _file: File,
}

/// Makes the folder if needed and takes its lock.
pub(crate) fn lock(home: &Path) -> Result<HomeLock, Error> {
    let failed = |source: io::Error| Error::Home { home: home.to_owned(), source };
    fs::create_dir_all(home).map_err(failed)?;
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(home.join(LOCK_FILE)).map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(HomeLock { _file: file }),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::HomeInUse { home: home.to_owned() }),
        Err(error) => Err(failed(error.into())),
    }
}
