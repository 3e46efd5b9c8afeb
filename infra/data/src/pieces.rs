//! Parquet that lies elsewhere: only the footer and the columns that are wanted are fetched, into a file with holes.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use futures_util::StreamExt as _;
use tempfile::NamedTempFile;

use crate::bucket::PinnedObject;
use crate::fetch::{Local, Pieces};
use crate::parquet_table::{ParquetTable, footer_bytes};
use crate::web::Pinned;
use crate::{Columns, Error, Limits, Progress, Stage};

/// What Parquet begins and ends with.
pub(crate) const MAGIC: &[u8; 4] = b"PAR1";
/// Bytes at the end that are fetched at once: most footers are shorter.
const TAIL_BYTES: u64 = 64 << 10;
/// Bytes that nobody wants and that are fetched all the same, because another request would cost more.
const GAP_BYTES_MAX: u64 = 16 << 10;
/// Largest object of which pieces are read.
const OBJECT_BYTES_MAX: u64 = 8 << 40;

/// Somebody else's object, of which pieces can be had as long as it stays the same.
pub(crate) enum Remote {
    Web(Pinned),
    Bucket(PinnedObject),
}

impl Remote {
    fn total(&self) -> u64 {
        match self {
            Self::Web(object) => object.total(),
            Self::Bucket(object) => object.total(),
        }
    }

    async fn piece(&self, range: &Range<u64>) -> Result<Pieces, Error> {
        match self {
            Self::Web(object) => object.piece(range).await,
            Self::Bucket(object) => object.piece(range).await,
        }
    }
}

/// Fetches what is wanted of a Parquet object. The file has its length and its footer; where nothing was wanted it has
/// holes, which take no room.
pub(crate) async fn fetch_pieces(
    remote: &Remote,
    uri: &str,
    columns: &Columns<'_>,
    limits: &Limits,
    spool: &Path,
    progress: &dyn Progress,
) -> Result<Local, Error> {
    let total = remote.total();
    if total > OBJECT_BYTES_MAX {
        let setting = "the limit of objects in the library";
        return Err(Error::TooLarge { what: "bytes", max: OBJECT_BYTES_MAX, setting });
    }
    let wrong = |source| Error::io(spool.display(), source);
    std::fs::create_dir_all(spool).map_err(wrong)?;
    let file = NamedTempFile::new_in(spool).map_err(wrong)?;
    file.as_file().set_len(total).map_err(wrong)?;
    file.as_file().write_all_at(MAGIC, 0).map_err(wrong)?;
    let mut copy = Copy { remote, uri, file: file.as_file(), spool, fetched: 0, wanted: None, progress };
    let tail = total.saturating_sub(TAIL_BYTES)..total;
    copy.range(&tail).await?;
    let footer = footer_bytes(file.as_file(), total)?;
    let known = tail.start.min(total - footer)..total;
    copy.range(&(known.start..tail.start)).await?;
    let chunks = ParquetTable::open(file.path().to_owned(), limits)?.chunks(columns);
    let ranges = joined(chunks, known.start);
    let wanted = copy.fetched + ranges.iter().map(|range| range.end - range.start).sum::<u64>();
    limits.check_bytes(wanted)?;
    copy.wanted = Some(wanted);
    for range in &ranges {
        copy.range(range).await?;
    }
    let bytes = copy.fetched;
    Ok(Local::spooled(file, bytes))
}

/// Ranges in order, those that touch or almost touch as one, and nothing from `known` on.
fn joined(mut ranges: Vec<Range<u64>>, known: u64) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    let mut all: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        let range = range.start..range.end.min(known);
        match all.last_mut() {
            _ if range.is_empty() => {}
            Some(last) if range.start <= last.end.saturating_add(GAP_BYTES_MAX) => last.end = last.end.max(range.end),
            _ => all.push(range),
        }
    }
    all
}

/// Pieces on their way into a file.
struct Copy<'a> {
    remote: &'a Remote,
    uri: &'a str,
    file: &'a File,
    spool: &'a Path,
    fetched: u64,
    wanted: Option<u64>,
    progress: &'a dyn Progress,
}

impl Copy<'_> {
    async fn range(&mut self, range: &Range<u64>) -> Result<(), Error> {
        if range.is_empty() {
            return Ok(());
        }
        let mut place = range.start;
        let mut pieces = self.remote.piece(range).await?;
        while let Some(piece) = pieces.next().await {
            let piece = piece?;
            let end = place + piece.len() as u64;
            if end > range.end {
                place = end;
                break;
            }
            self.file.write_all_at(&piece, place).map_err(|source| Error::io(self.spool.display(), source))?;
            place = end;
            self.fetched += piece.len() as u64;
            self.progress.advance(Stage::Fetch, self.fetched, self.wanted);
        }
        if place != range.end {
            let (got, asked) = (place - range.start, range.end - range.start);
            let reason = format!("{got} bytes came of a piece of {asked}");
            return Err(Error::Unavailable { uri: self.uri.to_owned(), reason });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_that_almost_touch_are_one() {
        let (near, far) = (GAP_BYTES_MAX, GAP_BYTES_MAX + 1);
        let check = |ranges: &[(u64, u64)], known: u64, expected: &[(u64, u64)]| {
            let made = joined(ranges.iter().map(|&(start, end)| start..end).collect(), known);
            assert_eq!(made.iter().map(|range| (range.start, range.end)).collect::<Vec<_>>(), expected);
        };
        check(&[(10, 20), (4, 10)], 1000, &[(4, 20)]);
        check(&[(0, 10), (10 + near, 50_000)], 100_000, &[(0, 50_000)]);
        check(&[(0, 10), (10 + far, 50_000)], 100_000, &[(0, 10), (10 + far, 50_000)]);
        check(&[(0, 10), (50_000, 60_000), (70_000, 80_000)], 55_000, &[(0, 10), (50_000, 55_000)]);
        check(&[(5, 5)], 100, &[]);
        check(&[(0, 100), (10, 20)], 1000, &[(0, 100)]);
    }
}
