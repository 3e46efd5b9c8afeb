//! A message on its way from one socket to the other: its head, and its body as it comes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

use super::buffer::Buffer;
use super::framing::{Framing, Malformed, Step};

/// Digits of a chunk's size that a buffer can have.
const SIZE_BYTES: usize = 16;

/// Why a message does not arrive.
#[derive(Debug)]
pub(super) enum Fault {
    /// It broke off where it comes from.
    Source(io::Error),
    /// Where it goes to takes no more.
    Sink(io::Error),
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Self::Source(io::Error::new(io::ErrorKind::InvalidData, malformed))
    }
}

/// One message. The body is framed anew: what is said about its end to the one side is never passed on as bytes to the
/// other. One buffer of it is in memory at a time.
#[derive(Debug)]
pub(super) struct Transfer {
    framing: Framing,
    /// Whether the body goes out in chunks.
    chunks: bool,
    /// Goes out first: the head at the beginning, later the size of a chunk.
    lead: Vec<u8>,
    lead_sent: usize,
    /// Then so many bytes of the buffer.
    content: usize,
    /// Then so many bytes of the buffer are dropped: framing.
    framed: usize,
    /// Then this.
    tail: &'static [u8],
    /// Whether nothing comes after that.
    last: bool,
    /// Whether that has been said.
    said: bool,
    sent: u64,
}

impl Transfer {
    /// `head` is sent as it is; `chunks` says how the body goes out, `framing` how it comes in.
    pub(super) fn new(head: Vec<u8>, framing: Framing, chunks: bool) -> Self {
        Self {
            framing,
            chunks,
            lead: head,
            lead_sent: 0,
            content: 0,
            framed: 0,
            tail: b"",
            last: framing == Framing::NONE,
            said: false,
            sent: 0,
        }
    }

    /// Bytes that have gone out. While it is none, all of them may go elsewhere.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Takes a message without a body back to its beginning.
    pub(super) fn rewind(&mut self) {
        self.lead_sent = 0;
        self.sent = 0;
    }

    /// The memory of its head, for the next.
    pub(super) fn into_lead(self) -> Vec<u8> {
        self.lead
    }

    /// Passes on what there is; ready at the end of the message. `when_read` is called once all of it has been read, before
    /// the end is written.
    ///
    /// # Errors
    /// [`Fault`].
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        (source, buffer): (&mut TcpStream, &mut Buffer),
        sink: &mut TcpStream,
        when_read: impl FnOnce(),
    ) -> Poll<Result<(), Fault>> {
        let mut when_read = Some(when_read);
        if self.sent == 0 && !self.last && self.content == 0 {
            // What is there of the body goes out with the head.
            self.plan(buffer)?;
        }
        loop {
            if self.last
                && !std::mem::replace(&mut self.said, true)
                && let Some(when_read) = when_read.take()
            {
                when_read();
            }
            while self.owes() {
                let sent = ready!(self.poll_write(context, buffer, sink)).map_err(Fault::Sink)?;
                if sent == 0 {
                    return Poll::Ready(Err(Fault::Sink(io::ErrorKind::WriteZero.into())));
                }
                self.advance(sent, buffer);
            }
            if self.last {
                return Poll::Ready(Ok(()));
            }
            if self.plan(buffer)? {
                continue;
            }
            match ready!(buffer.poll_fill(context, source)).map_err(Fault::Source)? {
                0 if self.framing == Framing::UntilClose => self.end(),
                0 => return Poll::Ready(Err(Fault::Source(io::ErrorKind::UnexpectedEof.into()))),
                _ => {}
            }
        }
    }

    fn owes(&self) -> bool {
        self.lead_sent < self.lead.len() || self.content > 0 || !self.tail.is_empty()
    }

    fn poll_write(&self, context: &mut Context<'_>, buffer: &Buffer, sink: &mut TcpStream) -> Poll<io::Result<usize>> {
        let lead = &self.lead[self.lead_sent..];
        if self.content == 0 && self.tail.is_empty() {
            return Pin::new(sink).poll_write(context, lead);
        }
        let slices = [IoSlice::new(lead), IoSlice::new(&buffer.filled()[..self.content]), IoSlice::new(self.tail)];
        Pin::new(sink).poll_write_vectored(context, &slices)
    }

    /// `sent` more bytes are gone.
    fn advance(&mut self, mut sent: usize, buffer: &mut Buffer) {
        self.sent += sent as u64;
        let of_lead = sent.min(self.lead.len() - self.lead_sent);
        self.lead_sent += of_lead;
        sent -= of_lead;
        let of_content = sent.min(self.content);
        self.content -= of_content;
        buffer.consume(of_content);
        sent -= of_content;
        self.tail = self.tail.get(sent..).unwrap_or_default();
        if self.content == 0 {
            buffer.consume(std::mem::take(&mut self.framed));
        }
    }

    /// Finds out what goes out next; false if more has to be read for that.
    fn plan(&mut self, buffer: &mut Buffer) -> Result<bool, Fault> {
        if self.lead_sent == self.lead.len() {
            self.lead.clear();
            self.lead_sent = 0;
        }
        match self.framing.next(buffer.filled())? {
            Step::More { skip } => {
                buffer.consume(skip);
                return Ok(false);
            }
            Step::End { skip } => {
                buffer.consume(skip);
                self.end();
            }
            Step::Data { skip, len } => {
                buffer.consume(skip);
                self.content = len;
                self.add_size(len);
                self.look_for_end(buffer)?;
            }
        }
        Ok(true)
    }

    fn add_size(&mut self, len: usize) {
        if !self.chunks {
            return;
        }
        let mut digits = [0; SIZE_BYTES];
        let (mut at, mut rest) = (SIZE_BYTES, len);
        while at == SIZE_BYTES || rest > 0 {
            at -= 1;
            digits[at] = b"0123456789abcdef"[rest % 16];
            rest /= 16;
        }
        self.lead.extend_from_slice(&digits[at..]);
        self.lead.extend_from_slice(b"\r\n");
        self.tail = b"\r\n";
    }

    /// If the body ends right after the content at hand, the end goes out with it.
    fn look_for_end(&mut self, buffer: &Buffer) -> Result<(), Fault> {
        let mut ahead = self.framing;
        if let Step::End { skip } = ahead.next(&buffer.filled()[self.content..])? {
            self.framing = ahead;
            self.framed = skip;
            self.last = true;
            if self.chunks {
                self.tail = b"\r\n0\r\n\r\n";
            }
        }
        Ok(())
    }

    fn end(&mut self) {
        self.last = true;
        if self.chunks {
            self.tail = b"0\r\n\r\n";
        }
    }
}
