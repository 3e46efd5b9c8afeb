//! The program itself: starts, answers, drains.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod datasets;
mod http2;
mod observability;
mod replicas;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use regrove_events::event::ModelLoaded;
use regrove_events::log::serving_stream;
use regrove_events::{Event, SwitchedBy};
use regrove_forest::{Frame, Label, RandomForestParams, Target, fit};
use regrove_store::Control;
use regrove_test_support::Port;
use rustix::process::{Pid, Signal, kill_process};

/// How long anything here may take on a busy machine. Reaching it is a failure, never a measurement.
const DEADLINE: Duration = Duration::from_mins(1);
/// Between two looks, so that looking does not hold up what is looked at.
const PAUSE: Duration = Duration::from_millis(2);
const CLIENTS: usize = 4;

/// A home with one model, version 1.
async fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let columns = (0_u8..40).map(|at| f32::from(at % 20)).collect();
    let classes = vec![Label::Int(0), Label::Int(1)];
    let target = Target::Classes { classes, indexes: (0..20).map(|row| row % 2).collect() };
    let frame = Frame::new(vec!["a".into(), "b".into()], columns, "target", target).unwrap();
    let params = RandomForestParams { n_estimators: 3, random_state: 1, ..RandomForestParams::default() };
    let control = Control::embedded(home.path());
    let model = control.artifacts.put(fit(&frame, &params).unwrap().to_bytes().unwrap()).await.unwrap();
    let loaded = ModelLoaded::plain("Drained", "1", model, SwitchedBy::Request);
    let at = "2026-11-27T08:00:00Z".parse().unwrap();
    let event = Event::ModelLoaded(loaded).first("1", "/test", "Drained", at).unwrap();
    control.log.append(&serving_stream("Drained"), 0, &[event]).await.unwrap();
    home
}

fn start(home: &std::path::Path, environment: &[(&str, &str)]) -> (Child, SocketAddr) {
    // Kept until the process listens there.
    let port = Port::reserve().unwrap();
    let address = port.address();
    let process = Command::new(env!("CARGO_BIN_EXE_predict"))
        .env("PORT", address.port().to_string())
        .env("REGROVE_HOME", home)
        .env("REGROVE_MODEL_NAME", "Drained")
        .env_remove("REDIS_URL")
        .envs(environment.iter().copied())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(begun.elapsed() < DEADLINE, "nothing listens");
        std::thread::yield_now();
    }
    (process, address)
}

/// Sends a request and reads its answer: status, whether the connection ends, body.
fn ask(stream: &mut BufReader<TcpStream>, head: &str, body: &str) -> std::io::Result<(u16, bool, String)> {
    let request =
        format!("{head}\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.get_mut().write_all(request.as_bytes())?;
    let (mut status, mut length, mut closes) = (0, 0, false);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(rest) = line.strip_prefix("http/1.1 ") {
            status = rest[..3].parse().unwrap();
        } else if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        } else if line == "connection: close" {
            closes = true;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((status, closes, String::from_utf8(body).unwrap()))
}

fn predict(stream: &mut BufReader<TcpStream>) -> std::io::Result<(u16, bool, String)> {
    ask(stream, "POST /predict HTTP/1.1", r#"{"features": [[1, 2]]}"#)
}

fn connect(address: SocketAddr) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    BufReader::new(stream)
}

fn terminate(process: &Child) {
    kill_process(Pid::from_child(process), Signal::TERM).unwrap();
}

#[tokio::test]
async fn sigterm_under_load_breaks_no_request() {
    let home = home().await;
    let (mut process, address) = start(home.path(), &[]);
    let answered = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let answered = Arc::clone(&answered);
            std::thread::spawn(move || {
                let mut stream = connect(address);
                loop {
                    let (status, closes, body) = predict(&mut stream).expect("every request is answered");
                    assert_eq!(status, 200, "{body}");
                    answered.fetch_add(1, Ordering::Relaxed);
                    if closes {
                        return;
                    }
                }
            })
        })
        .collect();
    // One that is idle when the signal comes, and asks again afterwards.
    let mut idle = connect(address);
    assert_eq!(predict(&mut idle).unwrap().0, 200);
    while answered.load(Ordering::Relaxed) < 100 * CLIENTS {
        std::thread::yield_now();
    }
    terminate(&process);
    let (status, closes, _) = loop {
        let answer = predict(&mut idle).expect("an idle connection is not cut while its client may be asking");
        if answer.1 {
            break answer;
        }
    };
    assert_eq!((status, closes), (200, true));
    for client in clients {
        client.join().unwrap();
    }
    assert!(process.wait().unwrap().success());
}
