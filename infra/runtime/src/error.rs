//! Why a runtime does not start.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::broker::JournalError;

/// One thing in the manifests that cannot be run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The object, as `Kind namespace/name`.
    pub object: String,
    /// What is wrong, and what would mend it.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.object, self.reason)
    }
}

/// Why a runtime does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something in the manifests cannot be run; all of it at once.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Faults(Vec<Fault>),
    /// Another runtime works in this folder.
    #[error("another runtime is using {}; stop it, or choose another folder with --home", home.display())]
    HomeInUse {
        /// The folder.
        home: PathBuf,
    },
    /// The folder cannot be made or written.
    #[error("cannot use the folder {} (--home)", home.display())]
    Home {
        /// The folder.
        home: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A port has another owner.
    #[error("port {} is already taken; choose another for the {name} with {flag}, or 0 for a free one", address.port())]
    PortTaken {
        /// What was to listen there.
        name: &'static str,
        /// The address.
        address: SocketAddr,
        /// The command line flag that chooses another.
        flag: &'static str,
    },
    /// An address cannot be listened on for another reason.
    #[error("cannot listen on {address} for the {name} ({flag})")]
    Listen {
        /// What was to listen there.
        name: &'static str,
        /// The address.
        address: SocketAddr,
        /// The command line flag that chooses another.
        flag: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The time scale is not a number of at least 1.
    #[error("--fast-time {0} is not a factor of at least 1")]
    TimeScale(f64),
    /// The broker's file cannot be opened.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The embedded record cannot be opened.
    #[error("cannot open the embedded record")]
    Record(#[from] regrove_record::OpenError),
    /// The record of a service's revisions cannot be read or written.
    #[error("cannot use {}, which holds a service's revisions; without it the next revision is the first", file.display())]
    History {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        #[source]
        source: io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}
