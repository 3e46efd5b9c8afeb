//! A file much larger than what its reading takes.

use std::io::{BufWriter, Write as _};

use regrove_data::prepare;

use crate::{Folder, table, wish};

/// Rows of the file: with its columns about 44 MB of CSV and 16 MB of frame.
const ROWS: u64 = 200_000;
const COLUMNS: u64 = 20;
/// What this process may ever have held, the test's own code included.
const RESIDENT_KIB_MAX: u64 = 32 * 1024;

/// Only where each test is a process of its own, as under nextest, is the high-water mark that of this test.
#[test]
fn memory_does_not_grow_with_the_file() {
    let folder = Folder::new();
    let path = folder.dir.path().join("large.csv");
    let mut out = BufWriter::with_capacity(1 << 20, std::fs::File::create(&path).unwrap());
    let names: Vec<String> = (0..COLUMNS).map(|column| format!("x{column}")).collect();
    writeln!(out, "{},y", names.join(",")).unwrap();
    let mut line = Vec::new();
    for row in 0..ROWS {
        line.clear();
        for column in 0..COLUMNS {
            let digits = row.wrapping_mul(2_654_435_761).wrapping_add(column * 97_003) % 100_000_000;
            line.extend_from_slice(b"0.");
            line.extend((0..8).rev().map(|place| b'0' + u8::try_from(digits / 10_u64.pow(place) % 10).unwrap()));
            line.push(b',');
        }
        line.extend_from_slice(if row % 3 == 0 { b"yes\n" } else { b"no\n" });
        out.write_all(&line).unwrap();
    }
    out.into_inner().unwrap();
    let bytes = path.metadata().unwrap().len();
    assert!(bytes > 40 << 20, "{bytes}");
    let prepared = prepare(&table(&path).unwrap(), &wish("y"), folder.dir.path(), &()).unwrap();
    assert_eq!((prepared.n_samples, prepared.feature_names.len()), (ROWS, 20));
    assert!(prepared.bytes > 16_000_000);
    let resident = resident_kib();
    assert!(resident < RESIDENT_KIB_MAX, "{resident} KiB were resident for a file of {} KiB", bytes >> 10);
}

/// The most memory that this process has held.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
