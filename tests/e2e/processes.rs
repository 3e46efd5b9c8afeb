//! Which processes belong to a home directory, by their environment: every function is told its home.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::polling::until_blocking;

/// How long a process that was killed may take to leave the process table.
const REAPED_WITHIN: Duration = Duration::from_mins(1);

/// A process that works in a home directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// The program's file name.
    pub(crate) name: String,
}

impl Process {
    /// Kills it at once. `false` when it has ended by itself.
    pub(crate) fn kill(&self) -> bool {
        kill_process(Pid::from_raw(self.pid).unwrap(), Signal::KILL).is_ok()
    }

    /// Inodes of its sockets.
    pub(crate) fn sockets(&self) -> Vec<u64> {
        let Ok(entries) = fs::read_dir(format!("/proc/{}/fd", self.pid)) else { return Vec::new() };
        entries
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
            .filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok())
            .collect()
    }
}

/// All living processes whose `REGROVE_HOME` is this directory, except this test.
pub(crate) fn of_home(home: &Path) -> Vec<Process> {
    let home = home.canonicalize().unwrap_or_else(|_| home.to_owned());
    let wanted = [b"REGROVE_HOME=", home.as_os_str().as_bytes()].concat();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process may end between any two of these lines.
        let Ok(environment) = fs::read(entry.path().join("environ")) else { continue };
        if pid != std::process::id().cast_signed() && environment.split(|&byte| byte == 0).any(|entry| entry == wanted)
        {
            let program: PathBuf = fs::read_link(entry.path().join("exe")).unwrap_or_default();
            let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
            found.push(Process { pid, name });
        }
    }
    found
}

/// Fails if a process of this home directory does not go away.
pub(crate) fn assert_none_left(home: &Path) {
    let gone = until_blocking(REAPED_WITHIN, || of_home(home).is_empty().then_some(()));
    assert!(gone.is_ok(), "processes are left: {:?}", of_home(home));
}

/// Whether a process has asked to be told of a signal, by its number.
pub(crate) fn catches(pid: u32, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or_default();
    let mask = u64::from_str_radix(mask.trim(), 16).unwrap_or_default();
    mask & (1 << (signal.as_raw() - 1)) != 0
}
