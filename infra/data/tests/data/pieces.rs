//! Parquet over HTTP: what is fetched of it, and from which servers.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use regrove_data::{Columns, Error, Limits, Local, Location, Policy, Table, fetch, survey};
use regrove_events::event::CsvFormat;

use crate::{Folder, table, wish};

const ROWS: u64 = 40_000;
const GROUP_ROWS: usize = 10_000;
const TAIL_BYTES: u64 = 64 << 10;

/// Four columns of numbers that nothing makes smaller, in four row groups; each chunk is larger than the tail.
fn wide(salt: u64) -> Bytes {
    let column = |seed: u64| -> ArrayRef {
        let value = |row: u64| (row + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17).wrapping_mul(seed | 1);
        #[expect(clippy::cast_precision_loss, reason = "any numbers do")]
        Arc::new(Float64Array::from_iter_values((0..ROWS).map(|row| value(row) as f64)))
    };
    let kinds: ArrayRef = Arc::new(Int64Array::from_iter_values((0..ROWS).map(|row| i64::from(row % 2 == 0))));
    let columns = [("a", column(salt)), ("b", column(salt + 2)), ("c", column(salt + 4)), ("kind", kinds)];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties =
        WriterProperties::builder().set_dictionary_enabled(false).set_max_row_group_row_count(Some(GROUP_ROWS)).build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes.into()
}

/// Bytes of the chunks of one column that lie before the tail.
fn bytes_of(content: &Bytes, column: usize) -> u64 {
    let reader = SerializedFileReader::new(content.clone()).unwrap();
    let tail = content.len() as u64 - TAIL_BYTES;
    let chunks = reader.metadata().row_groups().iter().map(|group| {
        let (start, length) = group.column(column).byte_range();
        (start + length).min(tail).saturating_sub(start)
    });
    chunks.sum()
}

/// What a server does with requests for pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Habit {
    Good,
    /// Its objects have a time and no tag.
    TimeOnly,
    /// Sends everything, whatever it is asked for.
    IgnoresRange,
    /// Gives pieces, but does not say of what.
    SaysNoTag,
    /// The object is another one after the second answer; requests for the old one are refused.
    Replaced,
    /// The same, and whoever asks for the old one gets the new one.
    ReplacedAndSilent,
    /// Pieces are others than those asked for.
    WrongPieces,
    /// Pieces break off.
    ShortPieces,
}

struct Server {
    habit: Habit,
    content: Mutex<Bytes>,
    asked: AtomicUsize,
    sent: AtomicU64,
}

impl Server {
    /// Starts one, and says where.
    async fn start(habit: Habit, content: Bytes) -> (Arc<Self>, String) {
        let server =
            Arc::new(Self { habit, content: Mutex::new(content), asked: AtomicUsize::new(0), sent: AtomicU64::new(0) });
        let route = get(|State(server): State<Arc<Self>>, headers: HeaderMap| async move { server.answer(&headers) });
        let routes = Router::new().fallback_service(route.with_state(Arc::clone(&server)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        (server, format!("http://{address}"))
    }

    fn answer(&self, headers: &HeaderMap) -> Response {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        let is_new = asked >= 2 && matches!(self.habit, Habit::Replaced | Habit::ReplacedAndSilent);
        if is_new && asked == 2 {
            *self.content.lock().unwrap() = wide(99);
        }
        let content = self.content.lock().unwrap().clone();
        let tag = if is_new { "\"new\"" } else { "\"old\"" };
        let (name, value) = match self.habit {
            Habit::TimeOnly => (header::LAST_MODIFIED, "Fri, 27 Nov 2026 08:00:00 GMT"),
            _ => (header::ETAG, tag),
        };
        if let Some(wanted) = headers.get(header::IF_MATCH)
            && wanted != tag
            && self.habit == Habit::Replaced
        {
            return StatusCode::PRECONDITION_FAILED.into_response();
        }
        let range = headers.get(header::RANGE).filter(|_| self.habit != Habit::IgnoresRange);
        let Some(range) = range.and_then(|range| read_range(range.to_str().unwrap())) else {
            self.sent.fetch_add(content.len() as u64, Ordering::SeqCst);
            return ([(name, value)], content).into_response();
        };
        let shift = usize::from(self.habit == Habit::WrongPieces && asked > 0);
        let range = range.start - shift..range.end - shift;
        let said = format!("bytes {}-{}/{}", range.start, range.end - 1, content.len());
        let end = if self.habit == Habit::ShortPieces && asked > 1 { range.end - 1 } else { range.end };
        let piece = content.slice(range.start..end);
        self.sent.fetch_add(piece.len() as u64, Ordering::SeqCst);
        let mut answer =
            (StatusCode::PARTIAL_CONTENT, [(header::CONTENT_RANGE, said)], Body::from(piece)).into_response();
        if self.habit != Habit::SaysNoTag {
            answer.headers_mut().insert(name, value.parse().unwrap());
        }
        answer
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }
}

fn read_range(text: &str) -> Option<Range<usize>> {
    let (start, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    Some(start.parse().ok()?..last.parse::<usize>().ok()? + 1)
}

async fn fetched(address: &str, name: &str, columns: &Columns<'_>, limits: &Limits) -> Result<(Local, Folder), Error> {
    let spool = Folder::new();
    let location = Location::parse(&format!("{address}/{name}"))?;
    let policy = Policy::for_events(Some(address), None)?;
    Ok((fetch(&location, &policy, limits, spool.dir.path(), columns, &()).await?, spool))
}

async fn wide_from(habit: Habit, columns: &Columns<'_>) -> (Result<(Local, Folder), Error>, Arc<Server>) {
    let (server, address) = Server::start(habit, wide(1)).await;
    (fetched(&address, "wide.parquet", columns, &Limits::default()).await, server)
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn only_the_footer_and_the_wanted_columns_are_fetched() {
    use std::os::unix::fs::MetadataExt as _;
    let content = wide(1);
    for (habit, wanted, columns) in [
        (Habit::Good, names(&["b", "kind"]), vec![1, 3]),
        (Habit::TimeOnly, names(&["c"]), vec![2]),
        (Habit::Good, names(&[]), vec![]),
    ] {
        let (local, server) = wide_from(habit, &Columns::Only(&wanted)).await;
        let (local, _spool) = local.unwrap();
        let chunks: u64 = columns.iter().map(|column| bytes_of(&content, *column)).sum();
        assert_eq!(local.bytes(), TAIL_BYTES + chunks, "{wanted:?}");
        assert_eq!(server.sent(), 4 + local.bytes(), "{wanted:?}: the first four bytes say that it is Parquet");
        let metadata = local.path().metadata().unwrap();
        assert_eq!(metadata.len(), content.len() as u64);
        assert!(metadata.blocks() * 512 < local.bytes() + (256 << 10), "what was not fetched takes no room");
    }
}

#[tokio::test]
async fn the_pieces_make_the_data_set_that_the_whole_makes() {
    let folder = Folder::new();
    let whole = table(&folder.write("whole.parquet", wide(1))).unwrap();
    let dropped = names(&["a"]);
    let (local, _) = wide_from(Habit::Good, &Columns::Except(&dropped)).await;
    let (local, _spool) = local.unwrap();
    let pieces = table(local.path()).unwrap();
    assert_eq!(pieces.names(), whole.names());
    let seen = |table: &Table| survey(table, &[1, 2, 3], &["kind".to_owned()].into(), &()).unwrap();
    assert_eq!(seen(&pieces), seen(&whole));
    let frame = |table: &Table| {
        let wish = regrove_data::Wish { drop: dropped.clone(), ..wish("kind") };
        regrove_data::prepare(table, &wish, folder.dir.path(), &()).unwrap().sha256
    };
    assert_eq!(frame(&pieces), frame(&whole));
    // What was not fetched is no data.
    assert!(survey(&pieces, &[0], &std::collections::BTreeSet::new(), &()).is_err());
}

#[tokio::test]
async fn a_server_that_gives_no_pieces_is_read_whole() {
    let content = wide(1);
    let wanted = names(&["b"]);
    for (habit, extra) in [(Habit::IgnoresRange, 0), (Habit::SaysNoTag, 4)] {
        let (local, server) = wide_from(habit, &Columns::Only(&wanted)).await;
        let (local, _spool) = local.unwrap();
        assert_eq!(std::fs::read(local.path()).unwrap(), content, "{habit:?}");
        assert_eq!(server.sent(), content.len() as u64 + extra, "{habit:?}");
    }
    // Neither is what only seems to be Parquet by its name, or is it without saying so.
    for (name, content) in [("rows.parquet", Bytes::from_static(b"a,y\n1,0\n")), ("rows", wide(1))] {
        let (_, address) = Server::start(Habit::Good, content.clone()).await;
        let (local, _spool) = fetched(&address, name, &Columns::Only(&wanted), &Limits::default()).await.unwrap();
        assert_eq!(std::fs::read(local.path()).unwrap(), content, "{name}");
    }
}

#[tokio::test]
async fn an_object_that_was_replaced_meanwhile_is_refused() {
    for habit in [Habit::Replaced, Habit::ReplacedAndSilent] {
        let (local, _) = wide_from(habit, &Columns::All).await;
        let refused = local.unwrap_err();
        assert!(matches!(refused, Error::Changed { .. }) && refused.is_retryable(), "{habit:?}: {refused}");
        assert!(refused.to_string().contains("wide.parquet` was replaced while it was read"), "{refused}");
    }
}

#[tokio::test]
async fn pieces_that_are_others_or_too_short_are_refused() {
    for (habit, says) in [(Habit::WrongPieces, "answered others"), (Habit::ShortPieces, "bytes came of a piece")] {
        let (local, _) = wide_from(habit, &Columns::All).await;
        let refused = local.unwrap_err();
        assert_eq!((refused.kind(), refused.is_retryable()), ("dataset-unavailable", true), "{habit:?}");
        assert!(refused.to_string().contains(says), "{habit:?}: {refused}");
    }
}

#[tokio::test]
async fn a_footer_that_lies_is_refused() {
    let good = wide(1);
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut content = good.to_vec();
        change(&mut content);
        Bytes::from(content)
    };
    let length = good.len();
    let longer = with(&|content| content[length - 8..length - 4].copy_from_slice(&u32::MAX.to_le_bytes()));
    let one_more = u32::try_from(length - 11).unwrap();
    let overlapping = with(&|content| content[length - 8..length - 4].copy_from_slice(&one_more.to_le_bytes()));
    let no_magic = with(&|content| content[length - 1] = b'2');
    let tiny = Bytes::from_static(b"PAR1PAR1");
    // The footer of a file without the bytes that it tells of.
    let footer = u32::from_le_bytes(good[length - 8..length - 4].try_into().unwrap()) as usize + 8;
    let empty = Bytes::from([b"PAR1", &good[length - footer..]].concat());
    for (what, content, says) in [
        ("longer than the file", longer, "footer is said to have"),
        ("a byte too long", overlapping, "footer is said to have"),
        ("another magic", no_magic, "does not end as Parquet does"),
        ("nothing", tiny, "it has 8 bytes"),
        ("chunks outside", empty, "are not between magic and footer"),
    ] {
        let (_, address) = Server::start(Habit::Good, content.clone()).await;
        let refused = fetched(&address, "lie.parquet", &Columns::All, &Limits::default()).await.unwrap_err();
        assert_eq!(refused.kind(), "dataset-invalid", "{what}: {refused}");
        assert!(refused.to_string().contains(says), "{what}: {refused}");
        let folder = Folder::new();
        let here = Table::open(&folder.write("lie.parquet", content), &CsvFormat::default(), &Limits::default());
        assert!(here.unwrap_err().to_string().contains(says), "{what}: a file of this machine too");
    }
}

#[tokio::test]
async fn limits_are_for_what_is_wanted() {
    let (_, address) = Server::start(Habit::Good, wide(1)).await;
    let limits = Limits { bytes_max: 600_000, ..Limits::default() };
    let refused = fetched(&address, "wide.parquet", &Columns::All, &limits).await.unwrap_err();
    assert!(matches!(refused, Error::TooLarge { what: "bytes", .. }), "{refused}");
    let wanted = names(&["b"]);
    let (local, _spool) = fetched(&address, "wide.parquet", &Columns::Only(&wanted), &limits).await.unwrap();
    let opened = Table::open(local.path(), &CsvFormat::default(), &limits).unwrap();
    let none = std::collections::BTreeSet::new();
    assert_eq!(survey(&opened, &[1], &none, &()).unwrap().n_rows, ROWS);
    let refused = survey(&opened, &[0, 1, 2], &none, &()).unwrap_err();
    assert!(matches!(refused, Error::TooLarge { what: "bytes", .. }), "{refused}");
}
