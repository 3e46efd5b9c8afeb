//! A client's connection: request after request.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use http::StatusCode;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::Gate;
use super::alarm::Alarm;
use super::attempt::{Asked, Bounds, Ends, Failed, write};
use super::buffer::Buffer;
use super::framing::Framing;
use super::replay::Replayed;
use super::request::{self, Head, Verdict, Written};
use super::response;
use super::transfer::Transfer;
use super::upload::{Stopped, Upload, watch};
use crate::http_server::{self, HEAD_TIMEOUT};
use crate::serving::gateway::Found;
use crate::serving::replica::Replica;
use crate::serving::revision::{Revision, TIMED_OUT, waits};
use crate::serving::route::Route;
use crate::serving::table::Lease;

/// How long a client that is refused may take to read why.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the rest of a request that nobody wants is read and dropped, so that the client sees the answer rather than
/// a broken connection.
const LINGER: Duration = Duration::from_secs(2);

/// A host name that the client has asked for before, and where it led.
#[derive(Debug)]
struct Known {
    host: Vec<u8>,
    changes: u64,
    found: Found,
}

/// What comes after a request.
#[derive(Debug)]
enum After {
    /// The next one.
    Next,
    /// The end, which the client has to notice.
    Close,
    /// Nothing: the client is gone, or has to notice that something is missing.
    Cut,
    /// The general server.
    HandOver,
}

/// A request with no response from a replica.
#[derive(Debug)]
enum Refusal {
    Say(StatusCode, String),
    Gone,
}

/// A client's connection.
#[derive(Debug)]
pub(super) struct Connection {
    gate: Arc<Gate>,
    client: TcpStream,
    peer: SocketAddr,
    address: String,
    from_client: Buffer,
    from_replica: Buffer,
    alarm: Alarm,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    request_head: Vec<u8>,
    response_head: Vec<u8>,
    host: Vec<u8>,
    known: Option<Known>,
}

impl Connection {
    pub(super) fn new(gate: Arc<Gate>, client: TcpStream, peer: SocketAddr) -> Self {
        Self {
            stopped: Box::pin(gate.stop.clone().cancelled_owned()),
            gate,
            client,
            peer,
            address: peer.ip().to_canonical().to_string(),
            from_client: Buffer::default(),
            from_replica: Buffer::default(),
            alarm: Alarm::new(Instant::now() + HEAD_TIMEOUT),
            request_head: Vec::new(),
            response_head: Vec::new(),
            host: Vec::new(),
            known: None,
        }
    }

    /// Answers until either side ends.
    pub(super) async fn serve(mut self) {
        loop {
            let after = match self.next_head().await {
                None => return,
                Some(Verdict::Usual(head)) => self.answer(head).await,
                Some(Verdict::Unusual) => After::HandOver,
                Some(Verdict::Refused(status, text)) => self.refuse(status, text, true).await,
                Some(Verdict::More) => self.refuse(StatusCode::REQUEST_TIMEOUT, "request head timeout", true).await,
            };
            match after {
                After::Next => {}
                After::Cut => return,
                After::Close => return self.close().await,
                After::HandOver => return Box::pin(self.hand_over()).await,
            }
        }
    }

    /// Reads the next head. `None` is the end; `More` a head that did not come in time.
    async fn next_head(&mut self) -> Option<Verdict> {
        self.alarm.set(Instant::now() + HEAD_TIMEOUT);
        let Self { client, from_client, alarm, stopped, address, request_head, host, .. } = self;
        poll_fn(|context| {
            loop {
                if !from_client.is_empty() {
                    let mut written = Written { head: &mut *request_head, host: &mut *host };
                    match request::read(from_client.filled(), address, &mut written) {
                        Verdict::More => {}
                        verdict => return Poll::Ready(Some(verdict)),
                    }
                }
                match from_client.poll_fill(context, client) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(None),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Pending => break,
                }
            }
            if stopped.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
            let begun = !from_client.is_empty();
            alarm.poll(context).map(|()| begun.then_some(Verdict::More))
        })
        .await
    }

    async fn hand_over(self) {
        let stream = Replayed::new(self.from_client, self.client);
        let gateway = Arc::clone(&self.gate.gateway);
        http_server::connection(stream, self.peer, gateway, self.gate.stop.clone()).await;
    }

    /// The service that the request is for.
    fn find(&mut self) -> Result<Found, String> {
        let changes = self.gate.gateway.changes();
        if let Some(known) = &self.known
            && known.changes == changes
            && known.host == self.host
        {
            return Ok(known.found.clone());
        }
        let host = std::str::from_utf8(&self.host).unwrap_or_default();
        let found = self.gate.gateway.lookup(host).ok_or_else(|| self.gate.gateway.unknown_host(host))?;
        self.known = Some(Known { host: self.host.clone(), changes, found: found.clone() });
        Ok(found)
    }

    async fn answer(&mut self, head: Head) -> After {
        // Without a body the next request begins right after the head.
        let close = !head.keep_alive || head.framing != Framing::NONE;
        let next = self.find().and_then(|(route, tag)| match route.next(tag.as_deref()) {
            Some(revision) => Ok((route, revision)),
            None => Err(route.gone()),
        });
        let (route, revision) = match next {
            Ok((_, revision)) if revision.spec.http2 => return After::HandOver,
            Ok(next) => next,
            Err(text) => {
                self.from_client.consume(head.len);
                return self.refuse(StatusCode::NOT_FOUND, &text, close).await;
            }
        };
        self.from_client.consume(head.len);
        let arrived = Instant::now();
        let arrival = revision.table.arrive();
        let served = self.forward(&route, &revision, &head, arrived).await;
        drop(arrival);
        match served {
            Ok(after) => after,
            Err(Refusal::Gone) => After::Cut,
            Err(Refusal::Say(status, text)) => {
                route.recent.note(status, arrived.elapsed());
                self.refuse(status, &text, close).await
            }
        }
    }

    /// Sends the request to a replica, and to another one as long as none has seen it.
    async fn forward(
        &mut self,
        route: &Route,
        revision: &Arc<Revision>,
        head: &Head,
        arrived: Instant,
    ) -> Result<After, Refusal> {
        let deadline = arrived + revision.spec.timeout;
        self.alarm.set(revision.spec.response_start_timeout.map_or(deadline, |bound| deadline.min(arrived + bound)));
        let chunks = matches!(head.framing, Framing::Chunked(_));
        let request = std::mem::take(&mut self.request_head);
        let mut upload = Upload::new(Transfer::new(request, head.framing, chunks));
        let bounds = Bounds { deadline, idle: revision.spec.idle_timeout };
        for wait in waits() {
            let lease = self.while_watching(revision.lease(arrived)).await?;
            let lease = lease.map_err(|refusal| Refusal::Say(StatusCode::SERVICE_UNAVAILABLE, refusal.to_string()))?;
            if let Some((replica, answer)) = self.ask(revision, &lease, head, &mut upload).await? {
                route.recent.note(answer.status, arrived.elapsed());
                let after = self.stream((replica, lease), head, &mut upload, answer, bounds).await;
                self.request_head = upload.into_lead();
                return Ok(after);
            }
            drop(lease);
            self.while_watching(tokio::time::sleep(wait)).await?;
        }
        Err(Refusal::Say(StatusCode::BAD_GATEWAY, revision.unreached()))
    }

    /// Waits for something, unless the client goes or it takes too long.
    async fn while_watching<T>(&mut self, waiting: impl Future<Output = T>) -> Result<T, Refusal> {
        let mut waiting = pin!(waiting);
        let Self { client, from_client, alarm, .. } = self;
        poll_fn(|context| {
            if let Poll::Ready(done) = waiting.as_mut().poll(context) {
                return Poll::Ready(Ok(done));
            }
            if watch(context, client, from_client).is_err() {
                return Poll::Ready(Err(Refusal::Gone));
            }
            alarm.poll(context).map(|()| Err(too_late()))
        })
        .await
    }

    /// Asks one replica, over kept connections as long as there are any. `None` if it cannot be reached.
    async fn ask(
        &mut self,
        revision: &Arc<Revision>,
        lease: &Lease,
        head: &Head,
        upload: &mut Upload,
    ) -> Result<Option<(TcpStream, response::Head)>, Refusal> {
        let replica = lease.replica();
        let asked = Asked { is_head: head.bodiless_answer, close: !head.keep_alive || self.gate.stop.is_cancelled() };
        let mut repeatable = head.repeatable;
        loop {
            let kept = replica.pool.take(self.gate.index);
            let is_kept = kept.is_some();
            let connected = match kept {
                Some(kept) => Ok(kept),
                None => self.while_watching(connect(replica)).await?,
            };
            let mut stream = match connected {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::debug!(replica = replica.name, %error, "replica not reached");
                    return Ok(None);
                }
            };
            self.from_replica = Buffer::default();
            let Self { client, from_client, from_replica, alarm, response_head, .. } = self;
            let mut ends = Ends { client, from_client, replica: &mut stream, from_replica, alarm };
            match ends.ask(upload, asked, response_head).await {
                Ok(answer) => {
                    revision.answered(replica);
                    return Ok(Some((stream, answer)));
                }
                // A kept connection that the replica has closed: it never saw the request.
                Err(Failed::Stopped(Stopped::Unsent(_))) if is_kept => {}
                Err(Failed::Stopped(Stopped::Unsent(error))) => {
                    tracing::debug!(replica = replica.name, %error, "replica not reached");
                    return Ok(None);
                }
                // Likely one that the replica closed just then. Such requests may be sent twice.
                Err(Failed::Broken(_)) if is_kept && repeatable => {
                    repeatable = false;
                    upload.rewind();
                }
                Err(failed) => return Err(refusal(failed, replica)),
            }
        }
    }

    /// Sends the response on, and keeps what may be used again.
    async fn stream(
        &mut self,
        (mut replica, lease): (TcpStream, Lease),
        head: &Head,
        upload: &mut Upload,
        answer: response::Head,
        bounds: Bounds,
    ) -> After {
        let response_head = std::mem::take(&mut self.response_head);
        let mut response = Transfer::new(response_head, answer.framing, answer.chunks);
        let Self { client, from_client, from_replica, alarm, .. } = self;
        let mut ends = Ends { client, from_client, replica: &mut replica, from_replica, alarm };
        let of = Arc::clone(lease.replica());
        if !ends.stream(upload, &mut response, lease, bounds).await {
            return After::Cut;
        }
        self.response_head = response.into_lead();
        // A replica that says more than was asked is not asked again this way.
        if answer.keep_alive && upload.is_complete() && self.from_replica.is_empty() {
            of.pool.keep(self.gate.index, replica);
        }
        self.from_replica = Buffer::default();
        if head.keep_alive && upload.is_complete() && !self.gate.stop.is_cancelled() {
            After::Next
        } else {
            After::Close
        }
    }

    /// Answers without a replica.
    async fn refuse(&mut self, status: StatusCode, text: &str, close: bool) -> After {
        self.alarm.set(Instant::now() + REFUSAL_TIMEOUT);
        match write(&self.client, &mut self.alarm, &response::own(status, text, close)).await {
            Ok(()) if close => After::Close,
            Ok(()) => After::Next,
            Err(_) => After::Cut,
        }
    }

    /// Ends the connection so that the client reads the answer first.
    async fn close(mut self) {
        if self.client.shutdown().await.is_err() {
            return;
        }
        self.alarm.set(Instant::now() + LINGER);
        poll_fn(|context| {
            loop {
                self.from_client.consume(usize::MAX);
                match self.from_client.poll_fill(context, &mut self.client) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Pending => return self.alarm.poll(context),
                }
            }
        })
        .await;
    }
}

async fn connect(replica: &Replica) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(replica.address()).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn too_late() -> Refusal {
    Refusal::Say(StatusCode::GATEWAY_TIMEOUT, TIMED_OUT.to_owned())
}

fn refusal(failed: Failed, replica: &Replica) -> Refusal {
    match failed {
        Failed::Late => too_late(),
        Failed::Stopped(Stopped::Malformed) => Refusal::Say(StatusCode::BAD_REQUEST, "malformed chunk".to_owned()),
        Failed::Stopped(Stopped::Gone | Stopped::Unsent(_)) => Refusal::Gone,
        Failed::Broken(cause) => {
            Refusal::Say(StatusCode::BAD_GATEWAY, format!("{}: broke the connection: {cause}", replica.name))
        }
    }
}
