//! Lines that replicas write.

use tokio::io::{AsyncRead, AsyncReadExt};

use super::log_book::{Label, LogBook};

/// Longest line; longer ones are cut into several.
pub(crate) const LINE_BYTES_MAX: usize = 16 << 10;

/// Reads a process's stream to its end, line by line.
pub(crate) async fn capture(mut pipe: impl AsyncRead + Unpin, label: Label, book: &LogBook) {
    let emit = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes.strip_suffix(b"\r").unwrap_or(bytes)).into_owned();
        tracing::debug!(target: "regrove::log", service = label.service, replica = label.replica, "{text}");
        book.write(&label, text);
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
