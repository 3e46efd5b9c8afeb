//! What a command prints while it runs.

use std::io::{BufRead, BufReader, Read};
use std::process::Child;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Kills the child when the test is over; the runtime's processes end with it.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        self.0.wait().map(drop).unwrap_or_default();
    }
}

/// A program for `python3 -c` that runs its arguments in a terminal and prints what comes out of it.
pub(crate) const IN_A_TERMINAL: &str = "import fcntl,os,pty,struct,sys,termios
child, terminal = pty.fork()
if not child:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', 50, 200, 0, 0))
    os.execv(sys.argv[1], sys.argv[1:])
while True: os.write(1, os.read(terminal, 65536))";

/// The lines, as they come.
pub(crate) fn forward(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

/// The first line with all of the parts.
pub(crate) fn wait_for(lines: &Receiver<String>, parts: &[&str]) -> String {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        if parts.iter().all(|part| line.contains(part)) {
            return line;
        }
        seen.push(line);
    }
    panic!("no line with {parts:?}; there were\n{}", seen.join("\n"))
}

/// Reads until all of the parts have come; a view that is drawn in place has no lines.
pub(crate) fn wait_for_drawing(from: &mut impl Read, parts: &[&str]) -> String {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&seen).into_owned();
        if parts.iter().all(|part| text.contains(part)) {
            return text;
        }
        let count = from.read(&mut piece).unwrap();
        assert!(count > 0 && Instant::now() < deadline, "{parts:?} was not drawn:\n{text}");
        seen.extend_from_slice(&piece[..count]);
    }
}
