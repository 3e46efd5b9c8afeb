//! A file much larger than what its reading takes.

use std::io::{BufWriter, Write as _};

use regrove_data::{Columns, Error, Limits, Location, Policy, fetch, prepare};

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

/// Bytes of the stream, and what this process may ever have held, the server in it included.
const STREAM_BYTES: u64 = 256 << 20;
const STREAM_RESIDENT_KIB_MAX: u64 = 40 * 1024;

/// Bytes of a data set that is larger than any limit in these tests.
const HUGE_BYTES: u64 = 20_000_000_000;

/// At least so many bytes of CSV, made up while they are read.
fn made_up(bytes: u64) -> axum::body::Body {
    const LINE: &[u8] = b"0.12345678,0.87654321,0.5,yes\n";
    let piece = axum::body::Bytes::from(LINE.repeat((1 << 16) / LINE.len()));
    let pieces = bytes.div_ceil(piece.len() as u64);
    let head = std::iter::once(axum::body::Bytes::from_static(b"a,b,c,y\n"));
    let rows = std::iter::repeat_n(piece, usize::try_from(pieces).unwrap());
    axum::body::Body::from_stream(futures_util::stream::iter(head.chain(rows).map(Ok::<_, std::io::Error>)))
}

/// A web server that makes data sets up while they are read.
async fn generator() -> String {
    let routes = axum::Router::new()
        .route("/large.csv", axum::routing::get(async || made_up(STREAM_BYTES)))
        .route("/huge.csv", axum::routing::get(async || made_up(HUGE_BYTES)))
        .route(
            "/declared.csv",
            axum::routing::get(async || ([("content-length", HUGE_BYTES.to_string())], made_up(HUGE_BYTES))),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    format!("http://{address}")
}

#[tokio::test]
async fn memory_does_not_grow_with_the_stream() {
    let server = generator().await;
    let location = Location::parse(&format!("{server}/large.csv")).unwrap();
    let policy = Policy::for_events(Some(&server), None).unwrap();
    let spool = Folder::new();
    let limits = Limits { bytes_max: u64::MAX, ..Limits::default() };
    let local = fetch(&location, &policy, &limits, spool.dir.path(), &Columns::All, &()).await.unwrap();
    assert!(local.bytes() >= STREAM_BYTES, "{}", local.bytes());
    assert_eq!(local.path().metadata().unwrap().len(), local.bytes());
    let resident = resident_kib();
    assert!(
        resident < STREAM_RESIDENT_KIB_MAX,
        "{resident} KiB were resident for a stream of {} KiB",
        STREAM_BYTES >> 10
    );
}

#[tokio::test]
async fn twenty_gigabytes_are_refused_at_the_limit_in_bounded_memory() {
    let server = generator().await;
    let policy = Policy::for_events(Some(&server), None).unwrap();
    let limits = Limits { bytes_max: 64 << 20, ..Limits::default() };
    for name in ["huge.csv", "declared.csv"] {
        let spool = Folder::new();
        let location = Location::parse(&format!("{server}/{name}")).unwrap();
        let refused = fetch(&location, &policy, &limits, spool.dir.path(), &Columns::All, &()).await.unwrap_err();
        assert!(matches!(refused, Error::TooLarge { what: "bytes", max: 67_108_864, .. }), "{name}: {refused}");
        assert!(refused.to_string().contains("raise --data-bytes-max (REGROVE_DATA_BYTES_MAX)"), "{refused}");
        assert_eq!(std::fs::read_dir(spool.dir.path()).unwrap().count(), 0, "{name}: nothing is left on disk");
    }
    let resident = resident_kib();
    assert!(resident < STREAM_RESIDENT_KIB_MAX, "{resident} KiB were resident for streams of {HUGE_BYTES} bytes");
}

/// The most memory that this process has held.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
