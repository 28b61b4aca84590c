//! Requests of peers: distinguishes calls from fetches, reads requests, hands calls over, sends answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use noq::RecvStream;
use potluck_base::PublicKey;
use potluck_wire::Purpose;
use potluck_wire::version::{in_version, of_message};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::config::{FETCH_BYTE, MESSAGE_BYTES_MAX, SMALL_REQUEST_BYTES, permits};
use super::counters::Counters;
use super::error::{CloseCode, StreamCode};
use super::pool::Lease;
use super::protocol::PROTOCOL_BYTE;
use super::stream::Outgoing;
use super::{CallError, Inner};

/// Bytes that are read from a stream in one step.
const READ_BYTES: usize = 64 * 1024;

/// A request of a peer.
#[derive(Debug)]
pub struct IncomingCall {
    /// The key of the peer, proven by the connection.
    pub from: PublicKey,
    /// Where the connection came from.
    pub address: SocketAddr,
    /// The request, at most [`MESSAGE_BYTES_MAX`] long.
    pub request: Bytes,
    /// The way back.
    pub responder: Responder,
}

/// The way back to the caller. Dropped without an answer, it resets the stream: the caller gets
/// [`CallError::Reset`].
#[derive(Debug)]
pub struct Responder {
    stream: Outgoing,
    lease: Lease,
    /// The request's share of the budgets, released with the answer.
    hold: Option<Hold>,
    /// One of the calls that the peer may have under way.
    turn: OwnedSemaphorePermit,
    /// The version of the question, which the answer has too.
    version: u8,
    desk: Arc<Desk>,
}

/// The state that all responders of a transport share.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) counters: Arc<Counters>,
    pub(super) answers: Arc<Semaphore>,
    pub(super) timeout: Duration,
}

impl Responder {
    /// Sends the answer in the background, within the call timeout. Must be called in the tokio
    /// runtime.
    ///
    /// # Errors
    /// [`CallError::TooLarge`] if it is longer than [`MESSAGE_BYTES_MAX`]; the caller gets the same.
    /// [`CallError::Busy`] if too many answers wait for slow peers; the caller gets
    /// [`CallError::Reset`].
    pub fn answer(self, answer: Bytes) -> Result<(), CallError> {
        let Self { mut stream, lease, hold, turn, version, desk } = self;
        let answer = in_version(answer, version);
        if answer.len() > MESSAGE_BYTES_MAX {
            desk.counters.answers_lost.count();
            stream.abort(StreamCode::TooLarge);
            return Err(CallError::TooLarge);
        }
        let place = Arc::clone(&desk.answers).try_acquire_many_owned(permits(answer.len()));
        let Ok(place) = place else {
            desk.counters.answers_lost.count();
            stream.abort(StreamCode::Dropped);
            return Err(CallError::Busy);
        };
        drop(hold);
        tokio::spawn(async move {
            let (bytes, purpose) = (answer.len(), Purpose::of_response(&answer));
            let sent = timeout(desk.timeout, async {
                // Until all of it is acknowledged the connection must not pass for idle.
                stream.send(answer).await.is_ok() && stream.delivered().await
            });
            if sent.await == Ok(true) {
                desk.counters.sent(purpose, bytes);
            } else {
                desk.counters.answers_lost.count();
            }
            drop((stream, place, turn, lease));
        });
        Ok(())
    }

    /// As [`answer`](Self::answer), after a pause. Meanwhile the call counts against the calls that the
    /// peer may have under way, so the pause slows this peer down and no other; the memory of its
    /// request is free at once.
    pub fn answer_after(mut self, pause: Duration, answer: Bytes) {
        drop(self.hold.take());
        tokio::spawn(async move {
            sleep(pause).await;
            // The counters of the transport say if it could not be sent.
            let _ = self.answer(answer);
        });
    }

    /// Tells the caller that there is no room for the request: it gets [`CallError::Refused`].
    /// Only for a request that was not acted on.
    pub fn refuse(self) {
        self.stream.abort(StreamCode::Busy);
    }
}

/// A share of the budgets for large requests.
#[derive(Debug)]
pub(super) struct Hold {
    parts: [OwnedSemaphorePermit; 2],
}

impl Hold {
    /// Takes as much as the longest request may need: with less, many half-read requests could
    /// wait for each other.
    async fn take(limits: &RequestLimits) -> Option<Self> {
        let most = permits(limits.longest);
        let take = |budget: &Arc<Semaphore>| Arc::clone(budget).acquire_many_owned(most);
        // The connection's own share first, so that a peer waits for itself before others do.
        let own = take(&limits.budgets[0]).await.ok()?;
        let all = take(&limits.budgets[1]).await.ok()?;
        Some(Self { parts: [own, all] })
    }

    fn shrink(&mut self, bytes: usize) {
        for part in &mut self.parts {
            let surplus = part.num_permits().saturating_sub(permits(bytes) as usize);
            drop(part.split(surplus));
        }
    }
}

/// How long a request may be, and of what it takes when it is not small: the connection's budget and
/// the node's.
pub(super) struct RequestLimits {
    pub(super) longest: usize,
    pub(super) budgets: [Arc<Semaphore>; 2],
}

/// Why a request could not be read.
pub(super) enum ReadFailure {
    TooLarge,
    Gone,
}

impl ReadFailure {
    pub(super) const fn code(&self) -> StreamCode {
        match self {
            Self::TooLarge => StreamCode::TooLarge,
            Self::Gone => StreamCode::Dropped,
        }
    }
}

/// The peer at the other end of a connection, once it is established.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller {
    pub(super) key: PublicKey,
    pub(super) address: SocketAddr,
}

/// A stream that a peer has opened, with what was read of it.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) answer: Outgoing,
    pub(super) lease: Lease,
    pub(super) caller: Caller,
    request: RecvStream,
    first: Bytes,
}

impl Asked {
    /// Reads the rest of the request.
    pub(super) async fn read(
        &mut self,
        limits: &RequestLimits,
    ) -> Result<(Bytes, Option<Hold>), ReadFailure> {
        let mut request = BytesMut::new();
        let mut hold = None;
        let mut chunk = std::mem::take(&mut self.first);
        loop {
            let length = request.len() + chunk.len();
            if length > limits.longest {
                return Err(ReadFailure::TooLarge);
            }
            if length > SMALL_REQUEST_BYTES && hold.is_none() {
                hold = Some(Hold::take(limits).await.ok_or(ReadFailure::Gone)?);
            }
            request.extend_from_slice(&chunk);
            let next = self.request.read_chunk(READ_BYTES).await;
            match next.map_err(|_| ReadFailure::Gone)? {
                Some(next) => chunk = next,
                None => break,
            }
        }
        if let Some(hold) = &mut hold {
            hold.shrink(request.len());
        }
        Ok((request.freeze(), hold))
    }

    /// What was read, and the rest.
    pub(super) fn into_parts(self) -> (RecvStream, Bytes, Outgoing, Lease, Caller) {
        (self.request, self.first, self.answer, self.lease, self.caller)
    }

    /// Turns the peer away.
    pub(super) fn refuse(mut self, code: StreamCode) {
        let _ = self.request.stop(code.into());
        self.answer.abort(code);
    }
}

impl Inner {
    /// Takes what comes in on a connection until it closes.
    pub(super) async fn serve(
        self: Arc<Self>,
        connection: noq::Connection,
        id: u64,
        caller: Caller,
    ) {
        while let Ok((send, request)) = connection.accept_bi().await {
            if !self.lets_in(&caller.key) {
                self.desk.counters.incoming_refused.count();
                connection.close(CloseCode::NotAdmitted.into(), b"");
                break;
            }
            let Some(lease) = self.pool.lease(id) else { break };
            let answer = Outgoing::new(send);
            let asked = Asked { answer, lease, caller, request, first: Bytes::new() };
            // The limit of streams bounds the number of tasks.
            tokio::spawn(Arc::clone(&self).take_stream(asked));
        }
        self.pool.remove(id);
    }

    /// The first byte says what the stream is for.
    async fn take_stream(self: Arc<Self>, mut asked: Asked) {
        let first = asked.request.read_chunk(SMALL_REQUEST_BYTES);
        let refusal = match timeout(self.config.call_timeout, first).await {
            Ok(Ok(Some(mut first))) if first.first() == Some(&FETCH_BYTE) => {
                asked.first = first.split_off(1);
                return self.take_fetch(asked).await;
            }
            Ok(Ok(Some(mut first))) if first.first() == Some(&PROTOCOL_BYTE) => {
                asked.first = first.split_off(1);
                return self.take_protocol(asked).await;
            }
            Ok(Ok(first)) => {
                asked.first = first.unwrap_or_default();
                return self.take_call(asked).await;
            }
            Ok(Err(_)) => StreamCode::Dropped,
            Err(_) => StreamCode::Abandoned,
        };
        self.desk.counters.incoming_refused.count();
        asked.refuse(refusal);
    }

    async fn take_call(&self, mut asked: Asked) {
        let connection_budget = asked.lease.connection_budget();
        let turns = Arc::clone(&connection_budget.calls);
        let limits = RequestLimits {
            longest: MESSAGE_BYTES_MAX,
            budgets: [Arc::clone(&connection_budget.requests), Arc::clone(&self.requests)],
        };
        let read = async {
            let turn = turns.acquire_owned().await.map_err(|_| ReadFailure::Gone)?;
            let (request, hold) = asked.read(&limits).await?;
            Ok((request, hold, turn))
        };
        let refusal = match timeout(self.config.call_timeout, read).await {
            Ok(Ok((request, hold, turn))) => {
                let Asked { answer: stream, lease, caller, .. } = asked;
                let desk = Arc::clone(&self.desk);
                let version = of_message(&request);
                let responder = Responder { stream, lease, hold, turn, version, desk };
                self.hand_over(IncomingCall {
                    from: caller.key,
                    address: caller.address,
                    request,
                    responder,
                });
                return;
            }
            Ok(Err(failure)) => ReadFailure::code(&failure),
            Err(_) => StreamCode::Abandoned,
        };
        self.desk.counters.incoming_refused.count();
        asked.refuse(refusal);
    }

    fn hand_over(&self, call: IncomingCall) {
        let (bytes, purpose) = (call.request.len(), Purpose::of_request(&call.request));
        match self.incoming.try_send(call) {
            Ok(()) => {
                self.desk.counters.incoming.count();
                self.desk.counters.received(purpose, bytes);
            }
            Err(TrySendError::Full(call) | TrySendError::Closed(call)) => {
                self.desk.counters.incoming_refused.count();
                call.responder.refuse();
            }
        }
    }
}
