//! The memory that the program's own code takes.

use std::fs;
use std::ops::Range;
use std::time::Duration;

/// How long a process runs before it gives back the code that only its start needed.
const STARTED: Duration = Duration::from_secs(1);

/// Gives back the code that only the start needed. What answers requests is mapped again as it is called.
pub(crate) async fn give_back_after_start() {
    tokio::time::sleep(STARTED).await;
    match fs::read_to_string("/proc/self/maps") {
        Ok(maps) => ranges(&maps).for_each(give_back),
        Err(error) => tracing::debug!(%error, "the code of the start stays in memory"),
    }
}

/// Where the code of files is mapped: what can be executed, and not written.
fn ranges(maps: &str) -> impl Iterator<Item = Range<usize>> {
    maps.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (range, permissions, path) = (fields.next()?, fields.next()?, fields.nth(3)?);
        let (start, end) = range.split_once('-')?;
        let address = |text| usize::from_str_radix(text, 16).ok();
        (permissions == "r-xp" && path.starts_with('/')).then_some(address(start)?..address(end)?)
    })
}

#[expect(unsafe_code, reason = "advice on memory is unsafe because it can empty what was written")]
fn give_back(code: Range<usize>) {
    let start = std::ptr::with_exposed_provenance_mut(code.start);
    // SAFETY: these pages are those of a file, mapped for execution and never written: code that is position-independent needs
    // no relocation. Whoever calls them again gets the same bytes from the file.
    let advised = unsafe { rustix::mm::madvise(start, code.len(), rustix::mm::Advice::LinuxDontNeed) };
    if let Err(error) = advised {
        tracing::debug!(%error, "the code of the start stays in memory");
    }
}

#[cfg(test)]
mod tests {
    use super::ranges;

    #[test]
    fn only_code_of_files_is_found() {
        let maps = "\
            55c0f3a00000-55c0f3c00000 r--p 00000000 fe:00 1234                       /usr/bin/predict\n\
            55c0f3c00000-55c0f4600000 r-xp 00200000 fe:00 1234                       /usr/bin/predict\n\
            55c0f4600000-55c0f4650000 r--p 00c00000 fe:00 1234                       /usr/bin/predict\n\
            55c0f4650000-55c0f4660000 rw-p 00c50000 fe:00 1234                       /usr/bin/predict\n\
            7f0000000000-7f0000001000 rwxp 00000000 00:00 0 \n\
            7f0000001000-7f0000002000 r-xp 00000000 00:00 0 \n\
            7ffd5d7f0000-7ffd5d7f2000 r-xp 00000000 00:00 0                          [vdso]\n";
        assert!(ranges(maps).eq(std::iter::once(0x55c0_f3c0_0000..0x55c0_f460_0000)));
    }
}
