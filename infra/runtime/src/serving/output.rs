//! Lines that replicas write.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::events_out::EventsOut;
use crate::runtime_event::{LogLine, RuntimeEvent, Stream};

/// Longest line; longer ones are cut into several.
pub(crate) const LINE_BYTES_MAX: usize = 16 << 10;

/// Lines kept per service.
pub(crate) const LINES_KEPT: usize = 2_000;

/// The last lines of a service's replicas.
#[derive(Debug, Default)]
pub(crate) struct LogTail {
    lines: Mutex<VecDeque<LogLine>>,
}

impl LogTail {
    fn push(&self, line: LogLine) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES_KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// All kept lines, oldest first.
    pub(crate) fn lines(&self) -> Vec<LogLine> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// Who writes.
#[derive(Debug, Clone)]
pub(crate) struct Label {
    pub(crate) service: String,
    pub(crate) replica: String,
    pub(crate) stream: Stream,
}

/// Reads a process's stream to its end, line by line.
pub(crate) async fn capture(mut pipe: impl AsyncRead + Unpin, label: Label, tail: &LogTail, events: &EventsOut) {
    let emit = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes.strip_suffix(b"\r").unwrap_or(bytes)).into_owned();
        let line =
            LogLine { service: label.service.clone(), replica: label.replica.clone(), stream: label.stream, text };
        tracing::debug!(target: "regrove::log", service = line.service, replica = line.replica, "{}", line.text);
        tail.push(line.clone());
        events.send(|| RuntimeEvent::Log(line));
    };
    let mut pending: Vec<u8> = Vec::new();
    let mut chunk = vec![0_u8; 8 << 10];
    while let Ok(count @ 1..) = pipe.read(&mut chunk).await {
        let mut rest = chunk.get(..count).unwrap_or_default();
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let (line, after) = rest.split_at(end);
            pending.extend_from_slice(line);
            emit(&pending);
            pending.clear();
            rest = after.get(1..).unwrap_or_default();
        }
        pending.extend_from_slice(rest);
        while pending.len() >= LINE_BYTES_MAX {
            let after = pending.split_off(LINE_BYTES_MAX);
            emit(&pending);
            pending = after;
        }
    }
    if !pending.is_empty() {
        emit(&pending);
    }
}
