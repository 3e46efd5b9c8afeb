//! `regrove data inspect` of what comes slowly: how far it is can be seen all the time.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::reading::{IN_A_TERMINAL, Running, forward, wait_for, wait_for_drawing};

const HEADER: &str = "width,height,kind\n";
const ROW: &str = "1.5,2.5,a\n";
const ROWS: usize = 30_000;

/// A web server that sends the first half of a CSV and waits to be told to go on.
struct SlowData {
    listener: TcpListener,
}

impl SlowData {
    fn new() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    fn url(&self) -> String {
        format!("http://{}/slow.csv", self.listener.local_addr().unwrap())
    }

    /// Answers the request for the data. Returns the connection, on which half of it has been sent.
    fn first_half(&self) -> TcpStream {
        loop {
            let (mut stream, _) = self.listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let request = lines.next().unwrap();
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let length = HEADER.len() + ROW.len() * ROWS;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            if request.starts_with("GET ") {
                stream.write_all(HEADER.as_bytes()).unwrap();
                stream.write_all(ROW.repeat(ROWS / 2).as_bytes()).unwrap();
                return stream;
            }
        }
    }
}

/// The command's arguments, after its program.
fn inspect(mut command: Command, url: &str, home: &Path) -> Running {
    command.args(["data", "inspect", url, "--target", "kind", "--home"]).arg(home);
    command.env("TERM", "xterm").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Running(command.spawn().unwrap())
}

#[test]
fn a_terminal_shows_how_much_of_the_data_has_come() {
    let home = tempfile::tempdir().unwrap();
    let data = SlowData::new();
    let mut command = Command::new("python3");
    command.args(["-c", IN_A_TERMINAL, env!("CARGO_BIN_EXE_regrove")]);
    let mut running = inspect(command, &data.url(), home.path());
    let mut terminal = running.0.stdout.take().unwrap();
    let mut stream = data.first_half();
    // Half of 300 kB, as the bar writes it, with what is known of the whole.
    wait_for_drawing(&mut terminal, &["fetching", "146.5", "/292.99 KiB", "ETA"]);
    stream.write_all(ROW.repeat(ROWS / 2).as_bytes()).unwrap();
    wait_for_drawing(&mut terminal, &["30000 rows, 3 columns", "a 100.0%"]);
}

#[test]
fn a_pipe_gets_a_line_now_and_then() {
    let home = tempfile::tempdir().unwrap();
    let data = SlowData::new();
    let mut running = inspect(Command::new(env!("CARGO_BIN_EXE_regrove")), &data.url(), home.path());
    let stderr = forward(running.0.stderr.take().unwrap());
    let stdout = forward(running.0.stdout.take().unwrap());
    let mut stream = data.first_half();
    let rest = ROW.repeat(ROWS / 2);
    let mut sent = 0;
    // The data goes on coming, a row at a time, until a line tells of it.
    let line = loop {
        stream.write_all(&rest.as_bytes()[sent..][..ROW.len()]).unwrap();
        sent += ROW.len();
        if let Ok(line) = stderr.recv_timeout(Duration::from_millis(100)) {
            break line;
        }
    };
    assert!(line.starts_with("fetching: 14") && line.ends_with("KiB of 292.99 KiB"), "{line}");
    stream.write_all(&rest.as_bytes()[sent..]).unwrap();
    wait_for(&stdout, &["30000 rows, 3 columns"]);
}

/// Its own error would recommend such a data set.
#[test]
fn a_synthetic_data_set_has_nothing_to_look_at() {
    let data = "synthetic:make_classification?n_samples=9";
    let run = Command::new(env!("CARGO_BIN_EXE_regrove")).args(["data", "inspect", data]).output().unwrap();
    let said = String::from_utf8(run.stderr).unwrap();
    assert!(run.status.code() == Some(2) && said.contains("is made by the job that learns from it"), "{said}");
}
