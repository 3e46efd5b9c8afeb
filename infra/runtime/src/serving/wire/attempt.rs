//! One request and one replica: the request goes out, the response comes back.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::alarm::Alarm;
use super::buffer::Buffer;
use super::response::{self, Reading};
use super::transfer::{Fault, Transfer};
use super::upload::{Stopped, Upload};
use crate::serving::table::Lease;

/// Why there is no response.
#[derive(Debug)]
pub(super) enum Failed {
    /// The request stopped.
    Stopped(Stopped),
    /// The bound has passed.
    Late,
    /// The replica broke off.
    Broken(String),
}

impl From<Stopped> for Failed {
    fn from(stopped: Stopped) -> Self {
        Self::Stopped(stopped)
    }
}

/// The two ends of a connection through the gateway.
#[derive(Debug)]
pub(super) struct Ends<'a> {
    pub(super) client: &'a mut TcpStream,
    pub(super) from_client: &'a mut Buffer,
    pub(super) replica: &'a mut TcpStream,
    pub(super) from_replica: &'a mut Buffer,
    pub(super) alarm: &'a mut Alarm,
}

/// What the head of a response has to know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// The method was HEAD.
    pub(super) is_head: bool,
    /// The client's connection ends with the response.
    pub(super) close: bool,
}

/// When a response has to have come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) deadline: Instant,
    /// Longest time between two pieces of it.
    pub(super) idle: Option<Duration>,
}

impl Bounds {
    fn next(&self) -> Instant {
        self.idle.map_or(self.deadline, |idle| self.deadline.min(Instant::now() + idle))
    }
}

impl Ends<'_> {
    /// Sends the request and reads the head of the response, which is written to `head` for the client.
    ///
    /// # Errors
    /// [`Failed`].
    pub(super) async fn ask(
        &mut self,
        upload: &mut Upload,
        asked: Asked,
        head: &mut Vec<u8>,
    ) -> Result<response::Head, Failed> {
        loop {
            let reading = poll_fn(|context| {
                let client = (&mut *self.client, &mut *self.from_client);
                upload.poll(context, client, self.replica)?;
                loop {
                    if !self.from_replica.is_empty() {
                        match response::read(self.from_replica.filled(), asked.is_head, asked.close, head) {
                            Ok(Reading::More) => {}
                            Ok(reading) => return Poll::Ready(Ok(reading)),
                            Err(error) => return Poll::Ready(Err(Failed::Broken(error.to_string()))),
                        }
                    }
                    match self.from_replica.poll_fill(context, self.replica) {
                        Poll::Ready(Ok(0)) => return Poll::Ready(Err(Failed::Broken("no answer".to_owned()))),
                        Poll::Ready(Ok(_)) => {}
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(Failed::Broken(error.to_string()))),
                        Poll::Pending => break,
                    }
                }
                self.alarm.poll(context).map(|()| Err(Failed::Late))
            });
            match reading.await? {
                Reading::Final(head) => {
                    self.from_replica.consume(head.len);
                    return Ok(head);
                }
                Reading::Interim(len) => self.pass_on(len).await?,
                Reading::More => {}
            }
        }
    }

    /// Passes an interim response on as it is.
    async fn pass_on(&mut self, len: usize) -> Result<(), Failed> {
        let bytes = self.from_replica.filled().get(..len).unwrap_or_default().to_vec();
        self.from_replica.consume(len);
        write(self.client, self.alarm, &bytes).await
    }

    /// Sends the response on. The slot is free once all of it has been read: who has seen the end of a response may
    /// count on that. False if it cannot be completed, of which the client then has to hear.
    pub(super) async fn stream(
        &mut self,
        upload: &mut Upload,
        response: &mut Transfer,
        lease: Lease,
        bounds: Bounds,
    ) -> bool {
        let mut lease = Some(lease);
        self.alarm.set(bounds.next());
        let mut sent = response.sent();
        poll_fn(|context| {
            let replica = (&mut *self.replica, &mut *self.from_replica);
            match response.poll(context, replica, self.client, || drop(lease.take())) {
                Poll::Ready(Ok(())) => return Poll::Ready(true),
                Poll::Ready(Err(Fault::Source(error) | Fault::Sink(error))) => {
                    tracing::debug!(%error, "a response broke off");
                    return Poll::Ready(false);
                }
                Poll::Pending => {}
            }
            let client = (&mut *self.client, &mut *self.from_client);
            if upload.poll(context, client, self.replica).is_err() {
                return Poll::Ready(false);
            }
            if bounds.idle.is_some() && std::mem::replace(&mut sent, response.sent()) != sent {
                self.alarm.set(bounds.next());
            }
            self.alarm.poll(context).map(|()| false)
        })
        .await
    }
}

/// Writes all of it, within the bound of the alarm.
///
/// # Errors
/// [`Failed::Late`], or the client is gone.
pub(super) async fn write(client: &TcpStream, alarm: &mut Alarm, mut bytes: &[u8]) -> Result<(), Failed> {
    while !bytes.is_empty() {
        match client.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                let ready = poll_fn(|context| match client.poll_write_ready(context) {
                    Poll::Ready(ready) => Poll::Ready(ready.map_err(|_| Failed::Stopped(Stopped::Gone))),
                    Poll::Pending => alarm.poll(context).map(|()| Err(Failed::Late)),
                });
                ready.await?;
            }
            Err(_) => return Err(Failed::Stopped(Stopped::Gone)),
        }
    }
    Ok(())
}
