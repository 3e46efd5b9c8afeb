//! A request on its way to a replica, and an eye on the client after that.

use std::io;
use std::task::{Context, Poll};

use tokio::net::TcpStream;

use super::buffer::{Buffer, ORDINARY_BYTES};
use super::transfer::{Fault, Transfer};

/// Why the request does not go on.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The client is gone. As for Knative's proxies, who ends the connection no longer wants the answer.
    Gone,
    /// The client sent chunks that are none.
    Malformed,
    /// The replica took nothing of it.
    Unsent(io::Error),
}

/// The request.
#[derive(Debug)]
pub(super) struct Upload {
    transfer: Transfer,
    ended: bool,
    refused: bool,
}

impl Upload {
    pub(super) fn new(transfer: Transfer) -> Self {
        Self { transfer, ended: false, refused: false }
    }

    /// Whether all of it has arrived.
    pub(super) fn is_complete(&self) -> bool {
        self.ended && !self.refused
    }

    /// Takes a request without a body back to its beginning.
    pub(super) fn rewind(&mut self) {
        self.transfer.rewind();
        (self.ended, self.refused) = (false, false);
    }

    /// The memory of the head, for the next.
    pub(super) fn into_lead(self) -> Vec<u8> {
        self.transfer.into_lead()
    }

    /// Goes on as far as it can.
    ///
    /// # Errors
    /// [`Stopped`].
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        (client, read): (&mut TcpStream, &mut Buffer),
        replica: &mut TcpStream,
    ) -> Result<(), Stopped> {
        if !self.ended {
            match self.transfer.poll(context, (&mut *client, &mut *read), replica, || ()) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(())) => self.ended = true,
                Poll::Ready(Err(Fault::Source(error))) if error.kind() == io::ErrorKind::InvalidData => {
                    return Err(Stopped::Malformed);
                }
                Poll::Ready(Err(Fault::Source(_))) => return Err(Stopped::Gone),
                Poll::Ready(Err(Fault::Sink(error))) if self.transfer.sent() == 0 => {
                    return Err(Stopped::Unsent(error));
                }
                // The replica may have answered before it stopped listening.
                Poll::Ready(Err(Fault::Sink(_))) => (self.ended, self.refused) = (true, true),
            }
        }
        watch(context, client, read)
    }
}

/// Notices that the client has gone. What else it sends is the beginning of its next request.
///
/// # Errors
/// [`Stopped::Gone`].
pub(super) fn watch(context: &mut Context<'_>, client: &mut TcpStream, read: &mut Buffer) -> Result<(), Stopped> {
    while read.filled().len() < ORDINARY_BYTES {
        match read.poll_fill(context, client) {
            Poll::Ready(Ok(0) | Err(_)) => return Err(Stopped::Gone),
            Poll::Ready(Ok(_)) => {}
            Poll::Pending => break,
        }
    }
    Ok(())
}
