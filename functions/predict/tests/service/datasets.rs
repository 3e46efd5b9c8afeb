//! `predict-requested` that names a data set.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use axum::body::Body;
use http::{Request, StatusCode};
use regrove_data::{Cell, Format, Limits, ResultColumn, ResultWriter, Table};
use regrove_events::event::PredictCompleted;
use regrove_events::{CloudEvent, Event, http_binding};
use regrove_forest::Model;
use serde_json::{Value, json};

use crate::stage::{Kind, NAME, Reply, Stage, outputs};

/// Rows that take more than one batch to read.
const MANY: usize = 20_000;

fn cell(row: usize, column: usize) -> f32 {
    f32::from(u16::try_from((row * 7 + column * 13) % 29).unwrap()) - 9.5
}

fn rows(n_rows: usize) -> Vec<[f32; 3]> {
    (0..n_rows).map(|row| [cell(row, 0), cell(row, 1), cell(row, 2)]).collect()
}

/// The rows as CSV, the columns in another order than the model's and one more beside them.
fn csv(n_rows: usize) -> String {
    let mut text = "c,remark,a,b\n".to_owned();
    for [a, b, c] in rows(n_rows) {
        writeln!(text, "{c},\"x, y\",{a},{b}").unwrap();
    }
    text
}

fn data(stage: &Stage) -> PathBuf {
    stage.home.path().join("data")
}

fn uri(path: &Path) -> String {
    format!("file://{}", path.display())
}

/// Sends a wish under an id.
async fn send(stage: &Stage, id: &str, data: &Value) -> Reply {
    let event = CloudEvent::builder(id, "/me", "io.regrove.predict-requested").subject(NAME);
    let event = event.data("application/json", data.to_string()).build().unwrap();
    let (headers, body) = http_binding::to_binary(&event).unwrap();
    let mut request = Request::post("/").body(Body::from(body)).unwrap();
    *request.headers_mut() = headers;
    stage.ask(request).await
}

async fn completed(stage: &Stage, id: &str, dataset: &Value) -> PredictCompleted {
    let reply = send(stage, id, &json!({"dataset": dataset})).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    assert!(reply.body.len() < 64 << 10, "an event of {} bytes passes nowhere", reply.body.len());
    let event = http_binding::from_http(&reply.headers, reply.body.into()).unwrap();
    let Event::PredictCompleted(completed) = Event::read(&event).unwrap() else { panic!("another event") };
    completed
}

/// What a file of results holds: names, labels as text, and the numbers row by row.
fn read(path: &Path) -> (Vec<String>, Vec<String>, Vec<f64>) {
    let table = Table::open(path, &regrove_events::CsvFormat::default(), &Limits::default()).unwrap();
    let places: Vec<usize> = (0..table.names().len()).collect();
    let (mut labels, mut numbers) = (Vec::new(), Vec::new());
    let number = |cell: Value| match cell {
        Value::String(text) => text.parse().unwrap(),
        number => number.as_f64().unwrap(),
    };
    table
        .scan(&places, &mut |batch, _| {
            for row in 0..batch.n_rows() {
                let mut cells = batch.columns().iter().map(|column| value(column.get(row)));
                let first = cells.next().unwrap();
                match table.names()[0].as_str() {
                    "label" => labels.push(first.as_str().map_or_else(|| first.to_string(), str::to_owned)),
                    _ => numbers.push(number(first)),
                }
                numbers.extend(cells.map(number));
            }
            Ok(())
        })
        .unwrap();
    (table.names().to_vec(), labels, numbers)
}

fn value(cell: Cell<'_>) -> Value {
    match cell {
        Cell::Missing => panic!("a result is missing"),
        Cell::Whole(number) => json!(number),
        Cell::Number(number) => json!(number),
        Cell::Truth(truth) => json!(truth),
        Cell::Text(text) => json!(text),
    }
}

/// The labels and outputs that the model gives the rows.
fn expected(model: &Model, n_rows: usize) -> (Vec<String>, Vec<f64>) {
    let said = outputs(model, &rows(n_rows));
    let labels = said.chunks(3).map(|row| model.label(row).to_string()).collect();
    (labels, said)
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn a_small_data_set_is_answered_inline() {
    let (stage, model) = Stage::of(Kind::Numbers).await;
    let path = data(&stage).join("rows.csv");
    std::fs::write(&path, csv(50)).unwrap();
    let said = completed(&stage, "1", &json!({"uri": uri(&path)})).await;
    let (labels, numbers) = expected(&model, 50);
    assert_eq!((said.n_rows, said.version.as_str(), said.output), (50, "1", None));
    assert_eq!(said.probabilities.unwrap().concat(), numbers);
    let given: Vec<String> = said.predictions.unwrap().iter().map(Value::to_string).collect();
    assert_eq!(given, labels);
    assert_eq!(files(&data(&stage)), ["rows.csv"], "nothing is written");
    // Written with semicolons, with a name for what is missing.
    let odd = data(&stage).join("odd.csv");
    std::fs::write(&odd, "a;b;c\n1.5;?;3.25\n").unwrap();
    let dataset = json!({"uri": uri(&odd), "csv": {"delimiter": ";", "missing": ["?"]}});
    let said = completed(&stage, "2", &dataset).await;
    assert_eq!(said.probabilities.unwrap().concat(), outputs(&model, &[[1.5, f32::NAN, 3.25]]));
    let requests = format!("regrove_predict_requests_total{{model=\"{NAME}\",version=\"1\"}}");
    assert_eq!(stage.metric(&requests).await, Some(2.0));
}

#[tokio::test]
async fn a_large_one_is_written_beside_it_once_per_request() {
    for kind in [Kind::Numbers, Kind::Texts] {
        let (stage, model) = Stage::of(kind).await;
        let path = data(&stage).join("rows.csv");
        std::fs::write(&path, csv(MANY)).unwrap();
        let said = completed(&stage, "1", &json!({"uri": uri(&path)})).await;
        assert_eq!((said.n_rows, &said.predictions, &said.probabilities), (MANY as u64, &None, &None));
        let output = said.output.unwrap().uri;
        let written = PathBuf::from(output.strip_prefix("file://").unwrap());
        let name = written.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("rows.predictions-") && written.extension() == Some("csv".as_ref()), "{name}");
        assert_eq!(written.parent(), Some(data(&stage).as_path()));
        let (names, labels, numbers) = read(&written);
        assert_eq!(names[0], "label");
        assert_eq!(names[1..], model.classes().iter().map(|class| format!("probability_{class}")).collect::<Vec<_>>());
        assert_eq!((labels, numbers), expected(&model, MANY));
        // Delivered again it is the same file; another request has its own.
        let again = completed(&stage, "1", &json!({"uri": uri(&path)})).await;
        assert_eq!(again.output.unwrap().uri, output);
        assert_eq!(files(&data(&stage)).len(), 2);
        completed(&stage, "2", &json!({"uri": uri(&path)})).await;
        assert_eq!(files(&data(&stage)).len(), 3);
        assert_eq!(files(&stage.home.path().join("spool")), [""; 0], "nothing is left on the way");
        let rows = format!("regrove_predict_rows_total{{model=\"{NAME}\",version=\"1\"}}");
        let counted = stage.metric(&rows).await.map(|rows| rows.to_string());
        assert_eq!(counted, Some((3 * MANY).to_string()));
    }
}

#[tokio::test]
async fn the_results_have_the_format_of_the_data_set() {
    let (stage, model) = Stage::of(Kind::Numbers).await;
    let (labels, numbers) = expected(&model, 3000);
    let names = ["b", "a", "c"].map(str::to_owned);
    let parquet = data(&stage).join("rows.parquet");
    let mut writer = ResultWriter::create(&parquet, Format::Parquet, &names).unwrap();
    let column = |at: usize| -> Vec<f64> { rows(3000).iter().map(|row| f64::from(row[at])).collect() };
    let columns = [column(1), column(0), column(2)];
    writer.write(&columns.iter().map(|column| ResultColumn::Numbers(column)).collect::<Vec<_>>()).unwrap();
    writer.finish().unwrap();
    let gzip = data(&stage).join("rows.csv.gz");
    let mut packed = flate2::write::GzEncoder::new(std::fs::File::create(&gzip).unwrap(), flate2::Compression::fast());
    packed.write_all(csv(3000).as_bytes()).unwrap();
    packed.finish().unwrap();
    // One batch, and yet too much for an event.
    for (path, ending) in [(&parquet, ".parquet"), (&gzip, ".csv")] {
        let said = completed(&stage, ending, &json!({"uri": uri(path)})).await;
        let output = said.output.unwrap().uri;
        assert!(output.ends_with(ending) && output.contains("/rows.predictions-"), "{output}");
        let (_, read_labels, read_numbers) = read(Path::new(output.strip_prefix("file://").unwrap()));
        assert_eq!((&read_labels, &read_numbers), (&labels, &numbers), "{ending}");
    }
    // The labels of a Parquet file keep their type.
    let (stage, model) = Stage::of(Kind::Regressor).await;
    let path = data(&stage).join("rows.csv");
    std::fs::write(&path, csv(9000)).unwrap();
    let output = completed(&stage, "1", &json!({"uri": uri(&path)})).await.output.unwrap().uri;
    let (names, labels, numbers) = read(Path::new(output.strip_prefix("file://").unwrap()));
    assert_eq!((names, labels), (vec!["prediction".to_owned()], Vec::new()));
    assert_eq!(numbers, outputs(&model, &rows(9000)));
}

#[tokio::test]
async fn data_sets_that_cannot_be_answered_are_refused_for_good() {
    let (stage, _) = Stage::of(Kind::Numbers).await;
    let write = |name: &str, text: &str| {
        let path = data(&stage).join(name);
        std::fs::write(&path, text).unwrap();
        uri(&path)
    };
    let outside = stage.home.path().join("outside.csv");
    std::fs::write(&outside, "a,b,c\n1,2,3\n").unwrap();
    let mut late = csv(MANY);
    late.push_str("1,x,oops,3\n");
    let cases = [
        (uri(&outside), "dataset-not-allowed", "REGROVE_DATA_ROOT"),
        (uri(&outside.with_file_name("nothing.csv")), "dataset-not-allowed", "REGROVE_DATA_ROOT"),
        (uri(&outside.join("below.csv")), "dataset-not-allowed", "REGROVE_DATA_ROOT"),
        ("https://example.com/rows.csv".to_owned(), "dataset-not-allowed", "REGROVE_DATA_ALLOW"),
        ("s3://bucket/rows.csv".to_owned(), "dataset-not-allowed", "REGROVE_DATA_ALLOW"),
        ("ftp://host/rows.csv".to_owned(), "dataset-unsupported", "scheme `ftp`"),
        (uri(&data(&stage).join("nothing.csv")), "dataset-not-found", "no such file"),
        (write("columns.csv", "a,b\n1,2\n"), "dataset-invalid", "column `c` is not in the header"),
        (write("text.csv", "a,b,c\n1,2,3\n1,x,3\n"), "dataset-invalid", "row 2, column `b`"),
        (write("infinite.csv", "a,b,c\n1,inf,3\n"), "dataset-invalid", "row 1, column `b`"),
        (write("large.csv", "a,b,c\n1,2,1e39\n"), "dataset-invalid", "row 1, column `c`"),
        (write("ragged.csv", "a,b,c\n1,2\n"), "dataset-invalid", "has 2 cells"),
        (write("empty.csv", "a,b,c\n"), "dataset-invalid", "no rows"),
        (write("cut.parquet", "PAR1"), "dataset-invalid", "Parquet"),
        (write("late.csv", &late), "dataset-invalid", "row 20001, column `a`"),
    ];
    let before = files(&data(&stage));
    for (uri, kind, says) in cases {
        send(&stage, "1", &json!({"dataset": {"uri": uri}})).await.is_problem(422, kind, says);
    }
    assert_eq!(files(&data(&stage)), before, "half a file of results is none");
    assert_eq!(files(&stage.home.path().join("spool")), [""; 0]);
    let both = json!({"features": [[1, 2, 3]], "dataset": {"uri": "file:///x"}});
    send(&stage, "1", &both).await.is_problem(422, "invalid-request", "is beside `features`");
    let empty = json!({"dataset": {}});
    send(&stage, "1", &empty).await.is_problem(422, "invalid-event-data", "uri");
}

#[tokio::test]
async fn a_web_server_is_read_from_and_never_written_to() {
    let routes = axum::Router::new()
        .route("/small.csv", axum::routing::get(|| async { csv(20) }))
        .route("/large.csv", axum::routing::get(|| async { csv(MANY) }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    let (stage, model) = Stage::reading(Kind::Numbers, &server).await;
    let said = completed(&stage, "1", &json!({"uri": format!("{server}/small.csv")})).await;
    assert_eq!(said.probabilities.unwrap().concat(), expected(&model, 20).1);
    let large = send(&stage, "2", &json!({"dataset": {"uri": format!("{server}/large.csv")}})).await;
    large.is_problem(422, "dataset-not-writable", "web servers are only read from");
    let away = send(&stage, "3", &json!({"dataset": {"uri": format!("{server}/nothing.csv")}})).await;
    away.is_problem(422, "dataset-not-found", "404");
    assert_eq!(files(&stage.home.path().join("spool")), [""; 0]);
}
