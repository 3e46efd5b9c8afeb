//! Peak memory of a piece of work, as Linux counts it.

use std::fs;

use anyhow::{Context, Result};

/// Most memory resident during the work, in bytes, and its result.
pub(crate) fn peak<T>(work: impl FnOnce() -> T) -> Result<(T, u64)> {
    // Writing 5 sets the high-water mark back to what is resident now (proc(5)).
    fs::write("/proc/self/clear_refs", "5").context("cannot reset the memory's high-water mark")?;
    let result = work();
    Ok((result, resident("VmHWM:")?))
}

/// A line of `/proc/self/status`, in bytes.
fn resident(name: &str) -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes * 1024)
}
