//! Bytes that were read from a socket and are not yet used.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

/// Bytes of an ordinary buffer, and of the longest head of a request that is read here.
pub(super) const ORDINARY_BYTES: usize = 16 * 1024;
/// Bytes of a buffer for a body that fills ordinary ones, or for a long head of a response.
const LARGE_BYTES: usize = 64 * 1024;
/// Ordinary buffers that a thread keeps for the next connection that has something to read.
const SPARE_MAX: usize = 64;

thread_local! {
    static SPARE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer that holds no memory while it is empty and nothing comes.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
    /// Whether the last read took all the room there was: more is likely to come.
    filled_up: bool,
}

impl Buffer {
    /// What is there.
    pub(super) fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Forgets the first `count` bytes.
    pub(super) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
    }

    /// Reads once, what there is. `Ok(0)` is the end of the stream.
    ///
    /// # Errors
    /// The stream's; `InvalidData` when the largest buffer is full.
    pub(super) fn poll_fill(&mut self, context: &mut Context<'_>, source: &mut TcpStream) -> Poll<io::Result<usize>> {
        self.make_room();
        let mut room = ReadBuf::new(&mut self.bytes[self.end..]);
        let wanted = room.remaining();
        if wanted == 0 {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "too much at once")));
        }
        // Unlike `try_read` this knows that a short read has emptied the socket: no second one has to find that out.
        let polled = Pin::new(source).poll_read(context, &mut room);
        let count = room.filled().len();
        match polled {
            Poll::Pending => {
                if self.is_empty() {
                    self.release();
                }
                Poll::Pending
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {
                self.filled_up = count == wanted;
                self.end += count;
                Poll::Ready(Ok(count))
            }
        }
    }

    fn make_room(&mut self) {
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
            if self.filled_up && self.bytes.len() < LARGE_BYTES {
                self.release();
                self.bytes = vec![0; LARGE_BYTES].into_boxed_slice();
            }
        }
        if self.bytes.is_empty() {
            let spare = SPARE.with_borrow_mut(Vec::pop);
            self.bytes = spare.unwrap_or_else(|| vec![0; ORDINARY_BYTES].into_boxed_slice());
        }
        if self.end < self.bytes.len() {
            return;
        }
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        } else if self.bytes.len() < LARGE_BYTES {
            let mut large = vec![0; LARGE_BYTES];
            large[..self.end].copy_from_slice(&self.bytes[..self.end]);
            self.bytes = large.into_boxed_slice();
        }
    }

    /// Gives the memory away.
    fn release(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        (self.start, self.end) = (0, 0);
        if bytes.len() != ORDINARY_BYTES {
            return;
        }
        // While a thread ends there may be nobody to keep it.
        let kept = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARE_MAX {
                spare.push(bytes);
            }
        });
        if kept.is_err() {
            tracing::trace!("a buffer is freed with its thread");
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn it_grows_once_and_is_full_then() {
        let (mut writer, mut reader) = pair().await;
        let sent: Vec<u8> = (0..=LARGE_BYTES).map(|at| at.to_le_bytes()[0]).collect();
        let writing = {
            let sent = sent.clone();
            tokio::spawn(async move { writer.write_all(&sent).await.map(|()| writer) })
        };
        let mut buffer = Buffer::default();
        while buffer.filled().len() < LARGE_BYTES {
            poll_fn(|context| buffer.poll_fill(context, &mut reader)).await.unwrap();
        }
        assert_eq!(buffer.filled(), &sent[..LARGE_BYTES]);
        let full = poll_fn(|context| buffer.poll_fill(context, &mut reader)).await.unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::InvalidData);
        buffer.consume(LARGE_BYTES - 2);
        assert_eq!(poll_fn(|context| buffer.poll_fill(context, &mut reader)).await.unwrap(), 1);
        assert_eq!(buffer.filled(), &sent[LARGE_BYTES - 2..]);
        drop(writing.await.unwrap());
    }

    #[tokio::test]
    async fn it_holds_no_memory_while_nothing_comes() {
        let (mut writer, mut reader) = pair().await;
        let mut buffer = Buffer::default();
        let nothing = poll_fn(|context| Poll::Ready(buffer.poll_fill(context, &mut reader).is_pending())).await;
        assert!(nothing && buffer.bytes.is_empty());
        writer.write_all(b"ab").await.unwrap();
        assert_eq!(poll_fn(|context| buffer.poll_fill(context, &mut reader)).await.unwrap(), 2);
        buffer.consume(1);
        let nothing = poll_fn(|context| Poll::Ready(buffer.poll_fill(context, &mut reader).is_pending())).await;
        assert!(nothing);
        assert_eq!(buffer.filled(), b"b", "what is there stays");
    }
}
